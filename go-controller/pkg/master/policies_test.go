package master

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// putPolicy makes the policy ns/NAME.
func (h *harness) putPolicy(name, spec string) {
	p := &kube.NetworkPolicy{Namespace: "ns", Name: name, UID: h.nextUID()}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		h.t.Fatalf("%s: %v", spec, err)
	}
	h.policies.Put(p)
}

// rules are the matches of ns/NAME in the database, without the names of groups and sets.
func (h *harness) rules(name string) string {
	var out []string
	for _, r := range h.db.rows[policyOwner("ns/"+name)].Rows {
		_, match, _ := strings.Cut(r.Model.(*nbdb.ACL).Match, " && ")
		out = append(out, match)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// portGroups counts the port groups that a pod is in.
func (h *harness) portGroups(pod string) int {
	n := 0
	for _, m := range h.db.rows[podOwner("ns/"+pod)].Members {
		if m.Parent.Table == nbdb.PortGroupTable {
			n++
		}
	}
	return n
}

// A name of a port means what it means on the pods that there are. A pod on which it is a known number changes no rule.
func TestNamedPortsFollowPods(t *testing.T) {
	h := newTest(t)
	h.addNode("n1")
	h.putPolicy("p", `{podSelector: {}, ingress: [{ports: [{port: http}]}]}`)
	h.start()
	h.settle()
	add := func(name string, port uint16) {
		h.addPod(name, "n1")
		h.changePod(name, func(p *kube.Pod) { p.Ports = []kube.ContainerPort{{Name: "http", Protocol: "TCP", Port: port}} })
		h.settle()
	}
	h.want("a name that no pod has", h.rules("p"), "")
	add("a", 80)
	h.want("one number", h.rules("p"), "tcp.dst == 80")
	if n := h.portGroups("a"); n != 3 { // The policy's, that of the number, and the one that isolates.
		t.Errorf("the pod is in %d groups, want 3", n)
	}
	before := h.store.Generation(policyOwner("ns/p"))
	add("b", 80)
	if h.store.Generation(policyOwner("ns/p")) != before {
		t.Error("another pod with a known number changed the policy's rows")
	}
	add("c", 8080)
	h.want("two numbers", h.rules("p"), "tcp.dst == 80; tcp.dst == 8080")
	// A pod that goes and comes again changes no rule.
	before = h.store.Generation(policyOwner("ns/p"))
	h.deletePod("c")
	h.settle()
	add("d", 8080)
	if h.store.Generation(policyOwner("ns/p")) != before {
		t.Error("the only pod with a number went and came again, and changed the policy's rows")
	}
	// What no pod has any more goes with the next new number.
	h.deletePod("d")
	add("e", 81)
	h.want("after another number", h.rules("p"), "tcp.dst == 80; tcp.dst == 81")
	h.wantEvents()
}

// Who makes no sense is told, once, and is denied.
func TestPolicyThatMakesNoSense(t *testing.T) {
	h := newTest(t)
	h.addNode("n1")
	h.addPod("a", "n1")
	h.start()
	h.putPolicy("p", `{podSelector: {}, ingress: [{ports: [{port: 90, endPort: 80}]}]}`)
	h.settle()
	h.wantEvents("InvalidNetworkPolicy ns/p")
	h.want("rules", h.rules("p"), "")
	if n := h.portGroups("a"); n != 2 {
		t.Errorf("the pod is in %d groups, want 2: it is isolated all the same", n)
	}
	h.addPod("b", "n1")
	h.settle()
	h.wantEvents()
	h.namespaces.Put(&kube.Namespace{Name: "ns", UID: "ns", ACLLogging: "loud"})
	h.settle()
	h.wantEvents("InvalidACLLogging ns")
}

// The annotation of a namespace is followed by the rules of its policies, and by those that deny.
func TestLoggingFollowsTheNamespace(t *testing.T) {
	h := newTest(t)
	h.start()
	h.putPolicy("p", `{podSelector: {}, ingress: [{}]}`)
	severities := func() string {
		var out []string
		for _, owner := range []string{names.OwnerNetworkPolicy, names.OwnerIsolation} {
			for o, d := range h.db.rows {
				for _, r := range d.Rows {
					if acl, ok := r.Model.(*nbdb.ACL); ok && o.Kind == owner && acl.Log {
						out = append(out, owner+" "+*acl.Severity)
					}
				}
			}
		}
		return strings.Join(out, ", ")
	}
	for _, c := range []struct{ annotation, want string }{
		{"", ""}, {`{"allow":"info","deny":"alert"}`, "NetworkPolicy info, Isolation alert"}, {`{"deny":"debug"}`, "Isolation debug"}, {"", ""},
	} {
		h.namespaces.Put(&kube.Namespace{Name: "ns", ACLLogging: c.annotation})
		h.settle()
		h.want("with "+c.annotation, severities(), c.want)
	}
}

// Pods of the host's network and finished ones are nobody's peers, and are not isolated.
func TestPodsThatPoliciesDoNotSee(t *testing.T) {
	h := newTest(t)
	h.addNode("n1")
	h.addPod("host", "n1")
	h.changePod("host", func(p *kube.Pod) { p.HostNetwork = true })
	h.addPod("a", "n1")
	h.putPolicy("p", `{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`)
	h.start()
	h.settle()
	if _, ok := h.db.rows[podOwner("ns/host")]; ok {
		t.Error("a pod of the host's network has rows")
	}
	if n := len(h.db.rows[podOwner("ns/a")].Members); n != 4 { // Switch, policy's group, isolation, address.
		t.Errorf("the pod has %d memberships, want 4", n)
	}
	h.changePod("a", func(p *kube.Pod) { p.Finished = true })
	h.settle()
	if _, ok := h.db.rows[podOwner("ns/a")]; ok {
		t.Error("a finished pod has rows")
	}
}

// A namespace that is not known, or not any more, has no absent labels: its pods are not let in as somebody else's.
func TestNamespaceThatIsNotKnown(t *testing.T) {
	h := newTest(t)
	h.addNode("n1")
	h.addPod("a", "n1")
	h.putPolicy("p", `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: name, operator: NotIn, values: [evil]}]}}]}]}`)
	h.start()
	h.settle()
	peer := func() bool {
		return slices.ContainsFunc(h.db.rows[podOwner("ns/a")].Members, func(m nbstate.Member) bool { return m.Parent.Table == nbdb.AddressSetTable })
	}
	for _, c := range []struct {
		what   string
		change func()
		want   bool
	}{
		{"not known", func() {}, false},
		{"known, without labels", func() { h.namespaces.Put(&kube.Namespace{Name: "ns"}) }, true},
		{"evil", func() { h.namespaces.Put(&kube.Namespace{Name: "ns", Labels: map[string]string{"name": "evil"}}) }, false},
		{"deleted before its pods", func() { h.namespaces.Remove("ns") }, false},
	} {
		c.change()
		h.settle()
		if got := peer(); got != c.want {
			t.Errorf("%s: the pod is a peer: %v, want %v", c.what, got, c.want)
		}
	}
}

// A new master never wants a live pod's port without its memberships: should somebody delete the row before the pod's turn, it would come back open.
func TestPortsAreAdoptedWithMemberships(t *testing.T) {
	h := newTest(t)
	h.addNode("n1")
	h.addPod("a", "n1")
	h.putPolicy("p", `{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`)
	h.start()
	h.settle()
	h.start()
	h.store.Read(func(v nbstate.View) {
		o, _ := v.Owner(podOwner("ns/a"))
		if n := len(o.Desired.Members); n != 4 { // Switch, policy's group, isolation, address.
			t.Errorf("before its turn the pod has %d memberships, want 4", n)
		}
	})
	before := h.store.Generation(podOwner("ns/a"))
	h.settle()
	if h.store.Generation(podOwner("ns/a")) != before {
		t.Error("the pod's turn changed its rows")
	}
}

// Whose rows the database refuses is told about it: nobody reads log lines to learn that his pods are open.
func TestRefusedRowsOfPoliciesAreTold(t *testing.T) {
	h := newTest(t)
	h.start()
	h.namespaces.Put(&kube.Namespace{Name: "ns", UID: "ns"})
	for _, c := range []struct {
		owner nbstate.Owner
		want  string
	}{
		{isolationOwner("ns"), "NorthboundWriteFailed ns"},
		{nbstate.Owner{Kind: names.OwnerPolicyGroup, Name: "ns: "}, "NorthboundWriteFailed ns/p"},
		{nbstate.Owner{Kind: names.OwnerPolicyPeers, Name: "{}: "}, "NorthboundWriteFailed ns/p"},
		{policyOwner("ns/p"), "NorthboundWriteFailed ns/p"},
	} {
		h.db.refuse = map[nbstate.Owner]error{c.owner: errors.New("no")}
		h.putPolicy("p", `{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}`)
		h.settle()
		h.wantEvents(c.want)
		h.db.refuse = nil
		h.policies.Remove("ns/p")
		h.settle()
		h.events = nil
	}
}

// Two hosts may have the same address, that of a container bridge, say: each reaches its own pods with it.
func TestHostsWithTheSameAddressReachTheirPods(t *testing.T) {
	h := newTest(t)
	h.start()
	for _, node := range []string{"n1", "n2"} {
		h.addNode(node)
		h.annotateNode(node, map[string]string{names.HostCIDRsAnnotation: `["172.17.0.1/16"]`})
	}
	h.settle()
	for _, node := range []string{"n1", "n2"} {
		match := h.db.rows[nodePolicyOwner(node)].Rows[0].Model.(*nbdb.ACL).Match
		if !strings.Contains(match, "172.17.0.1") {
			t.Errorf("%s: 172.17.0.1 is not in %s", node, match)
		}
	}
}

// Where a policy concerns more pods than one transaction takes, nobody is isolated before the peers' addresses are in the database.
func TestIsolationWaitsForManyPeers(t *testing.T) {
	h := newTest(t)
	h.addNode("n1")
	for _, name := range []string{"a", "b", "c", "d"} {
		h.addPod(name, "n1")
	}
	h.start()
	h.engine.policy.most = 3
	h.settle()
	h.putPolicy("p", `{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`)
	h.allocate()
	isolated := func() bool {
		members := false
		h.store.Read(func(v nbstate.View) {
			o, _ := v.Owner(podOwner("ns/a"))
			members = slices.ContainsFunc(o.Desired.Members, func(m nbstate.Member) bool { return m.Parent.Table == nbdb.PortGroupTable })
		})
		return members
	}
	if isolated() {
		t.Error("the pod is isolated before anything was written")
	}
	h.commit()
	h.allocate()
	if !isolated() {
		t.Error("the pod is not isolated although the addresses are written")
	}
	h.settle()
	if h.portGroups("a") != 2 || len(h.engine.policy.parked) != 0 {
		t.Errorf("the pod is in %d groups, want 2; %d steps wait", h.portGroups("a"), len(h.engine.policy.parked))
	}
}
