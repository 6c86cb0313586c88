package trace

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy/oracle"
)

func newCluster(o *inspect.Objects) *oracle.Cluster {
	c := &oracle.Cluster{Namespaces: map[string]*corev1.Namespace{}, Pods: map[string]*corev1.Pod{}, Policies: map[string]*networkingv1.NetworkPolicy{}}
	for i := range o.Namespaces {
		c.Namespaces[o.Namespaces[i].Name] = &o.Namespaces[i]
	}
	for i := range o.Pods {
		c.Pods[oracle.Key(o.Pods[i].Namespace, o.Pods[i].Name)] = &o.Pods[i]
	}
	for i := range o.Policies {
		c.Policies[oracle.Key(o.Policies[i].Namespace, o.Policies[i].Name)] = &o.Policies[i]
	}
	return c
}

func oracleEnd(p *place) oracle.End {
	e := oracle.End{Node: p.node, Address: p.address}
	if p.pod != nil {
		e.Pod = oracle.Key(p.pod.Namespace, p.pod.Name)
	}
	return e
}

// denial says which policies deny a flow, and of each rule why it does not allow it.
func (t *tracer) denial(v oracle.Verdict, f oracle.Flow) string {
	direction := strings.ToLower(string(v.Direction))
	var parts []string
	for _, key := range v.DeniedBy {
		var why []string
		for _, m := range t.cluster.Mismatches(key, v.Direction, f) {
			why = append(why, fmt.Sprintf("%s rule %d does not allow %s", direction, m.Rule, t.mismatch(m, v.Direction, f)))
		}
		if len(why) == 0 {
			why = []string{"it has no " + direction + " rules"}
		}
		parts = append(parts, key+" ("+strings.Join(why, "; ")+")")
	}
	if len(parts) == 1 {
		return "NetworkPolicy " + parts[0]
	}
	return "NetworkPolicies " + strings.Join(parts, ", ")
}

func (t *tracer) mismatch(m oracle.Mismatch, direction networkingv1.PolicyType, f oracle.Flow) string {
	peer, word := f.From, "from "
	if direction == networkingv1.PolicyTypeEgress {
		peer, word = f.To, "to "
	}
	name := peer.Pod
	switch {
	case name == "" && peer.Node != "":
		name = "node " + peer.Node
	case name == "":
		name = peer.Address.String()
	}
	var what []string
	if m.Port {
		what = append(what, fmt.Sprintf("%s/%d", wire(string(f.Protocol)), f.Port))
	}
	if m.Peer {
		what = append(what, word+name)
	}
	return strings.Join(what, " ")
}

// judge compares what OVN does with what the policies say.
func (t *tracer) judge(c *Connection, s *story, wanted oracle.Verdict, f oracle.Flow, end *place) {
	lost := s.fate == Dropped || s.fate == Rejected
	c.Arrives = s.fate == Delivered && s.port == arrival(end) || s.fate == Leaves && !end.own()
	switch {
	case lost && !wanted.Allowed && s.owner.Kind == names.OwnerIsolation:
		c.Verdict = s.fate + " by " + t.denial(wanted, f)
	case lost && !wanted.Allowed:
		c.Verdict = fmt.Sprintf("%s by %s; %s would deny it, too", s.fate, s.by, t.denial(wanted, f))
	case lost && s.owner.Kind == names.OwnerIsolation:
		c.Verdict = fmt.Sprintf("%s by %s, though the policies allow it: OVN has not followed yet, or is wrong", s.fate, s.by)
	case lost:
		c.Verdict = s.fate + " by " + s.by
	case !wanted.Allowed && c.Arrives:
		c.Verdict = "arrives, though it is denied by " + t.denial(wanted, f) + ": OVN has not followed yet, or is wrong"
	case c.Arrives && s.fate == Leaves:
		c.Verdict = "allowed: leaves the cluster's network by " + names.ExternalBridge
	case c.Arrives:
		c.Verdict = "allowed: arrives at " + end.String()
	case s.fate == Delivered || s.fate == Leaves:
		c.Verdict = fmt.Sprintf("goes astray: comes out at port %s, not at %s", s.port, arrival(end))
	default:
		c.Unknown = true
		c.Verdict = "cannot be told: " + s.by
	}
	if slices.Contains(c.Path, needsMAC) && c.Arrives {
		c.Verdict += ", once the router has learned the hardware address of the next hop"
	}
}

// arrival is the logical port at which what is sent to an end comes out.
func arrival(end *place) string {
	switch {
	case end.own():
		return names.PodLogicalPort(end.pod.Namespace, end.pod.Name)
	case end.node != "":
		return names.ManagementLogicalPort(end.node)
	}
	return ""
}
