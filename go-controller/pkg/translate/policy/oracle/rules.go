package oracle

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// rule is what ingress and egress rules have in common.
type rule struct {
	ports []networkingv1.NetworkPolicyPort
	peers []networkingv1.NetworkPolicyPeer
}

func rules(p *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) []rule {
	var out []rule
	if direction == networkingv1.PolicyTypeIngress {
		for _, r := range p.Spec.Ingress {
			out = append(out, rule{r.Ports, r.From})
		}
		return out
	}
	for _, r := range p.Spec.Egress {
		out = append(out, rule{r.Ports, r.To})
	}
	return out
}

// allows: "traffic must match both ports and from" (or to). A list that is "empty or missing" matches everything.
func (c *Cluster) allows(p *networkingv1.NetworkPolicy, r rule, peer End, f Flow) bool {
	return c.allowsPort(r, f) && c.allowsPeer(p, r, peer)
}

func (c *Cluster) allowsPort(r rule, f Flow) bool {
	return len(r.ports) == 0 || slices.ContainsFunc(r.ports, func(port networkingv1.NetworkPolicyPort) bool { return c.matchesPort(port, f) })
}

func (c *Cluster) allowsPeer(p *networkingv1.NetworkPolicy, r rule, peer End) bool {
	return len(r.peers) == 0 || slices.ContainsFunc(r.peers, func(from networkingv1.NetworkPolicyPeer) bool {
		return c.matchesPeer(p.Namespace, from, peer)
	})
}

// matchesPort: "traffic on the specified protocol AND port". A name means the port that the destination pod calls so, a
// destination without one has no such port.
func (c *Cluster) matchesPort(port networkingv1.NetworkPolicyPort, f Flow) bool {
	protocol := corev1.ProtocolTCP // "If not specified, this field defaults to TCP."
	if port.Protocol != nil {
		protocol = *port.Protocol
	}
	if protocol != f.Protocol {
		return false
	}
	switch {
	case port.Port == nil:
		return port.EndPort == nil // "This field cannot be defined if the port field is not defined …"
	case port.Port.Type == intstr.String:
		return port.EndPort == nil && // "… or if the port field is defined as a named (string) port."
			c.hasPort(f.To, protocol, port.Port.StrVal, f.Port)
	case port.EndPort == nil:
		return int32(f.Port) == port.Port.IntVal
	}
	return port.Port.IntVal <= int32(f.Port) && int32(f.Port) <= *port.EndPort
}

// hasPort tells whether a destination is a pod that calls that port so. Where its containers disagree, the first one is meant, as
// with the named target ports of services.
func (c *Cluster) hasPort(to End, protocol corev1.Protocol, name string, number uint16) bool {
	pod := c.isolatable(to.Pod)
	if pod == nil {
		return false
	}
	for _, p := range portsOf(pod) {
		named := p.Protocol
		if named == "" {
			named = corev1.ProtocolTCP
		}
		if p.Name == name && named == protocol {
			return p.ContainerPort == int32(number)
		}
	}
	return false
}

// portsOf are those of all containers that run as long as the pod does.
func portsOf(pod *corev1.Pod) []corev1.ContainerPort {
	var out []corev1.ContainerPort
	for _, container := range pod.Spec.Containers {
		out = append(out, container.Ports...)
	}
	for _, container := range pod.Spec.InitContainers {
		if container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			out = append(out, container.Ports...)
		}
	}
	return out
}

// matchesPeer: "If this field [ipBlock] is set then neither of the other fields can be." A peer that says nothing matches nothing.
func (c *Cluster) matchesPeer(namespace string, peer networkingv1.NetworkPolicyPeer, end End) bool {
	selects := peer.PodSelector != nil || peer.NamespaceSelector != nil
	if peer.IPBlock != nil {
		return !selects && inBlock(*peer.IPBlock, end.Address)
	}
	pod := c.isolatable(end.Pod)
	if pod == nil || !selects {
		return false
	}
	if peer.NamespaceSelector == nil {
		if pod.Namespace != namespace {
			return false // "Otherwise it selects the Pods matching podSelector in the policy's own namespace."
		}
	} else if !matches(peer.NamespaceSelector, c.labelsOf(pod.Namespace)) {
		return false
	}
	return peer.PodSelector == nil || matches(peer.PodSelector, pod.Labels)
}

// inBlock: in the CIDR and in none of the exceptions. What is no CIDR matches nothing, and nothing is allowed by a block with an
// exception that is none.
func inBlock(block networkingv1.IPBlock, address netip.Addr) bool {
	in, err := netip.ParsePrefix(block.CIDR)
	if err != nil || !in.Masked().Contains(address) {
		return false
	}
	for _, text := range block.Except {
		except, err := netip.ParsePrefix(text)
		if err != nil || except.Masked().Contains(address) {
			return false
		}
	}
	return true
}

// labelsOf are a namespace's labels, with that which the API server gives to each.
func (c *Cluster) labelsOf(namespace string) map[string]string {
	out := map[string]string{corev1.LabelMetadataName: namespace}
	if ns := c.Namespaces[namespace]; ns != nil {
		for k, v := range ns.Labels {
			out[k] = v
		}
	}
	return out
}

// matches tells whether a selector selects; one that makes no sense does not.
func matches(selector *metav1.LabelSelector, set map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(set))
}
