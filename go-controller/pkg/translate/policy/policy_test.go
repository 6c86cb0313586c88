package policy

import (
	"cmp"
	"net/netip"
	"path/filepath"
	"slices"
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
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/golden"
)

var update = golden.Update()

// world is what a case is about: a policy, and the pods and namespaces that there are.
type world struct {
	policy     networkingv1.NetworkPolicy
	pods       corev1.PodList
	namespaces corev1.NamespaceList
	families   Families
}

func load(t *testing.T, file string) *world {
	t.Helper()
	w := &world{families: Families{IPv4: true, IPv6: true}}
	golden.Load(t, "testdata/default/world.yaml", &w.pods, &w.namespaces)
	golden.Load(t, file, &w.policy)
	if strings.HasSuffix(file, "-ipv4.yaml") {
		w.families.IPv6 = false
	}
	return w
}

// rows is all that the policy causes, pods' memberships with it.
func (w *world) rows(t *testing.T) (nbstate.Desired, *Policy) {
	t.Helper()
	index := selector.NewIndex(nil)
	logging := Logging{}
	for i := range w.namespaces.Items {
		n := kube.NewNamespace(&w.namespaces.Items[i])
		index.SetNamespace(n.Name, n.Labels)
		if n.Name == w.policy.Namespace {
			var err error
			if logging, err = ParseLogging(n.ACLLogging); err != nil {
				t.Fatal(err)
			}
		}
	}
	addresses := map[string][]netip.Addr{}
	for i := range w.pods.Items {
		p := kube.NewPod(&w.pods.Items[i])
		index.SetPod(IndexedPod(p))
		for _, ip := range w.pods.Items[i].Status.PodIPs {
			addresses[p.Key()] = append(addresses[p.Key()], netip.MustParseAddr(ip.IP))
		}
	}
	p := Parse(kube.NewNetworkPolicy(&w.policy))
	for _, f := range p.Follows() {
		index.Follow(index.Add(f.Pods), f.Port)
	}
	result := Rows(p, Options{Families: w.families, Logging: logging, Numbers: func(s selector.Selector, name selector.PortName) []uint16 {
		set, ok := index.Get(s)
		if !ok {
			t.Fatalf("nobody follows %s on %s", name, s)
		}
		return set.Numbers(name)
	}})
	all := result.Desired
	add := func(d nbstate.Desired) {
		all.Rows, all.Members = append(all.Rows, d.Rows...), append(all.Members, d.Members...)
	}
	add(IsolationRows(p.Namespace, p.Ingress, p.Egress, logging))
	memberships := map[string]*Membership{}
	of := func(pod string) *Membership {
		if memberships[pod] == nil {
			memberships[pod] = &Membership{}
		}
		return memberships[pod]
	}
	for i, g := range result.Groups {
		add(GroupRows(g))
		for pod := range index.Add(g).Members {
			m := of(pod)
			m.Groups = append(m.Groups, GroupName(g))
			if i == 0 {
				m.Ingress, m.Egress = p.Ingress, p.Egress
			}
		}
	}
	for _, s := range result.Peers {
		add(PeerRows(s, w.families))
		for pod := range index.Add(s).Members {
			of(pod).Peers = append(of(pod).Peers, PeerNames(s, w.families))
		}
	}
	for pod, m := range memberships {
		namespace, _, _ := strings.Cut(pod, "/")
		add(nbstate.Desired{Members: m.Members(namespace, strings.ReplaceAll(pod, "/", "_"), addresses[pod])})
	}
	return all, p
}

// The input is a NetworkPolicy; pods and namespaces are those of testdata/default/world.yaml.
func TestGolden(t *testing.T) {
	for _, file := range golden.Cases(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			w := load(t, file)
			got, p := w.rows(t)
			text := golden.Format(got)
			if len(p.Problems) > 0 {
				text += "\n! " + strings.Join(p.Problems, "\n! ") + "\n"
			}
			golden.CheckText(t, file, text, *update)
			// Another order of peers and ports is no change.
			for i := range w.policy.Spec.Ingress {
				slices.Reverse(w.policy.Spec.Ingress[i].From)
				slices.Reverse(w.policy.Spec.Ingress[i].Ports)
			}
			for i := range w.policy.Spec.Egress {
				slices.Reverse(w.policy.Spec.Egress[i].To)
				slices.Reverse(w.policy.Spec.Egress[i].Ports)
			}
			again, _ := w.rows(t)
			if a, b := golden.Format(got), golden.Format(again); a != b && len(p.Problems) == 0 {
				t.Errorf("another order makes a difference:\n%s\n%s", a, b)
			}
			// The store takes rows once, members as often as one likes.
			slices.SortFunc(got.Rows, func(a, b nbstate.Row) int { return cmp.Compare(a.ID, b.ID) })
			got.Rows = slices.CompactFunc(got.Rows, func(a, b nbstate.Row) bool { return a.ID == b.ID })
			if err := nbstate.NewStore().Set(nbstate.Owner{Kind: "NetworkPolicy", Name: "test"}, got); err != nil {
				t.Errorf("the store refuses it: %v", err)
			}
		})
	}
}

func TestRowsInCommon(t *testing.T) {
	f := Families{IPv4: true, IPv6: true}
	all := ClusterRows(f, 20)
	node := NodeRows("n1", []netip.Addr{
		netip.MustParseAddr("172.18.0.11"), netip.MustParseAddr("fd00:172:18::11"), netip.MustParseAddr("10.128.0.2"), netip.MustParseAddr("fd01::2"),
	}, f)
	all.Rows, all.Members = append(all.Rows, node.Rows...), append(all.Members, node.Members...)
	golden.CheckText(t, "testdata/in-common.yaml", golden.Format(all), *update)
	// Of a family that the cluster has not, nothing is to be seen.
	if d := NodeRows("n1", []netip.Addr{netip.MustParseAddr("fd01::2")}, Families{IPv4: true}); len(d.Rows) != 0 {
		t.Errorf("a rule without addresses: %s", golden.Format(d))
	}
}

func TestParseLogging(t *testing.T) {
	for text, want := range map[string]Logging{
		"": {}, "{}": {}, `{"allow":"info","deny":"alert"}`: {Allow: "info", Deny: "alert"}, `{"deny":"warning","more":1}`: {Deny: "warning"},
	} {
		if got, err := ParseLogging(text); err != nil || got != want {
			t.Errorf("%s is %+v (%v), want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]Logging{"x": {}, `{"allow":"loud","deny":"alert"}`: {Deny: "alert"}, `{"deny":1}`: {}} {
		if got, err := ParseLogging(text); err == nil || got != want {
			t.Errorf("%s is %+v (%v), want %+v and an error", text, got, err, want)
		}
	}
}

// A policy whose types mean nothing isolates in both directions; what its sections allow is allowed.
func TestUnknownPolicyTypes(t *testing.T) {
	p := Parse(&kube.NetworkPolicy{Namespace: "ns", Name: "p", Spec: networkingv1.NetworkPolicySpec{
		PolicyTypes: []networkingv1.PolicyType{"ingress"}, Ingress: []networkingv1.NetworkPolicyIngressRule{{}},
	}})
	if !p.Ingress || !p.Egress || len(p.Rules) != 1 || len(p.Problems) != 2 {
		t.Errorf("isolated %v %v, %d rules, problems %v; want both, one, two", p.Ingress, p.Egress, len(p.Rules), p.Problems)
	}
	p = Parse(&kube.NetworkPolicy{Namespace: "ns", Name: "p", Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{"Ingress", "Sideways"}}})
	if !p.Ingress || p.Egress || len(p.Problems) != 1 {
		t.Errorf("isolated %v %v, problems %v; want ingress, one problem", p.Ingress, p.Egress, p.Problems)
	}
}

// A peer that is every pod, beside a block, is named once.
func TestEgressByNameToEveryPodAndABlock(t *testing.T) {
	http := intstr.FromString("http")
	p := Parse(&kube.NetworkPolicy{Namespace: "ns", Name: "p", Spec: networkingv1.NetworkPolicySpec{Egress: []networkingv1.NetworkPolicyEgressRule{{
		To:    []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}, {IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8"}}},
		Ports: []networkingv1.NetworkPolicyPort{{Port: &http}},
	}}}})
	r := Rows(p, Options{Families: Families{IPv4: true}, Numbers: func(selector.Selector, selector.PortName) []uint16 { return []uint16{80} }})
	if len(r.Rows) != 1 {
		t.Fatalf("%d rules, want 1", len(r.Rows))
	}
	if match := r.Rows[0].Model.(*nbdb.ACL).Match; strings.Count(match, "$") != 1 {
		t.Errorf("the match is %s, want one set in it", match)
	}
}
