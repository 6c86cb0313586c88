// Package policygen draws namespaces, pods and NetworkPolicies at random for tests. The alphabets are small, so that selectors meet
// labels, ports meet ports, and names of ports mean different numbers on different pods.
package policygen

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"
)

// The alphabets. A key is one of pods and of namespaces alike, so that nobody takes the ones for the others.
var (
	keys      = []string{"app", "tier"}
	values    = []string{"web", "web", "db", "db", ""}
	numbers   = []int32{1, 53, 80, 81, 82, 8080, 65535}
	portNames = []string{"http", "dns", "admin"}
	protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
)

// Protocol draws one of the three.
func Protocol() *rapid.Generator[corev1.Protocol] { return rapid.SampledFrom(protocols) }

// Port draws a destination port: one that policies and pods use, or a neighbour of it.
func Port() *rapid.Generator[uint16] {
	return rapid.Custom(func(t *rapid.T) uint16 {
		n := rapid.SampledFrom(numbers).Draw(t, "number")
		return uint16(min(max(n+rapid.SampledFrom([]int32{0, 0, 0, 1, -1}).Draw(t, "beside"), 1), 65535))
	})
}

// Mentioned are ports that a policy speaks of by number, the last of ranges too.
func Mentioned(p *networkingv1.NetworkPolicy) []corev1.ContainerPort {
	var out []corev1.ContainerPort
	see := func(ports []networkingv1.NetworkPolicyPort) {
		for _, q := range ports {
			if q.Port == nil || q.Port.Type == intstr.String {
				continue
			}
			n := corev1.ContainerPort{ContainerPort: q.Port.IntVal}
			if q.Protocol != nil {
				n.Protocol = *q.Protocol
			}
			out = append(out, n)
			if q.EndPort != nil {
				n.ContainerPort = *q.EndPort
				out = append(out, n)
			}
		}
	}
	for _, r := range p.Spec.Ingress {
		see(r.Ports)
	}
	for _, r := range p.Spec.Egress {
		see(r.Ports)
	}
	return out
}

// Labels draws a set of labels.
func Labels() *rapid.Generator[map[string]string] {
	return rapid.MapOfN(rapid.SampledFrom(keys), rapid.SampledFrom(values), 0, len(keys))
}

// Namespace draws a namespace.
func Namespace(name string) *rapid.Generator[*corev1.Namespace] {
	return rapid.Custom(func(t *rapid.T) *corev1.Namespace {
		set := Labels().Draw(t, "labels")
		set[corev1.LabelMetadataName] = name // As the API server does.
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: set}}
	})
}

// Pod draws a pod that runs on one of nodes, one in six in the node's own network.
func Pod(namespace, name string, nodes []string) *rapid.Generator[*corev1.Pod] {
	return rapid.Custom(func(t *rapid.T) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: Labels().Draw(t, "labels")}}
		p.Spec.NodeName = rapid.SampledFrom(nodes).Draw(t, "node")
		p.Spec.HostNetwork = rapid.IntRange(0, 5).Draw(t, "host network") == 5
		p.Spec.Containers = rapid.SliceOfN(rapid.Custom(container), 1, 2).Draw(t, "containers")
		p.Status.Phase = corev1.PodRunning
		return p
	})
}

func container(t *rapid.T) corev1.Container {
	return corev1.Container{Ports: rapid.SliceOfNDistinct(rapid.Custom(containerPort), 0, 3, func(p corev1.ContainerPort) string { return p.Name }).Draw(t, "ports")}
}

func containerPort(t *rapid.T) corev1.ContainerPort {
	return corev1.ContainerPort{
		Name:          rapid.SampledFrom(portNames).Draw(t, "name"),
		Protocol:      rapid.SampledFrom(append([]corev1.Protocol{""}, protocols...)).Draw(t, "protocol"),
		ContainerPort: rapid.SampledFrom(numbers).Draw(t, "number"),
	}
}

// Policy draws a policy that the API server would take. Its blocks are some of blocks.
func Policy(namespace, name string, blocks []netip.Prefix) *rapid.Generator[*networkingv1.NetworkPolicy] {
	return rapid.Custom(func(t *rapid.T) *networkingv1.NetworkPolicy {
		p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		p.Spec.PodSelector = *Selector().Draw(t, "pods")
		for _, r := range rapid.SliceOfN(rapid.Custom(someRule(blocks)), 0, 2).Draw(t, "ingress") {
			p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{Ports: r.ports, From: r.peers})
		}
		for _, r := range rapid.SliceOfN(rapid.Custom(someRule(blocks)), 0, 2).Draw(t, "egress") {
			p.Spec.Egress = append(p.Spec.Egress, networkingv1.NetworkPolicyEgressRule{Ports: r.ports, To: r.peers})
		}
		p.Spec.PolicyTypes = rapid.SampledFrom([][]networkingv1.PolicyType{
			nil, {networkingv1.PolicyTypeIngress}, {networkingv1.PolicyTypeEgress}, {networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		}).Draw(t, "types")
		return p
	})
}

// Selector draws a selector that makes sense.
func Selector() *rapid.Generator[*metav1.LabelSelector] {
	return rapid.Custom(func(t *rapid.T) *metav1.LabelSelector {
		s := &metav1.LabelSelector{}
		if rapid.Bool().Draw(t, "with labels") {
			s.MatchLabels = rapid.MapOfN(rapid.SampledFrom(keys), rapid.SampledFrom(values), 0, 2).Draw(t, "matchLabels")
		}
		if rapid.IntRange(0, 2).Draw(t, "with expressions") == 2 {
			s.MatchExpressions = rapid.SliceOfN(rapid.Custom(expression), 1, 2).Draw(t, "matchExpressions")
		}
		return s
	})
}

func expression(t *rapid.T) metav1.LabelSelectorRequirement {
	r := metav1.LabelSelectorRequirement{
		Key: rapid.SampledFrom(keys).Draw(t, "key"),
		Operator: rapid.SampledFrom([]metav1.LabelSelectorOperator{
			metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist, metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn,
		}).Draw(t, "operator"),
	}
	if r.Operator == metav1.LabelSelectorOpIn || r.Operator == metav1.LabelSelectorOpNotIn {
		r.Values = rapid.SliceOfNDistinct(rapid.SampledFrom(values), 1, 2, rapid.ID).Draw(t, "values")
	}
	return r
}

type rule struct {
	ports []networkingv1.NetworkPolicyPort
	peers []networkingv1.NetworkPolicyPeer
}

func someRule(blocks []netip.Prefix) func(*rapid.T) rule {
	return func(t *rapid.T) rule {
		return rule{
			ports: rapid.SliceOfN(rapid.Custom(port), 0, 2).Draw(t, "ports"),
			peers: rapid.SliceOfN(rapid.Custom(somePeer(blocks)), 0, 2).Draw(t, "peers"),
		}
	}
}

func port(t *rapid.T) networkingv1.NetworkPolicyPort {
	var p networkingv1.NetworkPolicyPort
	if protocol := rapid.SampledFrom(append([]corev1.Protocol{""}, protocols...)).Draw(t, "protocol"); protocol != "" {
		p.Protocol = &protocol
	}
	number := func() *intstr.IntOrString {
		n := intstr.FromInt32(rapid.SampledFrom(numbers).Draw(t, "number"))
		return &n
	}
	switch rapid.SampledFrom([]string{"all", "number", "name", "range"}).Draw(t, "which") {
	case "number":
		p.Port = number()
	case "name":
		n := intstr.FromString(rapid.SampledFrom(append([]string{"nosuch"}, portNames...)).Draw(t, "name"))
		p.Port = &n
	case "range":
		p.Port = number()
		last := min(p.Port.IntVal+rapid.SampledFrom([]int32{0, 1, 2, 8000, 65535}).Draw(t, "length"), 65535)
		p.EndPort = &last
	}
	return p
}

func somePeer(blocks []netip.Prefix) func(*rapid.T) networkingv1.NetworkPolicyPeer {
	return func(t *rapid.T) networkingv1.NetworkPolicyPeer {
		var p networkingv1.NetworkPolicyPeer
		switch rapid.SampledFrom([]string{"pods", "namespaces", "both", "block"}).Draw(t, "kind") {
		case "pods":
			p.PodSelector = Selector().Draw(t, "pods")
		case "namespaces":
			p.NamespaceSelector = Selector().Draw(t, "namespaces")
		case "both":
			p.PodSelector, p.NamespaceSelector = Selector().Draw(t, "pods"), Selector().Draw(t, "namespaces")
		case "block":
			p.IPBlock = block(t, blocks)
		}
		return p
	}
}

// block draws a block, and exceptions from within it.
func block(t *rapid.T, blocks []netip.Prefix) *networkingv1.IPBlock {
	cidr := rapid.SampledFrom(blocks).Draw(t, "cidr")
	var within []string
	for _, b := range blocks {
		if b.Bits() > cidr.Bits() && cidr.Masked().Contains(b.Addr()) {
			within = append(within, b.String())
		}
	}
	out := &networkingv1.IPBlock{CIDR: cidr.String()}
	if len(within) > 0 {
		out.Except = rapid.SliceOfNDistinct(rapid.SampledFrom(within), 0, 2, rapid.ID).Draw(t, "except")
	}
	return out
}
