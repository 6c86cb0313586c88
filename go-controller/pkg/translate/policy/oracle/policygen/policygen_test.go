package policygen

import (
	"net/netip"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"pgregory.net/rapid"
)

// Every feature of the API is drawn, or the tests that use it prove less than they say.
func TestEverythingIsDrawn(t *testing.T) {
	seen := map[string]bool{}
	see := func(what string, yes bool) { seen[what] = seen[what] || yes }
	blocks := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.0.0.0/8")}
	for seed := range 1000 {
		p := Policy("a", "p", blocks).Example(seed)
		see("default types", p.Spec.PolicyTypes == nil)
		see("egress rules in a policy for ingress alone", len(p.Spec.Egress) > 0 && len(p.Spec.PolicyTypes) == 1 && p.Spec.PolicyTypes[0] == networkingv1.PolicyTypeIngress)
		see("selects all", len(p.Spec.PodSelector.MatchLabels)+len(p.Spec.PodSelector.MatchExpressions) == 0)
		see("expressions", len(p.Spec.PodSelector.MatchExpressions) > 0)
		for _, r := range p.Spec.Ingress {
			see("rule without peers and ports", len(r.From)+len(r.Ports) == 0)
			for _, f := range r.From {
				see("both selectors", f.PodSelector != nil && f.NamespaceSelector != nil)
				see("namespaces alone", f.PodSelector == nil && f.NamespaceSelector != nil)
				see("exception", f.IPBlock != nil && len(f.IPBlock.Except) > 0)
			}
			for _, q := range r.Ports {
				see("range", q.EndPort != nil && *q.EndPort > q.Port.IntVal)
				see("name", q.Port != nil && q.Port.StrVal != "")
				see("all ports of a protocol", q.Port == nil && q.Protocol != nil)
			}
		}
		pod := Pod("a", "p", []string{"n1", "n2"}).Example(seed)
		see("host network", pod.Spec.HostNetwork)
		see("a name in two containers", len(pod.Spec.Containers) == 2 && len(pod.Spec.Containers[0].Ports) > 0 && len(pod.Spec.Containers[1].Ports) > 0 &&
			pod.Spec.Containers[0].Ports[0].Name == pod.Spec.Containers[1].Ports[0].Name)
	}
	for what, yes := range seen {
		if !yes {
			t.Errorf("never drawn: %s", what)
		}
	}
}

// The same draws give the same objects: a failure can be repeated.
func TestRepeatable(t *testing.T) {
	g := rapid.SliceOfN(Policy("a", "p", []netip.Prefix{netip.MustParsePrefix("::/0")}), 3, 3)
	if a, b := g.Example(7), g.Example(7); len(a) != len(b) || a[0].String() != b[0].String() || a[2].String() != b[2].String() {
		t.Errorf("%v\nand\n%v", a, b)
	}
}
