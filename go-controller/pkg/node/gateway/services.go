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
		for _, a := range slices.Concat(s.ExternalIPs, s.LoadBalancerIPs) {
			out = append(out, ServicePort{proto, p.Port, a})
		}
		if p.NodePort == 0 || !f.NodePorts.of(s) {
			continue
		}
		for _, a := range f.Addresses {
			if slices.ContainsFunc(s.ClusterIPs, func(c netip.Addr) bool { return c.Is4() == a.Is4() }) {
				out = append(out, ServicePort{proto, p.NodePort, a})
			}
		}
	}
	return out
}

func compareServicePorts(a, b ServicePort) int {
	return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
}
