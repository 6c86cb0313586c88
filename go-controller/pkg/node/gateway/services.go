package gateway

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	of "github.com/ovnkube/ovnkube/go-controller/pkg/node/openflow"
)

// Frontends are what services' ports on a node depend on.
type Frontends struct {
	// Addresses are the node's own on the bridge.
	Addresses []netip.Addr
	NodePorts NodePorts
	// RestrictedOnly leaves all to the host but load balancers that are not for everybody: the gateway router alone knows who may use
	// them.
	RestrictedOnly bool
	// HostServes tells of a port of a service with externalTrafficPolicy Local whether the host itself is an endpoint: its
	// netfilter leads packets there and keeps the sender's address, which the gateway router could not. Nil: never.
	HostServes func(s *kube.Service, port kube.ServicePort, v4 bool) bool
}

// NodePorts says of which services the gateway router takes the node ports.
type NodePorts int

// Sets of services.
const (
	NoNodePorts NodePorts = iota
	// LocalNodePorts are those of services with externalTrafficPolicy Local.
	LocalNodePorts
	AllNodePorts
)

func (n NodePorts) of(s *kube.Service) bool {
	return n == AllNodePorts || n == LocalNodePorts && s.ExternalLocal
}

// ServicePorts returns the ports on which packets from outside are for services, each once, in order. Whether anybody
// answers there is for the gateway router to say.
func (f Frontends) ServicePorts(services []*kube.Service) []ServicePort {
	var out []ServicePort
	for _, s := range services {
		out = append(out, f.of(s)...)
	}
	slices.SortFunc(out, compareServicePorts)
	return slices.Compact(out)
}

func (f Frontends) of(s *kube.Service) []ServicePort {
	if len(s.ClusterIPs) == 0 {
		return nil
	}
	var out []ServicePort
	for _, p := range s.Ports {
		proto := of.Protocol(strings.ToLower(string(p.Protocol)))
		keeps := map[bool]bool{true: f.hostServes(s, p, true), false: f.hostServes(s, p, false)}
		for _, a := range s.ExternalIPs {
			if !keeps[a.Is4()] && !f.RestrictedOnly {
				out = append(out, ServicePort{proto, p.Port, a})
			}
		}
		for _, a := range s.LoadBalancerIPs {
			if !keeps[a.Is4()] && !f.RestrictedOnly || len(s.SourceRanges) > 0 {
				out = append(out, ServicePort{proto, p.Port, a})
			}
		}
		if p.NodePort == 0 || !f.NodePorts.of(s) {
			continue
		}
		for _, a := range f.Addresses {
			if slices.ContainsFunc(s.ClusterIPs, func(c netip.Addr) bool { return c.Is4() == a.Is4() }) && !keeps[a.Is4()] {
				out = append(out, ServicePort{proto, p.NodePort, a})
			}
		}
	}
	return out
}

func (f Frontends) hostServes(s *kube.Service, p kube.ServicePort, v4 bool) bool {
	return s.ExternalLocal && f.HostServes != nil && f.HostServes(s, p, v4)
}

func compareServicePorts(a, b ServicePort) int {
	return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
}
