package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/selector"
)

// Policy is a NetworkPolicy as it was understood.
type Policy struct {
	Namespace, Name string
	// Pods are those that the policy is about.
	Pods selector.Selector
	// Ingress and Egress say in which directions it isolates them.
	Ingress, Egress bool
	// Rules say what is allowed all the same. Those that make no sense are left out: they allow nothing.
	Rules []Rule
	// Problems are for the user: what made no sense.
	Problems []string
}

// Rule allows connections of one direction. Of its three kinds of peers one is enough.
type Rule struct {
	Ingress bool
	// Index is the rule's number in its section of the policy, from zero.
	Index int
	// Everybody: any peer, inside or outside of the cluster.
	Everybody bool
	// Peers are pods, in the order of their texts, each selector once.
	Peers []selector.Selector
	// Blocks are addresses, exceptions taken out: the fewest prefixes, in order.
	Blocks []netip.Prefix
	Ports  Ports
}

// Ports are destination ports.
type Ports struct {
	// All ports of all protocols; then the rest is empty.
	All bool
	// Ranges do not overlap and are in order.
	Ranges []PortRange
	// Names mean another number on each pod that is connected to.
	Names []selector.PortName
}

// Follow is a name of a port whose meanings on selected pods Rows has to be told.
type Follow struct {
	Pods selector.Selector
	Port selector.PortName
}

// everyPod selects all pods of the cluster.
func everyPod() selector.Selector { return selector.Selector{} }

// Parse reads a policy.
func Parse(in *kube.NetworkPolicy) *Policy {
	p := &Policy{Namespace: in.Namespace, Name: in.Name, Pods: selector.Selector{Namespace: in.Namespace}}
	var err error
	if p.Pods.Pods, err = selector.ParseLabels(&in.Spec.PodSelector); err != nil {
		// Whom it is meant for cannot be told; leaving anybody open whom it may be meant for would be worse.
		p.problem("podSelector: %v: every pod of the namespace is isolated", err)
	}
	p.directions(&in.Spec)
	if p.Ingress {
		for i, r := range in.Spec.Ingress {
			p.rule(true, i, r.From, r.Ports)
		}
	}
	if p.Egress {
		for i, r := range in.Spec.Egress {
			p.rule(false, i, r.To, r.Ports)
		}
	}
	if err != nil {
		p.Rules = nil
	}
	return p
}

func (p *Policy) problem(format string, args ...any) {
	p.Problems = append(p.Problems, fmt.Sprintf(format, args...))
}

// directions follow NetworkPolicySpec.PolicyTypes.
func (p *Policy) directions(spec *networkingv1.NetworkPolicySpec) {
	if len(spec.PolicyTypes) == 0 {
		p.Ingress, p.Egress = true, len(spec.Egress) > 0
		return
	}
	for _, t := range spec.PolicyTypes {
		switch t {
		case networkingv1.PolicyTypeIngress:
			p.Ingress = true
		case networkingv1.PolicyTypeEgress:
			p.Egress = true
		default:
			p.problem("policyTypes: %q is neither Ingress nor Egress", t)
		}
	}
	if !p.Ingress && !p.Egress {
		p.problem("policyTypes: no direction is named: pods are isolated in both")
		p.Ingress, p.Egress = true, true
	}
}

func (p *Policy) rule(ingress bool, index int, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) {
	r := Rule{Ingress: ingress, Index: index, Everybody: len(peers) == 0}
	var blocks []netip.Prefix
	for i := range peers {
		block, err := r.peer(p.Namespace, &peers[i])
		if err != nil {
			p.problem("%s rule %d, peer %d: %v: the rule allows nothing", direction(ingress), index, i, err)
			return
		}
		blocks = append(blocks, block...)
	}
	byText := map[string]selector.Selector{}
	for _, s := range r.Peers {
		byText[s.String()] = s
	}
	r.Peers = nil
	for _, text := range slices.Sorted(maps.Keys(byText)) {
		r.Peers = append(r.Peers, byText[text])
	}
	r.Blocks = union(blocks)
	var err error
	if r.Ports, err = parsePorts(ports); err != nil {
		p.problem("%s rule %d, %v: the rule allows nothing", direction(ingress), index, err)
		return
	}
	p.Rules = append(p.Rules, r)
}

// peer adds a peer to the rule's selectors, or returns its addresses.
func (r *Rule) peer(namespace string, in *networkingv1.NetworkPolicyPeer) ([]netip.Prefix, error) {
	if in.IPBlock != nil {
		if in.PodSelector != nil || in.NamespaceSelector != nil {
			return nil, fmt.Errorf("ipBlock and selectors cannot be combined")
		}
		return parseBlock(in.IPBlock)
	}
	if in.PodSelector == nil && in.NamespaceSelector == nil {
		return nil, fmt.Errorf("it names nobody")
	}
	var s selector.Selector
	var err error
	if s.Pods, err = selector.ParseLabels(in.PodSelector); err != nil {
		return nil, fmt.Errorf("podSelector: %w", err)
	}
	if in.NamespaceSelector == nil {
		s.Namespace = namespace
	} else if s.Namespaces, err = selector.ParseLabels(in.NamespaceSelector); err != nil {
		return nil, fmt.Errorf("namespaceSelector: %w", err)
	}
	r.Peers = append(r.Peers, s)
	return nil, nil
}

// Follows are the names of ports that the policy uses, on the pods on which they matter: those that are connected to.
func (p *Policy) Follows() []Follow {
	type asText struct {
		pods string
		port selector.PortName
	}
	var out []Follow
	seen := map[asText]bool{}
	add := func(pods selector.Selector, port selector.PortName) {
		if k := (asText{pods.String(), port}); !seen[k] {
			seen[k] = true
			out = append(out, Follow{pods, port})
		}
	}
	for i := range p.Rules {
		for _, name := range p.Rules[i].Ports.Names {
			for _, pods := range p.Rules[i].destinations(p.Pods) {
				add(pods, name)
			}
		}
	}
	return out
}

// destinations are the pods that the rule lets be connected to, where it does not depend on addresses.
func (r *Rule) destinations(own selector.Selector) []selector.Selector {
	switch {
	case r.Ingress:
		return []selector.Selector{own}
	case r.Everybody:
		return []selector.Selector{everyPod()}
	case len(r.Blocks) > 0 && !r.names(everyPod()):
		return append(slices.Clone(r.Peers), everyPod())
	}
	return r.Peers
}

func direction(ingress bool) string {
	if ingress {
		return "Ingress"
	}
	return "Egress"
}

// names tells whether a selector is among the rule's peers.
func (r *Rule) names(pods selector.Selector) bool {
	text := pods.String()
	return slices.ContainsFunc(r.Peers, func(p selector.Selector) bool { return p.String() == text })
}
