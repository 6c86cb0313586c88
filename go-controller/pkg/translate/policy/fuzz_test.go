package policy

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/selector"
)

// operand is one side of a comparison as matches have them; nothing that a user writes may get into a match in any other form.
const operand = `(?:\$peer_[a-z2-7]{16}_v[46]|[0-9a-f.:]+(?:/[0-9]+)?)`

var (
	term = regexp.MustCompile(`^(?:ip|ip4|ip6|tcp|udp|sctp` +
		`|(?:in|out)port == @np_[a-z2-7]{16}` +
		`|ip[46]\.(?:src|dst) == (?:` + operand + `|\{` + operand + `(?:, ` + operand + `)+\})` +
		`|(?:tcp|udp|sctp)\.dst == (?:[0-9]+|\{[0-9]+(?:, [0-9]+)+\})` +
		`|[0-9]+ <= (?:tcp|udp|sctp)\.dst <= [0-9]+)$`)
	operators = regexp.MustCompile(` && | \|\| `)
)

// checkMatch holds a match against the grammar of OVN: terms that we know, and && and || never beside each other without parentheses.
func checkMatch(t *testing.T, match string) {
	t.Helper()
	for _, part := range operators.Split(match, -1) {
		if p := strings.Trim(part, "()"); !term.MatchString(p) {
			t.Errorf("%q is no term, in %q", p, match)
		}
	}
	used := []map[string]bool{{}}
	for i, r := range match {
		switch {
		case r == '(':
			used = append(used, map[string]bool{})
		case r == ')':
			used = used[:len(used)-1]
		case strings.HasPrefix(match[i:], " && "), strings.HasPrefix(match[i:], " || "):
			used[len(used)-1][match[i:i+4]] = true
		}
		if len(used) == 0 || len(used[len(used)-1]) > 1 {
			t.Fatalf("parentheses or operators of %q at %d", match, i)
		}
	}
	if len(used) != 1 {
		t.Errorf("parentheses of %q", match)
	}
}

// FuzzMatches: whatever a policy says, its rows are such that the store takes them, and matches have the form that OVN reads; what makes no
// sense allows nothing.
func FuzzMatches(f *testing.F) {
	f.Add("app", "web", "10.0.0.0/8", "10.1.0.0/16", int32(80), int32(90), "http", "TCP", uint8(0xff))
	f.Add("a b", "\"", "::/0", "fd00::/8", int32(0), int32(-1), "", "SCTP", uint8(0x35))
	f.Add("x", "$y || 1", "nonsense", "", int32(70000), int32(1), "a\" || 1", "ICMP", uint8(0))
	f.Fuzz(func(t *testing.T, label, value, cidr, except string, port, endPort int32, name, protocol string, form uint8) {
		has := func(bit int) bool { return form&(1<<bit) != 0 }
		s := &metav1.LabelSelector{MatchLabels: map[string]string{label: value}}
		wire := corev1.Protocol(protocol)
		number, named := intstr.FromInt32(port), intstr.FromString(name)
		ports := []networkingv1.NetworkPolicyPort{{Port: &number, Protocol: &wire}}
		if has(0) {
			ports[0].EndPort = &endPort
		}
		if has(1) {
			ports = append(ports, networkingv1.NetworkPolicyPort{Port: &named})
		}
		if has(2) {
			ports = append(ports, networkingv1.NetworkPolicyPort{Protocol: &wire})
		}
		peers := []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: cidr, Except: []string{except}}}}
		if has(3) {
			peers = append(peers, networkingv1.NetworkPolicyPeer{PodSelector: s})
		}
		if has(4) {
			peers = append(peers, networkingv1.NetworkPolicyPeer{NamespaceSelector: s, PodSelector: s})
		}
		if has(5) {
			peers = nil
		}
		p := Parse(&kube.NetworkPolicy{Namespace: "ns", Name: "p", Spec: networkingv1.NetworkPolicySpec{
			PodSelector: *s, Ingress: []networkingv1.NetworkPolicyIngressRule{{From: peers, Ports: ports}},
			Egress: []networkingv1.NetworkPolicyEgressRule{{To: peers, Ports: ports}},
		}})
		r := Rows(p, Options{Families: Families{IPv4: true, IPv6: has(6)}, Numbers: func(selector.Selector, selector.PortName) []uint16 { return []uint16{80, 8080} }})
		if !p.Ingress || !p.Egress {
			t.Error("pods are not isolated")
		}
		if err := nbstate.NewStore().Set(nbstate.Owner{Kind: "NetworkPolicy", Name: "ns/p"}, r.Desired); err != nil {
			t.Error(err)
		}
		_, cidrErr := netip.ParsePrefix(except)
		for _, row := range r.Rows {
			acl := row.Model.(*nbdb.ACL)
			checkMatch(t, acl.Match)
			if len(*acl.Name) > maxACLName {
				t.Errorf("name %q is too long", *acl.Name)
			}
			if cidrErr != nil && strings.Trim(except, " 0") == "" && peers != nil {
				t.Errorf("a rule with the exception %q allows %q", except, acl.Match)
			}
		}
		if len(p.Problems) == 0 && len(p.Rules) != 2 || len(p.Problems) > 0 && len(p.Rules) != 0 {
			t.Errorf("%d problems (%v), %d rules", len(p.Problems), p.Problems, len(p.Rules))
		}
	})
}
