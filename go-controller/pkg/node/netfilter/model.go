package netfilter

import (
	"net/netip"
	"slices"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// ServiceRules returns the rules of a service, in a stable order. Whatever has a plain cluster IP alone has none: OVN serves it.
func ServiceRules(s *kube.Service, slices []*kube.EndpointSlice, f Facts) []Rule {
	if s.Undecided(slices) {
		return nil
	}
	var out []Rule
	for _, clusterIP := range s.ClusterIPs {
		if !f.serves(clusterIP.Is4()) {
			continue
		}
		for _, port := range s.Ports {
			protocol, ok := protocolOf(port.Protocol)
			if !ok {
				continue
			}
			p := servicePort{s, port, protocol, clusterIP, localEndpoints(slices, port, clusterIP.Is4(), f), f.NoNodePorts}
			out = append(out, p.external()...)
			out = append(out, p.internal()...)
		}
	}
	return out
}

// servicePort is one port of a service in one family.
type servicePort struct {
	service   *kube.Service
	port      kube.ServicePort
	protocol  Protocol
	clusterIP netip.Addr
	local     local
	// noNodePorts, see Facts.
	noNodePorts bool
}

// local are a port's endpoints on this node: the first that is the host itself, and the first of all.
type local struct{ host, any netip.AddrPort }

func (p servicePort) rule(k Kind, dest netip.Addr, port uint16, to netip.AddrPort) Rule {
	return Rule{Key{Kind: k, V4: p.clusterIP.Is4(), Protocol: p.protocol, Dest: dest, Port: port}, to}
}

// external are the rules for node ports and addresses from outside the cluster.
func (p servicePort) external() []Rule {
	target := netip.AddrPortFrom(p.clusterIP, p.port.Port)
	var out []Rule
	if p.port.NodePort != 0 && !p.noNodePorts {
		out = append(out, p.rule(NodePort, netip.Addr{}, p.port.NodePort, target))
		if p.service.ExternalLocal {
			out = append(out, p.rule(LocalNodePort, netip.Addr{}, p.port.NodePort, p.localTarget()))
		}
	}
	keep := false
	for _, ip := range slices.Concat(p.service.ExternalIPs, p.service.LoadBalancerIPs) {
		if ip.Is4() != p.clusterIP.Is4() {
			continue
		}
		if p.restricted(ip) {
			out = append(out, p.rule(Internal, ip, p.port.Port, target))
			continue
		}
		out = append(out, p.rule(ExternalIP, ip, p.port.Port, target))
		if to := p.localTarget(); p.service.ExternalLocal && to.IsValid() {
			out = append(out, p.rule(LocalExternalIP, ip, p.port.Port, to))
			keep = keep || to == p.local.any && to != p.local.host
		}
	}
	if keep {
		out = append(out, p.rule(KeepSource, p.local.any.Addr(), p.local.any.Port(), netip.AddrPort{}))
	}
	return out
}

// restricted tells whether not everybody may use an address. The gateway router alone knows who may: what reaches the host from outside
// all the same, by another device or before br-ex has its flows, must not get in. The host itself is let in here.
func (p servicePort) restricted(ip netip.Addr) bool {
	return len(p.service.SourceRanges) > 0 && slices.Contains(p.service.LoadBalancerIPs, ip)
}

// localTarget is where packets go that must stay on the node: to the host itself, or by way of the masquerade address to
// OVN, which has under that address and the node port the endpoints of this node alone. A service without node ports
// has nothing there: its first endpoint on this node serves all, and without one the target is not valid.
func (p servicePort) localTarget() netip.AddrPort {
	switch {
	case p.local.host.IsValid():
		return p.local.host
	case p.port.NodePort != 0:
		return netip.AddrPortFrom(names.MasqueradeHostLocal(p.clusterIP.Is4()), p.port.NodePort)
	}
	return p.local.any
}

// internal is the rule for what the host itself sends to a cluster IP that must stay on the node.
func (p servicePort) internal() []Rule {
	switch {
	case !p.service.InternalLocal:
		return nil
	case p.local.host.IsValid():
		return []Rule{p.rule(Internal, p.clusterIP, p.port.Port, p.local.host)}
	}
	return []Rule{p.rule(MarkInternal, p.clusterIP, p.port.Port, netip.AddrPort{})}
}

// localEndpoints finds the endpoints on this node that may be used.
func localEndpoints(in []*kube.EndpointSlice, port kube.ServicePort, v4 bool, f Facts) local {
	var out local
	for _, e := range kube.UsableOn(f.Node, in, port, v4) {
		if !out.any.IsValid() {
			out.any = e
		}
		if !out.host.IsValid() && slices.Contains(f.Addresses, e.Addr()) {
			out.host = e
		}
	}
	return out
}
