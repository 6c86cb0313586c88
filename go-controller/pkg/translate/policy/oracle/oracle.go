// Package oracle says what NetworkPolicies allow. It follows the documentation of the types of networking.k8s.io/v1 sentence by
// sentence and shares no code with the translator: tests hold what OVN does against it, and so does "kubectl ovn trace". It is meant to be
// read, not to be fast.
package oracle

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Cluster is what a verdict depends on.
type Cluster struct {
	// Namespaces by name; pods in others belong to namespaces without labels.
	Namespaces map[string]*corev1.Namespace
	// Pods by "namespace/name".
	Pods map[string]*corev1.Pod
	// Policies by "namespace/name".
	Policies map[string]*networkingv1.NetworkPolicy
}

// End is one end of a flow.
type End struct {
	// Pod is "namespace/name"; empty when the end is no pod.
	Pod string
	// Node is the name of the node whose own network the end is in; empty for pods and what is outside of the cluster.
	Node string
	// Address is the one that the other end sees.
	Address netip.Addr
}

// String names the end.
func (e End) String() string {
	switch {
	case e.Pod != "":
		return e.Pod + " " + e.Address.String()
	case e.Node != "":
		return "node " + e.Node + " " + e.Address.String()
	}
	return e.Address.String()
}

// Flow is a new connection. Where it was addressed to a service, To and Port are the endpoint's, after load balancing.
type Flow struct {
	From, To End
	Protocol corev1.Protocol
	// Port is the destination's.
	Port uint16
}

// String names the flow.
func (f Flow) String() string {
	return fmt.Sprintf("%s → %s %s %d", f.From, f.To, f.Protocol, f.Port)
}

// Verdict is what the policies say of a flow.
type Verdict struct {
	Allowed bool
	// Why is for people: what decided.
	Why string
	// Direction and DeniedBy, where the flow may not pass, are the direction in which that is so and the policies that isolate the
	// pod in it, "namespace/name", in order.
	Direction networkingv1.PolicyType
	DeniedBy  []string
}

// Judge says whether a flow may pass: its source must be allowed to send it, and its destination to receive it.
func (c *Cluster) Judge(f Flow) Verdict {
	if f.From.Pod != "" && f.From.Pod == f.To.Pod {
		return allowed("a pod cannot block access to itself")
	}
	out := c.judge(networkingv1.PolicyTypeEgress, f.From, f.To, f)
	if !out.Allowed {
		return out
	}
	in := c.judge(networkingv1.PolicyTypeIngress, f.To, f.From, f)
	in.Why = out.Why + "; " + in.Why
	return in
}

func allowed(why string, args ...any) Verdict {
	return Verdict{Allowed: true, Why: fmt.Sprintf(why, args...)}
}

// judge looks at one direction: own is the end whose policies count, peer is the other one.
func (c *Cluster) judge(direction networkingv1.PolicyType, own, peer End, f Flow) Verdict {
	pod := c.isolatable(own.Pod)
	if pod == nil {
		return allowed("%s: %s is no pod with a network of its own", direction, own)
	}
	// "… OR if the traffic source is the pod's local node", which is said of ingress alone.
	if direction == networkingv1.PolicyTypeIngress && c.onNode(peer) != "" && c.onNode(peer) == pod.Spec.NodeName {
		return allowed("%s: from the node of %s", direction, own)
	}
	isolatedBy := c.Isolating(direction, own.Pod)
	for _, key := range isolatedBy {
		p := c.Policies[key]
		if i := slices.IndexFunc(rules(p, direction), func(r rule) bool { return c.allows(p, r, peer, f) }); i >= 0 {
			return allowed("%s: rule %d of %s", direction, i, key)
		}
	}
	if len(isolatedBy) == 0 {
		return allowed("%s: no policy selects %s", direction, own)
	}
	return Verdict{Why: fmt.Sprintf("%s: %s is isolated, by %s for one, and no rule matches", direction, own, isolatedBy[len(isolatedBy)-1]),
		Direction: direction, DeniedBy: isolatedBy}
}

// Isolating are the policies that isolate a pod in a direction, in order.
func (c *Cluster) Isolating(direction networkingv1.PolicyType, key string) []string {
	pod := c.isolatable(key)
	if pod == nil {
		return nil
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(c.Policies)) {
		p := c.Policies[key]
		if p.Namespace == pod.Namespace && applies(p, direction) && matches(&p.Spec.PodSelector, pod.Labels) {
			out = append(out, key)
		}
	}
	return out
}

// Mismatch is why a rule does not allow a flow.
type Mismatch struct {
	// Rule is its number in its section of the policy, from zero.
	Rule int
	// Peer and Port say which of both does not match.
	Peer, Port bool
}

// Mismatches tells for each rule of a policy why it does not allow a flow that is denied in a direction.
func (c *Cluster) Mismatches(policy string, direction networkingv1.PolicyType, f Flow) []Mismatch {
	p, peer := c.Policies[policy], f.From
	if p == nil {
		return nil
	}
	if direction == networkingv1.PolicyTypeEgress {
		peer = f.To
	}
	var out []Mismatch
	for i, r := range rules(p, direction) {
		out = append(out, Mismatch{Rule: i, Peer: !c.allowsPeer(p, r, peer), Port: !c.allowsPort(r, f)})
	}
	return out
}

// isolatable returns the pod that policies can select: one that runs, in a network of its own.
func (c *Cluster) isolatable(key string) *corev1.Pod {
	pod := c.Pods[key]
	if pod == nil || pod.Spec.HostNetwork || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	return pod
}

// onNode is the node whose own network an end is in: that of a pod in the host's network, too.
func (c *Cluster) onNode(e End) string {
	if pod := c.Pods[e.Pod]; pod != nil && pod.Spec.HostNetwork {
		return pod.Spec.NodeName
	}
	return e.Node
}

// applies tells whether a policy is one of that direction. "If this field is not specified, it will default based on the
// existence of ingress or egress rules; policies that contain an egress section are assumed to affect egress, and all
// policies (whether or not they contain an ingress section) are assumed to affect ingress."
func applies(p *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) bool {
	if len(p.Spec.PolicyTypes) > 0 {
		return slices.Contains(p.Spec.PolicyTypes, direction)
	}
	return direction == networkingv1.PolicyTypeIngress || len(p.Spec.Egress) > 0
}

// Key is the key of an object in a Cluster.
func Key(namespace, name string) string { return names.ObjectName(namespace, name) }
