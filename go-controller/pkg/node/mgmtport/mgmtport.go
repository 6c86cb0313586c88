// Package mgmtport says how the management port should be: the device through which the host and the pods of its
// node reach each other, and through which pods reach the world by the host's stack. It is pure; package ovs and
// package hostnet do what it says.
package mgmtport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
)

// connectedMetricV6 is what the kernel gives routes that come with IPv6 addresses.
const connectedMetricV6 = 256

// Config is what the port depends on.
type Config struct {
	Node string
	// Subnets are the node's, at most one a family.
	Subnets []netip.Prefix
	// ClusterSubnets are the pools that all nodes' subnets are cut from.
	ClusterSubnets []netip.Prefix
	// MTU of pods in bytes.
	MTU int
	// Userspace says that the bridge's datapath type is netdev.
	Userspace bool
}

// MAC is the port's address.
func (c Config) MAC() net.HardwareAddr { return addr.MAC(c.each(addr.Management)...) }

// RouterMAC is that of the router's port in the node's subnets.
func (c Config) RouterMAC() net.HardwareAddr { return addr.MAC(c.each(addr.Router)...) }

func (c Config) each(of func(netip.Prefix) netip.Addr) []netip.Addr {
	out := make([]netip.Addr, len(c.Subnets))
	for i, s := range c.Subnets {
		out[i] = of(s)
	}
	return out
}

// Port is the port on the integration bridge. Its external_ids repeat the addresses, from which Remembered finds
// the subnets when the API server cannot be asked.
func Port(c Config) ovs.Port {
	var addresses []string
	for _, s := range c.Subnets {
		addresses = append(addresses, netip.PrefixFrom(addr.Management(s), s.Bits()).String())
	}
	return ovs.Port{
		Name: names.ManagementPort, Bridge: names.IntegrationBridge, Type: ovs.Internal, MAC: c.MAC().String(), MTU: c.MTU,
		ExternalIDs: map[string]string{
			names.IfaceID:  names.ManagementLogicalPort(c.Node),
			names.IfaceIPs: strings.Join(addresses, ","),
		},
	}
}

// Remembered returns the subnets that the port was made for; nil when there is no port. The error says what is
// wrong with the port's external_ids.
func Remembered(s ovs.State) ([]netip.Prefix, error) {
	text := s.Ports[names.ManagementPort].ExternalIDs[names.IfaceIPs]
	if text == "" {
		return nil, nil
	}
	var out []netip.Prefix
	for part := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(part)
		if err != nil {
			return nil, fmt.Errorf("external_ids:%s of %s: %w", names.IfaceIPs, names.ManagementPort, err)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// Missing says what the port still lacks before pods can be served; nil when nothing.
func Missing(s ovs.State) error {
	port, ok := s.Ports[names.ManagementPort]
	switch {
	case !ok:
		return fmt.Errorf("there is no port %s", names.ManagementPort)
	case port.OFPort < 0:
		return fmt.Errorf("ovs-vswitchd cannot make %s: %s", names.ManagementPort, port.Error)
	case !port.Attached():
		return fmt.Errorf("ovs-vswitchd has not made %s yet", names.ManagementPort)
	case port.ExternalIDs[names.OVNInstalled] != "true":
		return errors.New("ovn-controller has not claimed " + port.ExternalIDs[names.IfaceID] +
			" yet: is it running, and does it reach the southbound database?")
	}
	return nil
}

// Device is how the host should see the port.
func Device(c Config) hostnet.Desired {
	d := hostnet.Desired{
		Device: names.ManagementPort, MTU: c.MTU, NoTxChecksum: c.Userspace, OwnsAddresses: true,
		Sysctls: map[string]string{},
	}
	for _, s := range c.Subnets {
		d.Addresses = append(d.Addresses, hostnet.Address{Prefix: netip.PrefixFrom(addr.Management(s), s.Bits())})
		d.Neighbours = append(d.Neighbours, hostnet.Neighbour{Address: addr.Router(s), MAC: c.RouterMAC(), Permanent: true})
		d.Routes = append(d.Routes, connected(s))
		for _, cluster := range c.ClusterSubnets {
			if cluster.Addr().Is4() == s.Addr().Is4() {
				d.Routes = append(d.Routes, viaRouter(s, cluster))
			}
		}
		addSysctls(d.Sysctls, s.Addr().Is4())
	}
	return d
}

// connected is the route that the kernel makes with the address: listed to come back when it is deleted.
func connected(subnet netip.Prefix) hostnet.Route {
	r := hostnet.Route{Destination: subnet.Masked(), Table: hostnet.MainTable, Protocol: hostnet.ProtocolKernel}
	if subnet.Addr().Is4() {
		r.Scope, r.Source = hostnet.ScopeLink, addr.Management(subnet)
	} else {
		r.Metric = connectedMetricV6
	}
	return r
}

func viaRouter(subnet, destination netip.Prefix) hostnet.Route {
	r := hostnet.Route{
		Destination: destination.Masked(), Gateway: addr.Router(subnet), Table: hostnet.MainTable, Protocol: hostnet.ProtocolStatic,
	}
	if destination.Addr().Is6() {
		r.Metric = hostnet.DefaultMetricV6
	}
	return r
}

func addSysctls(out map[string]string, v4 bool) {
	const on, off, loose = "1", "0", "2"
	if v4 {
		out["net/ipv4/ip_forward"] = on
		// Replies to the host may come from addresses whose route leads elsewhere.
		out["net/ipv4/conf/"+names.ManagementPort+"/rp_filter"] = loose
		return
	}
	conf := "net/ipv6/conf/" + names.ManagementPort
	out["net/ipv6/conf/all/forwarding"] = on
	out[conf+"/disable_ipv6"] = off
	out[conf+"/accept_ra"] = off
	out[conf+"/accept_dad"] = off
}
