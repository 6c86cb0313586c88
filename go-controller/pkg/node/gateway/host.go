package gateway

import (
	"net/netip"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
)

// Host is what the host's own addresses and routes for services depend on.
type Host struct {
	// Addresses are the node's on the bridge; the first of a family counts.
	Addresses []netip.Prefix
	// ServiceCIDRs are the service networks.
	ServiceCIDRs []netip.Prefix
	// Subnets are the node's, which pods' addresses come from.
	Subnets []netip.Prefix
	// MTU of pods in bytes.
	MTU int
}

// External is what the host has on the external bridge: the address by which services know it, and the way to them.
func External(h Host) hostnet.Desired {
	d := hostnet.Desired{Device: names.ExternalBridge, OwnsRoute: leadsToServices}
	for _, v4 := range []bool{true, false} {
		node, ok := firstOf(h.Addresses, v4)
		if !ok {
			continue
		}
		self := names.MasqueradeHostAddress(v4)
		// With the length of its network the address would come with a broadcast address, which is
		// MasqueradeHostLocal: so the network is a route of its own. The host never chooses the address by itself.
		d.Addresses = append(d.Addresses, hostnet.Address{Prefix: single(self.Addr()), NoPrefixRoute: true, Deprecated: !v4})
		d.Routes = append(d.Routes,
			onLink(self.Masked(), self.Addr()),
			onLink(single(names.MasqueradeOVN(v4)), node.Addr()))
		for _, cidr := range h.ServiceCIDRs {
			if cidr.Addr().Is4() == v4 {
				d.Routes = append(d.Routes, toServices(cidr, h.MTU))
			}
		}
		for _, a := range []netip.Addr{names.MasqueradeOVN(v4), names.MasqueradeNextHop(v4)} {
			d.Neighbours = append(d.Neighbours, hostnet.Neighbour{Address: a, MAC: names.MasqueradeNextHopMAC(), Permanent: true})
		}
	}
	return d
}

// Management is what the host has on the management port: the way to services that must see the sender's address.
func Management(h Host) hostnet.Desired {
	d := hostnet.Desired{Device: names.ManagementPort}
	for _, s := range h.Subnets {
		r := route(single(names.MasqueradeHostLocal(s.Addr().Is4())))
		r.Gateway = addr.Router(s)
		d.Routes = append(d.Routes, r)
	}
	return d
}

func route(destination netip.Prefix) hostnet.Route {
	r := hostnet.Route{Destination: destination, Table: hostnet.MainTable, Protocol: hostnet.ProtocolStatic}
	if destination.Addr().Is6() {
		r.Metric = hostnet.DefaultMetricV6
	}
	return r
}

func onLink(destination netip.Prefix, source netip.Addr) hostnet.Route {
	r := route(destination)
	r.Source = source
	if destination.Addr().Is4() {
		r.Scope = hostnet.ScopeLink
	}
	return r
}

// toServices is the route to a service network; its MTU is pods', for nobody tells the host what does not fit.
func toServices(cidr netip.Prefix, mtu int) hostnet.Route {
	v4 := cidr.Addr().Is4()
	r := route(cidr.Masked())
	r.Gateway, r.OnLink, r.Source, r.MTU = names.MasqueradeNextHop(v4), true, names.MasqueradeHost(v4), mtu
	return r
}

// leadsToServices tells routes to service networks, also former ones, by their next hop, which nobody else uses.
func leadsToServices(r hostnet.Route) bool {
	return r.Table == hostnet.MainTable && r.Gateway.IsValid() && r.Gateway == names.MasqueradeNextHop(r.Gateway.Is4())
}

// ServiceNetworks returns the networks to which the host has routes as External makes them.
func ServiceNetworks(external *hostnet.Device) []netip.Prefix {
	var out []netip.Prefix
	for _, r := range external.Routes {
		if leadsToServices(r) {
			out = append(out, r.Destination)
		}
	}
	return out
}

func firstOf(addresses []netip.Prefix, v4 bool) (netip.Prefix, bool) {
	for _, a := range addresses {
		if a.Addr().Is4() == v4 {
			return a, true
		}
	}
	return netip.Prefix{}, false
}
