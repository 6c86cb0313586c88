package master

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy/oracle"
)

// watchedStore tells after each change what is wanted as a whole: what the reconciler might write at that moment.
type watchedStore struct {
	*nbstate.Store
	wanted  map[nbstate.Owner]nbstate.Desired
	changed func()
}

func (w *watchedStore) Set(o nbstate.Owner, d nbstate.Desired) error {
	err := w.Store.Set(o, d)
	w.wanted[o] = d
	w.changed()
	return err
}

func (w *watchedStore) Delete(o nbstate.Owner) {
	w.Store.Delete(o)
	delete(w.wanted, o)
	w.changed()
}

// verdicts reads from the wanted rows which pods may send to which, and which may receive from which: "ns/a → ns/b Egress", "… Ingress". It understands rules
// about selected pods only.
func (w *watchedStore) verdicts(h *harness) map[string]bool {
	members := map[nbstate.Key]map[string]map[string]bool{} // row, column, value
	acls := map[string]*nbdb.ACL{}
	ports := map[string]netip.Addr{} // by pod
	rows := map[nbstate.Key]bool{}
	for o, d := range w.wanted {
		for _, r := range d.Rows {
			table, _ := w.TableOf(r.Model)
			rows[nbstate.Key{Table: table, ID: r.ID}] = true
			switch m := r.Model.(type) {
			case *nbdb.ACL:
				acls[r.ID] = m
			case *nbdb.LogicalSwitchPort:
				if o.Kind == names.OwnerPod {
					ports[o.Name] = netip.MustParseAddr(strings.Fields(m.Addresses[0])[1])
				}
			}
		}
		for _, m := range d.Members {
			if members[m.Parent] == nil {
				members[m.Parent] = map[string]map[string]bool{}
			}
			if members[m.Parent][m.Column] == nil {
				members[m.Parent][m.Column] = map[string]bool{}
			}
			members[m.Parent][m.Column][m.Value] = true
		}
	}
	for parent, columns := range members {
		if (parent.Table == nbdb.PortGroupTable || parent.Table == nbdb.AddressSetTable) && !rows[parent] {
			h.t.Errorf("%s has members %v but is not wanted: their owners would wait", parent, columns)
		}
	}
	out := map[string]bool{}
	for from, source := range ports {
		for to, destination := range ports {
			if from != to {
				out[from+" → "+to+" Egress"] = passes(members, acls, from, destination, "inport")
				out[from+" → "+to+" Ingress"] = passes(members, acls, to, source, "outport")
			}
		}
	}
	return out
}

var (
	setName     = regexp.MustCompile(`\$(\w+)`)
	portNumbers = regexp.MustCompile(`tcp\.dst == (\d+|{[^}]*})`)
)

// passes applies the ACLs of the groups that a pod is in to TCP's port 80.
func passes(members map[nbstate.Key]map[string]map[string]bool, acls map[string]*nbdb.ACL, pod string, other netip.Addr, end string) bool {
	denied := false
	for group, columns := range members {
		if group.Table != nbdb.PortGroupTable || !columns["ports"][strings.ReplaceAll(pod, "/", "_")] {
			continue
		}
		for id := range columns["acls"] {
			acl := acls[id]
			if acl == nil || !strings.HasPrefix(acl.Match, end+" == @"+group.ID) {
				continue
			}
			if acl.Action == nbdb.ACLActionDrop {
				denied = true
				continue
			}
			if ports := portNumbers.FindStringSubmatch(acl.Match); ports != nil && !strings.Contains(ports[1], "80") {
				continue
			}
			sets := setName.FindAllStringSubmatch(acl.Match, -1)
			if len(sets) == 0 || slices.ContainsFunc(sets, func(set []string) bool {
				return members[nbstate.Key{Table: nbdb.AddressSetTable, ID: set[1]}]["addresses"][other.String()]
			}) {
				return true
			}
		}
	}
	return !denied
}

// policyWorld is a cluster in which one thing changes at a time.
type policyWorld struct {
	*harness
	store    *watchedStore
	before   map[string]bool
	between  map[string][]bool // verdicts while a change is carried out
	judgment *oracle.Cluster
	// newNumbers: the change may bring in the first pod on which a named port of a rule is some number.
	newNumbers bool
	// most answers are due before policies wait for them.
	most int
}

func newPolicyWorld(t fatal, most int) *policyWorld {
	w := &policyWorld{
		most:     most,
		harness:  newHarness(t, "10.128.0.0/14/23"),
		judgment: &oracle.Cluster{Namespaces: map[string]*corev1.Namespace{}, Pods: map[string]*corev1.Pod{}, Policies: map[string]*networkingv1.NetworkPolicy{}},
	}
	w.addNode("n1")
	for _, name := range []string{"ns1", "ns2"} {
		w.putNamespace(name, nil)
	}
	w.restart()
	return w
}

func (w *policyWorld) restart() {
	w.wrap = func(s *nbstate.Store) desiredState {
		w.store = &watchedStore{Store: s, wanted: map[nbstate.Owner]nbstate.Desired{}, changed: func() {}}
		return w.store
	}
	w.start()
	w.engine.policy.most = w.most
	w.settle()
	w.before = w.store.verdicts(w.harness)
}

// change lets one change take effect, and holds what happens on the way against how it was before and how it is then.
func (w *policyWorld) change(t fatal, what string, change func()) {
	w.between = map[string][]bool{}
	w.store.changed = func() {
		for flow, passes := range w.store.verdicts(w.harness) {
			w.between[flow] = append(w.between[flow], passes)
		}
	}
	change()
	w.settle()
	w.store.changed = func() {}
	after := w.store.verdicts(w.harness)
	for flow, passes := range after {
		was, existed := w.before[flow]
		if existed && was != passes {
			continue // It changes when it changes.
		}
		if !existed && passes {
			continue // The peers of new pods may come a moment after their ports.
		}
		if passes && w.newNumbers {
			continue // The rule for a number of a named port comes a moment after the first pod that has it.
		}
		if slices.Contains(w.between[flow], !passes) {
			t.Errorf("%s: %s is %v in the end (and was %v before, if it was there: %v), but not in between: %v", what, flow, passes, was, existed, w.between[flow])
		}
	}
	w.before = after
	w.compare(t, what)
}

// compare holds what is wanted against what the policies say.
func (w *policyWorld) compare(t fatal, what string) {
	for flow := range w.before {
		flow, ok := strings.CutSuffix(flow, " Egress")
		if !ok {
			continue
		}
		from, to, _ := strings.Cut(flow, " → ")
		passes := w.before[flow+" Egress"] && w.before[flow+" Ingress"]
		v := w.judgment.Judge(oracle.Flow{From: oracle.End{Pod: from}, To: oracle.End{Pod: to}, Protocol: corev1.ProtocolTCP, Port: 80})
		if v.Allowed != passes {
			t.Errorf("after %s: %s is %v, but: %s", what, flow, passes, v.Why)
		}
	}
}

// putPod makes or changes a pod. What http means on it goes with its name: 80 on x, 81 on y, nothing on z.
func (w *policyWorld) putPod(namespace, name string, labels map[string]string) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
	if number := map[string]int32{"x": 80, "y": 81}[name]; number != 0 {
		p.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: number, Protocol: corev1.ProtocolTCP}}}}
	}
	p.Spec.NodeName = "n1"
	had, exists := w.pods.Get(namespace + "/" + name)
	w.judgment.Pods[p.Namespace+"/"+p.Name] = p
	k := kube.NewPod(p)
	if exists {
		k.UID, k.Created, k.Network = had.UID, had.Created, had.Network
	} else {
		k.UID, k.Created = w.nextUID(), w.clock
	}
	w.pods.Put(k)
}

func (w *policyWorld) removePod(key string) {
	delete(w.judgment.Pods, key)
	w.pods.Remove(key)
}

func (w *policyWorld) putNamespace(name string, labels map[string]string) {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	w.judgment.Namespaces[name] = n
	w.namespaces.Put(kube.NewNamespace(n))
}

func (w *policyWorld) putPolicy(namespace, name string, spec networkingv1.NetworkPolicySpec) {
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec}
	w.judgment.Policies[namespace+"/"+name] = p
	w.policies.Put(kube.NewNetworkPolicy(p))
}

func (w *policyWorld) removePolicy(key string) {
	delete(w.judgment.Policies, key)
	w.policies.Remove(key)
}

func drawLabels(t *rapid.T) map[string]string {
	return rapid.MapOf(rapid.SampledFrom([]string{"app", "tier"}), rapid.SampledFrom([]string{"a", "b"})).Draw(t, "labels")
}

func drawSelector(t *rapid.T) *metav1.LabelSelector {
	s := &metav1.LabelSelector{MatchLabels: rapid.MapOfN(rapid.SampledFrom([]string{"app", "tier"}), rapid.SampledFrom([]string{"a", "b"}), 0, 1).Draw(t, "matchLabels")}
	if rapid.Bool().Draw(t, "expression") {
		s.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "tier", Operator: rapid.SampledFrom([]metav1.LabelSelectorOperator{metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist}).Draw(t, "operator")}}
	}
	return s
}

func drawPeers(t *rapid.T) []networkingv1.NetworkPolicyPeer {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) networkingv1.NetworkPolicyPeer {
		var p networkingv1.NetworkPolicyPeer
		which := rapid.IntRange(1, 3).Draw(t, "peer")
		if which&1 != 0 {
			p.PodSelector = drawSelector(t)
		}
		if which&2 != 0 {
			p.NamespaceSelector = drawSelector(t)
		}
		return p
	}), 0, 2).Draw(t, "peers")
}

func drawPorts(t *rapid.T) []networkingv1.NetworkPolicyPort {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) networkingv1.NetworkPolicyPort {
		port := rapid.SampledFrom([]intstr.IntOrString{intstr.FromInt32(80), intstr.FromInt32(81), intstr.FromString("http")}).Draw(t, "port")
		return networkingv1.NetworkPolicyPort{Port: &port}
	}), 0, 2).Draw(t, "ports")
}

func drawSpec(t *rapid.T) networkingv1.NetworkPolicySpec {
	spec := networkingv1.NetworkPolicySpec{PodSelector: *drawSelector(t)}
	for range rapid.IntRange(0, 2).Draw(t, "ingress rules") {
		spec.Ingress = append(spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: drawPeers(t), Ports: drawPorts(t)})
	}
	for range rapid.IntRange(0, 2).Draw(t, "egress rules") {
		spec.Egress = append(spec.Egress, networkingv1.NetworkPolicyEgressRule{To: drawPeers(t), Ports: drawPorts(t)})
	}
	spec.PolicyTypes = rapid.SampledFrom([][]networkingv1.PolicyType{nil, {networkingv1.PolicyTypeIngress}, {networkingv1.PolicyTypeEgress}, {networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}}).Draw(t, "types")
	return spec
}

// What was allowed in a direction and stays allowed is allowed at every moment in between, and the same for what is denied; a pod that is not to be reached is not
// reached at any moment from its start. At rest it is as the policies say, and a restart changes nothing.
func TestPoliciesHaveNoWindow(t *testing.T) {
	namespaces := []string{"ns1", "ns2"}
	rapid.Check(t, func(t *rapid.T) {
		w := newPolicyWorld(t, rapid.SampledFrom([]int{0, 2, mostDue}).Draw(t, "most"))
		namespace := func(t *rapid.T) string { return rapid.SampledFrom(namespaces).Draw(t, "namespace") }
		name := func(t *rapid.T) string { return rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "name") }
		existing := func(t *rapid.T, keys []string) string {
			if len(keys) == 0 {
				t.Skip("none")
			}
			slices.Sort(keys)
			return rapid.SampledFrom(keys).Draw(t, "key")
		}
		t.Repeat(map[string]func(*rapid.T){
			"put pod": func(t *rapid.T) {
				ns, n, l := namespace(t), name(t), drawLabels(t)
				w.newNumbers = w.usesNames()
				w.change(t, fmt.Sprint("pod ", ns, "/", n, " ", l), func() { w.putPod(ns, n, l) })
				w.newNumbers = false
			},
			"remove pod": func(t *rapid.T) {
				key := existing(t, slices.Collect(maps.Keys(w.judgment.Pods)))
				w.change(t, "no pod "+key, func() { w.removePod(key) })
			},
			"label namespace": func(t *rapid.T) {
				ns, l := namespace(t), drawLabels(t)
				w.newNumbers = w.usesNames()
				w.change(t, fmt.Sprint("namespace ", ns, " ", l), func() { w.putNamespace(ns, l) })
				w.newNumbers = false
			},
			"put policy": func(t *rapid.T) {
				ns, n, spec := namespace(t), name(t), drawSpec(t)
				w.change(t, fmt.Sprintf("policy %s/%s %+v", ns, n, spec), func() { w.putPolicy(ns, n, spec) })
			},
			"put policy twice": func(t *rapid.T) {
				// The first version is overtaken on its way.
				ns, n, first, spec := namespace(t), name(t), drawSpec(t), drawSpec(t)
				steps := rapid.IntRange(0, 3).Draw(t, "steps")
				w.putPolicy(ns, n, first)
				for range min(steps, w.engine.worker.Len()) {
					w.engine.worker.RunOne(context.Background())
				}
				w.putPolicy(ns, n, spec)
				w.settle()
				w.before = w.store.verdicts(w.harness)
				w.compare(t, "a policy that changes twice")
			},
			"remove policy": func(t *rapid.T) {
				key := existing(t, slices.Collect(maps.Keys(w.judgment.Policies)))
				w.change(t, "no policy "+key, func() { w.removePolicy(key) })
			},
		})
		before := maps.Clone(w.store.wanted)
		w.restart()
		w.compare(t, "a restart")
		for owner, d := range before {
			got := w.store.wanted[owner]
			if w.usesNames() && len(got.Rows) <= len(d.Rows) && len(got.Members) <= len(d.Members) {
				continue // Rules for numbers that no pod has any more go with a restart, and what they need.
			}
			if len(got.Rows) != len(d.Rows) || len(got.Members) != len(d.Members) {
				t.Errorf("after a restart %s wants %+v, before %+v", owner, got, d)
			}
		}
		for key := range maps.Clone(w.judgment.Policies) {
			w.removePolicy(key)
		}
		w.settle()
		w.nothingLeft(t)
	})
}

// nothingLeft checks that the last policy takes all with it.
func (w *policyWorld) nothingLeft(t fatal) {
	for owner, d := range w.store.wanted {
		switch owner.Kind {
		case names.OwnerNetworkPolicy, names.OwnerPolicyGroup, names.OwnerPolicyPeers, names.OwnerIsolation:
			t.Errorf("without policies %s wants %+v", owner, d)
		case names.OwnerPod:
			if len(d.Members) != 1 {
				t.Errorf("without policies %s is a member of %+v", owner, d.Members)
			}
		}
	}
	if p := w.engine.policy; len(p.states)+len(p.collectives)+len(p.followers)+len(p.steps)+len(p.parked) > 0 {
		t.Errorf("without policies there are %d states, %d collectives, %d followers, %d steps", len(p.states), len(p.collectives), len(p.followers), len(p.steps))
	}
}
