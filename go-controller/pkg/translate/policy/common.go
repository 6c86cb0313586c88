package policy

import (
	"fmt"
	"net/netip"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/selector"
)

// GroupRows is the port group of selected pods, for any number of policies.
func GroupRows(pods selector.Selector) nbstate.Desired {
	name := names.PolicyPortGroup(pods.String())
	return nbstate.Desired{Rows: []nbstate.Row{{ID: name, Model: &nbdb.PortGroup{Name: name}}}}
}

// PeerRows are the address sets of selected pods, one a family, for any number of policies.
func PeerRows(pods selector.Selector, f Families) nbstate.Desired {
	var d nbstate.Desired
	f.each(func(v4 bool) {
		name := names.PeerAddressSet(pods.String(), v4)
		d.Rows = append(d.Rows, nbstate.Row{ID: name, Model: &nbdb.AddressSet{Name: name}})
	})
	return d
}

// IsolationRows are the port groups of the pods of a namespace that are isolated in the directions given, each with the rule that denies.
func IsolationRows(namespace string, ingress, egress bool, logging Logging) nbstate.Desired {
	var d nbstate.Desired
	for _, in := range []bool{true, false} {
		if in && !ingress || !in && !egress {
			continue
		}
		group := names.IsolationPortGroup(namespace, in) // The rule's ID, too.
		// Whatever it is, also what is not IP: allowed is only what a rule names.
		acl := newACL(in, nbdb.ACLActionDrop, names.ACLPolicyDeny, end(in)+" == @"+group)
		logging.apply(acl, aclName(namespace, direction(in)), logging.Deny)
		acl.ExternalIDs = map[string]string{names.ACLDirectionKey: direction(in)}
		d.Rows = append(d.Rows, nbstate.Row{ID: group, Model: &nbdb.PortGroup{Name: group}}, nbstate.Row{ID: group, Model: acl})
		d.Members = append(d.Members, member(nbdb.PortGroupTable, group, "acls", group))
	}
	return d
}

// ClusterRows are what no policy can forbid, in effect on the switches of all nodes by the port group of their management ports: ARP and neighbour
// discovery, and what a pod gets from itself through a service; and the meter of log messages, rate a second for each ACL.
func ClusterRows(f Families, rate int) nbstate.Desired {
	var d nbstate.Desired
	group := names.ClusterNodePortsGroup
	d.Rows = append(d.Rows, nbstate.Row{ID: group, Model: &nbdb.PortGroup{Name: group}})
	var hairpin []string
	f.each(func(v4 bool) {
		hairpin = append(hairpin, addr.MatchName(v4)+".src == "+names.MasqueradeHairpin(v4).String())
	})
	allow := func(id string, ingress bool, action nbdb.ACLAction, match string) {
		d.Rows = append(d.Rows, nbstate.Row{ID: id, Model: newACL(ingress, action, names.ACLPolicyAllow, match)})
		d.Members = append(d.Members, member(nbdb.PortGroupTable, group, "acls", id))
	}
	allow("policy_arp_in", true, nbdb.ACLActionAllow, "arp || nd")
	allow("policy_arp_out", false, nbdb.ACLActionAllow, "arp || nd")
	allow("policy_hairpin", true, nbdb.ACLActionAllowRelated, anyOf(hairpin))
	band, fair := names.ACLLoggingMeter, true
	d.Rows = append(d.Rows,
		nbstate.Row{ID: band, Model: &nbdb.MeterBand{Action: nbdb.MeterBandActionDrop, Rate: rate}},
		nbstate.Row{ID: names.ACLLoggingMeter, Model: &nbdb.Meter{
			Name: names.ACLLoggingMeter, Fair: &fair, Unit: nbdb.MeterUnitPktps, Bands: []string{band},
		}})
	return d
}

// NodeRows let a node's host reach the node's own pods, whatever policies say: what comes from its management port with an address of the node. What
// the host passes on for others has theirs, or MasqueradeForwarded.
func NodeRows(node string, addresses []netip.Addr, f Families) nbstate.Desired {
	port, id := names.ManagementLogicalPort(node), names.NodePolicyACL(node)
	d := nbstate.Desired{Members: []nbstate.Member{member(nbdb.PortGroupTable, names.ClusterNodePortsGroup, "ports", port)}}
	var blocks []netip.Prefix
	for _, a := range addresses {
		blocks = append(blocks, addr.HostPrefix(a))
	}
	sources, any := f.peers("src", nil, union(blocks))
	if !any {
		return d
	}
	acl := newACL(true, nbdb.ACLActionAllowRelated, names.ACLPolicyAllow, fmt.Sprintf("inport == %q && %s", port, sources))
	d.Rows = append(d.Rows, nbstate.Row{ID: id, Model: acl})
	d.Members = append(d.Members, member(nbdb.LogicalSwitchTable, names.NodeSwitch(node), "acls", id))
	return d
}

// Membership is what a pod is to policies.
type Membership struct {
	// Groups are the port groups of policies that are about the pod (GroupName), Peers the address sets of rules that name it (PeerNames).
	Groups []string
	Peers  []PeerSets
	// Ingress and Egress: it is isolated.
	Ingress, Egress bool
}

// PeerSets are the names of the address sets of a selector.
type PeerSets struct{ V4, V6 string }

// GroupName is the port group of GroupRows.
func GroupName(pods selector.Selector) string { return names.PolicyPortGroup(pods.String()) }

// PeerNames are the address sets of PeerRows.
func PeerNames(pods selector.Selector, f Families) PeerSets {
	var s PeerSets
	if f.IPv4 {
		s.V4 = names.PeerAddressSet(pods.String(), true)
	}
	if f.IPv6 {
		s.V6 = names.PeerAddressSet(pods.String(), false)
	}
	return s
}

// Members put a pod's port and addresses where they belong.
func (m Membership) Members(namespace, port string, addresses []netip.Addr) []nbstate.Member {
	groups := m.Groups
	if m.Ingress {
		groups = append(groups, names.IsolationPortGroup(namespace, true))
	}
	if m.Egress {
		groups = append(groups, names.IsolationPortGroup(namespace, false))
	}
	out := make([]nbstate.Member, 0, len(groups)+len(m.Peers)*len(addresses))
	for _, g := range groups {
		out = append(out, member(nbdb.PortGroupTable, g, "ports", port))
	}
	for _, s := range m.Peers {
		for _, a := range addresses {
			set := s.V6
			if a.Is4() {
				set = s.V4
			}
			if set != "" {
				out = append(out, member(nbdb.AddressSetTable, set, "addresses", a.String()))
			}
		}
	}
	return out
}

// IndexedPod is what selectors look at of a pod.
func IndexedPod(p *kube.Pod) selector.Pod {
	out := selector.Pod{Key: p.Key(), Namespace: p.Namespace, Labels: p.Labels}
	for _, c := range p.Ports {
		out.Ports = append(out.Ports, selector.Port{PortName: selector.PortName{Protocol: c.Protocol, Name: c.Name}, Number: c.Port})
	}
	return out
}
