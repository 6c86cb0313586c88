package annotations

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// GatewayConfig is how a node leads out of the cluster.
type GatewayConfig struct {
	// Mode is names.GatewayModeShared or names.GatewayModeLocal.
	Mode string
	// BridgeID is the external bridge.
	BridgeID string
	// InterfaceID is the logical port behind the bridge.
	InterfaceID string
	// MAC is that of the bridge: gateway router and host share it.
	MAC net.HardwareAddr
	// Addresses are the node's on the bridge, with the length of their network; IPv4 first, at least one.
	Addresses []netip.Prefix
	// NextHops are the routers behind the bridge; none where the node has no default route. They may be
	// link-local (IPv6).
	NextHops []netip.Addr
	// NodePortEnable: services are reachable on the node's addresses.
	NodePortEnable bool
	// VLAN is the tag on the bridge's NIC; zero means untagged.
	VLAN int
}

// gatewayConfigJSON is the wire form: booleans and numbers are texts. ip-address and next-hop repeat the first
// entries of their lists, for readers that know only the older form.
type gatewayConfigJSON struct {
	Mode        string   `json:"mode"`
	BridgeID    string   `json:"bridge-id,omitempty"`
	InterfaceID string   `json:"interface-id,omitempty"`
	MAC         string   `json:"mac-address,omitempty"`
	IPs         []string `json:"ip-addresses,omitempty"`
	IP          string   `json:"ip-address,omitempty"`
	NextHops    []string `json:"next-hops,omitempty"`
	NextHop     string   `json:"next-hop,omitempty"`
	NodePort    string   `json:"node-port-enable,omitempty"`
	VLAN        string   `json:"vlan-id,omitempty"`
}

const maxVLAN = 4094 // IEEE 802.1Q

// FormatGatewayConfig returns the value of the l3-gateway-config annotation.
func FormatGatewayConfig(c GatewayConfig) string {
	w := gatewayConfigJSON{
		Mode: c.Mode, BridgeID: c.BridgeID, InterfaceID: c.InterfaceID, MAC: c.MAC.String(),
		IPs: texts(c.Addresses), NextHops: texts(c.NextHops),
		NodePort: strconv.FormatBool(c.NodePortEnable), VLAN: strconv.Itoa(c.VLAN),
	}
	if len(w.IPs) > 0 {
		w.IP = w.IPs[0]
	}
	if len(w.NextHops) > 0 {
		w.NextHop = w.NextHops[0]
	}
	return mustMarshal(map[string]gatewayConfigJSON{names.DefaultNetwork: w})
}

// ParseGatewayConfig reads the l3-gateway-config annotation. The error is ErrMissing when there is none, and
// says what is wrong with the value otherwise.
func ParseGatewayConfig(annotations map[string]string) (GatewayConfig, error) {
	var wire map[string]gatewayConfigJSON
	if err := load(annotations, names.L3GatewayConfigAnnotation, &wire); err != nil {
		return GatewayConfig{}, err
	}
	w, ok := wire[names.DefaultNetwork]
	if !ok {
		return GatewayConfig{}, fmt.Errorf("annotation %s: no network %q", names.L3GatewayConfigAnnotation, names.DefaultNetwork)
	}
	c, err := w.decode()
	if err != nil {
		return GatewayConfig{}, unusable(names.L3GatewayConfigAnnotation, err)
	}
	return c, nil
}

func (w gatewayConfigJSON) decode() (GatewayConfig, error) {
	c := GatewayConfig{Mode: w.Mode, BridgeID: w.BridgeID, InterfaceID: w.InterfaceID}
	if c.Mode != names.GatewayModeShared && c.Mode != names.GatewayModeLocal {
		return c, fmt.Errorf("mode %q is neither %s nor %s", c.Mode, names.GatewayModeShared, names.GatewayModeLocal)
	}
	var err error
	if c.MAC, err = parseMAC(w.MAC); err != nil {
		return c, fmt.Errorf("mac-address: %w", err)
	}
	if c.Addresses, err = parseAll(unique(orOne(w.IPs, w.IP)), parsePrefix); err != nil {
		return c, fmt.Errorf("ip-addresses: %w", err)
	}
	if len(c.Addresses) == 0 {
		return c, errors.New("ip-addresses is empty")
	}
	// Whoever reads this takes the first of a family.
	slices.SortStableFunc(c.Addresses, func(a, b netip.Prefix) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	if c.NextHops, err = parseAll(unique(orOne(w.NextHops, w.NextHop)), parseNextHop); err != nil {
		return c, fmt.Errorf("next-hops: %w", err)
	}
	if w.NodePort != "" {
		if c.NodePortEnable, err = strconv.ParseBool(w.NodePort); err != nil {
			return c, fmt.Errorf("node-port-enable %q is neither true nor false", w.NodePort)
		}
	}
	if w.VLAN != "" {
		if c.VLAN, err = strconv.Atoi(w.VLAN); err != nil || c.VLAN < 0 || c.VLAN > maxVLAN {
			return c, fmt.Errorf("vlan-id %q is not between 0 and %d", w.VLAN, maxVLAN)
		}
	}
	return c, nil
}

// parseNextHop leaves the zone out: all next hops are behind the bridge.
func parseNextHop(s string) (netip.Addr, error) {
	address, _, _ := strings.Cut(s, "%")
	return parseAddr(address)
}

// unique leaves repetitions out.
func unique(list []string) []string {
	var out []string
	seen := make(map[string]bool, len(list))
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// orOne is list, or else the single value that older writers leave.
func orOne(list []string, one string) []string {
	if len(list) == 0 && one != "" {
		return []string{one}
	}
	return list
}
