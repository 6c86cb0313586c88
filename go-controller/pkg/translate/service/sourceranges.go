package service

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// clientPorts puts a node's switches into the port group of ClusterRows, each by the port to or from the rest of the world.
func clientPorts(n *Node) []nbstate.Member {
	ports := []string{names.SwitchToRouterPort(n.Name)}
	if n.Gateway {
		ports = append(ports, names.ExternalLocalnetPort(n.Name))
	}
	var out []nbstate.Member
	for _, p := range ports {
		out = append(out, nbstate.Member{
			Parent: nbstate.Key{Table: nbdb.PortGroupTable, ID: names.ServiceClientsPortGroup}, Column: "ports", Value: p,
		})
	}
	return out
}

// sourceRanges is one rule a family that drops what comes to the addresses of load balancers from elsewhere. It
// is applied before load balancing. A family without a range is open, as with kube-proxy.
func (t *translation) sourceRanges() {
	s := t.service
	for _, v4 := range []bool{true, false} {
		vips := ofFamily(s.LoadBalancerIPs, v4)
		ranges := slices.DeleteFunc(slices.Clone(s.SourceRanges), func(p netip.Prefix) bool { return p.Addr().Is4() != v4 })
		// Not "source != {…}": OVN would multiply the ways to differ from each range.
		others := complement(v4, ranges)
		if len(vips) == 0 || len(ranges) == 0 || len(others) == 0 || len(ofFamily(s.ClusterIPs, v4)) == 0 {
			continue
		}
		id := names.ServiceSourceRanges(s.Namespace, s.Name, v4)
		t.desired.Rows = append(t.desired.Rows, nbstate.Row{ID: id, Model: &nbdb.ACL{
			Action: nbdb.ACLActionDrop, Direction: nbdb.ACLDirectionFromLport, Priority: names.ACLServiceSources,
			Match: fmt.Sprintf("%s.dst == %s && (%s) && %s.src == %s", addr.MatchName(v4), set(vips), portMatch(s), addr.MatchName(v4), set(others)),
		}})
		t.desired.Members = append(t.desired.Members, nbstate.Member{
			Parent: nbstate.Key{Table: nbdb.PortGroupTable, ID: names.ServiceClientsPortGroup}, Column: "acls", Value: id,
		})
	}
}

// portMatch matches the service's ports.
func portMatch(s *kube.Service) string {
	var terms []string
	for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP} {
		var ports []int
		for _, p := range s.Ports {
			if p.Protocol == protocol {
				ports = append(ports, int(p.Port))
			}
		}
		if len(ports) > 0 {
			terms = append(terms, fmt.Sprintf("%s.dst == %s", strings.ToLower(string(protocol)), set(ports)))
		}
	}
	return strings.Join(terms, " || ")
}

// set writes constants as in ovn-nb(5), ACL match.
func set[T any](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return "{" + strings.Join(texts, ", ") + "}"
}

// complement returns the fewest prefixes that hold all addresses of a family that are in none of ranges.
func complement(v4 bool, ranges []netip.Prefix) []netip.Prefix {
	all := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	if v4 {
		all = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return addr.Without(all, ranges)
}
