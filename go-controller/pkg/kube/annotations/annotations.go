// Package annotations reads and writes the k8s.ovn.org/* annotations through which master, node agent
// and CNI server talk to each other. The formats are OVN-Kubernetes'.
package annotations

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// ErrMissing says that the annotation is not there (yet).
var ErrMissing = errors.New("annotation is missing")

// PodNetwork is a pod's attachment to the cluster network.
type PodNetwork struct {
	// Addresses are the pod's, with the length of the node's subnet; at most one a family.
	Addresses []netip.Prefix
	MAC       net.HardwareAddr
	// Gateways are the next hops of the default routes, one a family.
	Gateways []netip.Addr
	// Routes are further routes for the pod.
	Routes []Route
}

// Route is a route inside a pod.
type Route struct {
	Destination netip.Prefix
	NextHop     netip.Addr
}

// podNetworkJSON is the wire form. ip_address and gateway_ip repeat the first entry of
// their lists when there is just one, for readers that know only the older form.
type podNetworkJSON struct {
	IPs      []string    `json:"ip_addresses"`
	MAC      string      `json:"mac_address"`
	Gateways []string    `json:"gateway_ips,omitempty"`
	Routes   []routeJSON `json:"routes,omitempty"`
	IP       string      `json:"ip_address,omitempty"`
	Gateway  string      `json:"gateway_ip,omitempty"`
	Role     string      `json:"role,omitempty"`
}

type routeJSON struct {
	Dest    string `json:"dest"`
	NextHop string `json:"nextHop"`
}

// FormatPodNetwork returns the value of the pod-networks annotation.
func FormatPodNetwork(p PodNetwork) string {
	w := podNetworkJSON{MAC: p.MAC.String(), Role: "primary"}
	for _, a := range p.Addresses {
		w.IPs = append(w.IPs, a.String())
	}
	for _, g := range p.Gateways {
		w.Gateways = append(w.Gateways, g.String())
	}
	for _, r := range p.Routes {
		w.Routes = append(w.Routes, routeJSON{Dest: r.Destination.String(), NextHop: r.NextHop.String()})
	}
	if len(w.IPs) == 1 {
		w.IP = w.IPs[0]
	}
	if len(w.Gateways) == 1 {
		w.Gateway = w.Gateways[0]
	}
	return mustMarshal(map[string]podNetworkJSON{names.DefaultNetwork: w})
}

// ParsePodNetwork reads the pod-networks annotation. The error is ErrMissing when there is none, and
// says what is wrong with the value otherwise.
func ParsePodNetwork(annotations map[string]string) (PodNetwork, error) {
	var wire map[string]podNetworkJSON
	if err := load(annotations, names.PodNetworksAnnotation, &wire); err != nil {
		return PodNetwork{}, err
	}
	w, ok := wire[names.DefaultNetwork]
	if !ok {
		return PodNetwork{}, fmt.Errorf("annotation %s: no network %q", names.PodNetworksAnnotation, names.DefaultNetwork)
	}
	p, err := w.decode()
	if err != nil {
		return PodNetwork{}, unusable(names.PodNetworksAnnotation, err)
	}
	return p, nil
}

func (w podNetworkJSON) decode() (PodNetwork, error) {
	var p PodNetwork
	var err error
	if p.MAC, err = parseMAC(w.MAC); err != nil {
		return p, fmt.Errorf("mac_address: %w", err)
	}
	if p.Addresses, err = parseAll(w.IPs, parsePrefix); err != nil {
		return p, fmt.Errorf("ip_addresses: %w", err)
	}
	if len(p.Addresses) == 0 {
		return p, errors.New("ip_addresses is empty")
	}
	if !oneEachFamily(p.Addresses, netip.Prefix.Addr) {
		return p, errors.New("ip_addresses has more than one of a family")
	}
	if p.Gateways, err = parseAll(w.Gateways, parseAddr); err != nil {
		return p, fmt.Errorf("gateway_ips: %w", err)
	}
	if !oneEachFamily(p.Gateways, func(a netip.Addr) netip.Addr { return a }) {
		return p, errors.New("gateway_ips has more than one of a family")
	}
	if len(w.Routes) > maxList {
		return p, fmt.Errorf("%d routes are more than %d", len(w.Routes), maxList)
	}
	for _, r := range w.Routes {
		dest, err := parsePrefix(r.Dest)
		if err != nil {
			return p, fmt.Errorf("routes: %w", err)
		}
		hop, err := parseAddr(r.NextHop)
		if err != nil {
			return p, fmt.Errorf("routes: %w", err)
		}
		if dest.Addr().Is4() != hop.Is4() {
			return p, fmt.Errorf("routes: %s and %s are not of the same family", dest, hop)
		}
		p.Routes = append(p.Routes, Route{Destination: dest, NextHop: hop})
	}
	return p, nil
}

// FormatNodeSubnets returns the value of the node-subnets annotation.
func FormatNodeSubnets(subnets []netip.Prefix) string {
	return mustMarshal(map[string][]string{names.DefaultNetwork: texts(subnets)})
}

// ParseNodeSubnets reads the node-subnets annotation; ErrMissing when there is none.
func ParseNodeSubnets(annotations map[string]string) ([]netip.Prefix, error) {
	var wire map[string][]string
	if err := load(annotations, names.NodeSubnetsAnnotation, &wire); err != nil {
		return nil, err
	}
	subnets, err := parseAll(wire[names.DefaultNetwork], parsePrefix)
	if err != nil {
		return nil, unusable(names.NodeSubnetsAnnotation, err)
	}
	if len(subnets) == 0 {
		return nil, fmt.Errorf("annotation %s: no subnet of network %q", names.NodeSubnetsAnnotation, names.DefaultNetwork)
	}
	return subnets, nil
}

// FormatNodeID returns the value of the node-id annotation.
func FormatNodeID(id int) string { return strconv.Itoa(id) }

// ParseNodeID reads the node-id annotation; ErrMissing when there is none.
func ParseNodeID(annotations map[string]string) (int, error) {
	text, ok := annotations[names.NodeIDAnnotation]
	if !ok {
		return 0, ErrMissing
	}
	id, err := strconv.Atoi(text)
	if err != nil || id < 1 {
		return 0, fmt.Errorf("annotation %s: %q is not a positive number", names.NodeIDAnnotation, text)
	}
	return id, nil
}

// FormatHostCIDRs returns the value of the host-cidrs annotation.
func FormatHostCIDRs(addresses []netip.Prefix) string { return mustMarshal(texts(addresses)) }

// ParseHostCIDRs reads the host's own addresses, with prefix lengths; ErrMissing when there is none.
func ParseHostCIDRs(annotations map[string]string) ([]netip.Prefix, error) {
	var wire []string
	if err := load(annotations, names.HostCIDRsAnnotation, &wire); err != nil {
		return nil, err
	}
	addresses, err := parseAll(wire, parsePrefix)
	if err != nil {
		return nil, unusable(names.HostCIDRsAnnotation, err)
	}
	return addresses, nil
}

// FormatMgmtPortMAC returns the value of the node-mgmt-port-mac-addresses annotation.
func FormatMgmtPortMAC(mac net.HardwareAddr) string {
	return mustMarshal(map[string]string{names.DefaultNetwork: mac.String()})
}

func load(annotations map[string]string, key string, into any) error {
	text, ok := annotations[key]
	if !ok {
		return ErrMissing
	}
	if len(text) > maxLength {
		return fmt.Errorf("annotation %s: %d bytes are more than %d", key, len(text), maxLength)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return unusable(key, err)
	}
	return nil
}

// mustMarshal encodes maps, slices and strings, which cannot fail.
func mustMarshal(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func parseAll[T any](in []string, parse func(string) (T, error)) ([]T, error) {
	if len(in) > maxList {
		return nil, fmt.Errorf("%d elements are more than %d", len(in), maxList)
	}
	var out []T
	for _, s := range in {
		v, err := parse(s)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func texts[T fmt.Stringer](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = v.String()
	}
	return out
}
