package master

import (
	"errors"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

func TestNodesGetSubnetsAndKeepThem(t *testing.T) {
	h := newTest(t, "10.128.0.0/14/23", "fd01::/48/64")
	h.addNode("a")
	h.addNode("b")
	h.start()
	h.settle()
	// Which of the two is first does not matter; that they differ and stay does.
	a, b := h.subnetsOf("a"), h.subnetsOf("b")
	if a == b || !h.wired("a") || !h.wired("b") {
		t.Fatalf("a has %s, b has %s, wired %v %v", a, b, h.wired("a"), h.wired("b"))
	}
	h.want("third", func() string { h.addNode("c"); h.settle(); return h.subnetsOf("c") }(), "10.128.4.0/23 fd01:0:0:2::/64")

	h.start() // A new master, from rows and annotations.
	h.settle()
	h.want("a after restart", h.subnetsOf("a"), a)
	h.annotateNode("a", map[string]string{names.NodeSubnetsAnnotation: "", names.NodeIDAnnotation: ""})
	h.start() // The annotation is lost, the rows are there.
	h.settle()
	h.want("a after losing its annotation", h.subnetsOf("a"), a)
	h.db.rows = map[ownerKey]desiredRows{}
	h.start() // The rows are lost, the annotations are there.
	h.settle()
	h.want("b after losing its rows", h.subnetsOf("b"), b)
	h.wantEvents()
}

func TestNodeIDsAreUniqueAndKept(t *testing.T) {
	h := newTest(t)
	h.addNode("a")
	h.annotateNode("a", map[string]string{names.NodeIDAnnotation: "7"})
	h.addNode("b")
	h.annotateNode("b", map[string]string{names.NodeIDAnnotation: "7"})
	h.addNode("c")
	h.start()
	h.settle()
	ids := map[string]string{}
	for _, name := range []string{"a", "b", "c"} {
		n, _ := h.nodes.Get(name)
		id := n.Annotations[names.NodeIDAnnotation]
		if other, taken := ids[id]; taken || id == "" {
			t.Errorf("%s has id %q, as has %s", name, id, other)
		}
		ids[id] = name
	}
	if _, kept := ids["7"]; !kept {
		t.Errorf("nobody kept the id that was there: %v", ids)
	}
}

func TestSubnetIsFreeOnlyWhenTheSwitchIsGone(t *testing.T) {
	h := newTest(t, "10.128.0.0/23/24")
	h.addNode("a")
	h.addNode("b")
	h.start()
	h.settle()
	b := h.subnetsOf("b")
	h.nodes.Remove("b")
	h.addNode("c")
	h.allocate()
	h.annotate()
	h.want("c while b's switch exists", h.subnetsOf("c"), "none")
	h.wantEvents("NodeSubnetsExhausted c")
	h.settle()
	h.want("c after b's switch is gone", h.subnetsOf("c"), b)
	if !h.wired("c") || h.wired("b") {
		t.Errorf("wired: b %v c %v, want c only", h.wired("b"), h.wired("c"))
	}
	if len(h.gone) != 1 || h.gone[0] != "b" {
		t.Errorf("chassis to delete: %v, want b's", h.gone)
	}
}

func TestUnusableSubnetAnnotations(t *testing.T) {
	for name, c := range map[string]struct{ annotation, mended string }{
		"overlaps": {"10.128.0.0/23", "10.128.6.0/23"}, "outside": {"10.64.0.0/23", "10.128.6.0/23"},
		"wrong size": {"10.128.6.0/24", "10.128.6.0/23"}, "host bits": {"10.128.6.1/23", "10.128.6.0/23"},
		"unreadable": {"x", "10.128.6.0/23"}, "removed": {"10.64.0.0/23", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTest(t)
			h.addNode("a", "10.128.0.0/23")
			h.start()
			h.settle()
			h.addNode("bad", c.annotation)
			h.addPod("p", "bad")
			h.settle()
			h.wantEvents("InvalidNodeSubnets bad", "NodeHasNoPodNetwork ns/p")
			if h.wired("bad") || h.addressOf("p") != "none" {
				t.Errorf("wired %v, pod has %s: must not be connected", h.wired("bad"), h.addressOf("p"))
			}
			h.annotateNode("bad", map[string]string{"unrelated": "change"})
			h.settle()
			h.wantEvents() // Not told again.
			want := c.mended
			h.annotateNode("bad", map[string]string{names.NodeSubnetsAnnotation: map[bool]string{true: "", false: `{"default":["` + c.mended + `"]}`}[c.mended == ""]})
			h.settle()
			if want == "" {
				want = "10.128.2.0/23"
			}
			h.want("mended", h.subnetsOf("bad"), want)
			if !h.wired("bad") || h.addressOf("p") == "none" {
				t.Errorf("wired %v, pod has %s: must be served at once", h.wired("bad"), h.addressOf("p"))
			}
		})
	}
}

func TestTwoNodesWithOneSubnet(t *testing.T) {
	h := newTest(t)
	h.addNode("older", "10.128.0.0/23")
	h.addNode("younger", "10.128.0.0/23")
	h.start()
	h.settle()
	h.wantEvents("InvalidNodeSubnets younger")
	if !h.wired("older") || h.wired("younger") {
		t.Errorf("wired: older %v younger %v", h.wired("older"), h.wired("younger"))
	}

	// The one that is wired keeps it, even if it is younger.
	g := newTest(t)
	g.addNode("first", "10.128.0.0/23")
	g.start()
	g.settle()
	db := g.db
	g = newTest(t)
	g.db = db
	g.addNode("older", "10.128.0.0/23")
	g.addNode("first", "10.128.0.0/23")
	g.start()
	g.settle()
	g.wantEvents("InvalidNodeSubnets older")
	if g.wired("older") || !g.wired("first") {
		t.Errorf("wired: older %v first %v", g.wired("older"), g.wired("first"))
	}
	g.nodes.Remove("first")
	g.settle()
	g.want("older after first is gone", g.subnetsOf("older"), "10.128.0.0/23")
	if !g.wired("older") {
		t.Error("older is not wired although its subnet is free")
	}
}

func TestHandEditedSubnetsOfAConnectedNode(t *testing.T) {
	h := newTest(t)
	h.addNode("a", "10.128.0.0/23")
	h.start()
	h.settle()
	h.annotateNode("a", map[string]string{names.NodeSubnetsAnnotation: `{"default":["10.128.8.0/23"]}`})
	h.settle()
	h.want("subnet", h.subnetsOf("a"), "10.128.0.0/23")
	h.wantEvents("NodeSubnetsRestored a")
	h.annotateNode("a", map[string]string{names.NodeSubnetsAnnotation: `{"default":["10.128.8.0/23"]}`})
	h.settle()
	h.wantEvents("NodeSubnetsRestored a")
}

func TestFamilyIsAdded(t *testing.T) {
	h := newTest(t, "10.128.0.0/14/23", "fd01::/48/64")
	h.addNode("a", "10.128.4.0/23")
	h.start()
	h.settle()
	h.want("subnets", h.subnetsOf("a"), "10.128.4.0/23 fd01::/64")
	h.wantEvents()
}

func TestChassisCompletesTheRouterPort(t *testing.T) {
	h := newTest(t)
	h.addNode("a")
	h.start()
	h.settle()
	if got := gatewayChassis(h, "a"); got != nil {
		t.Fatalf("gateway chassis %v before the agent has told", got)
	}
	h.annotateNode("a", map[string]string{names.NodeChassisIDAnnotation: "id-a"})
	h.settle()
	if got := gatewayChassis(h, "a"); len(got) != 1 || got[0] != "rtos-a-id-a" {
		t.Errorf("gateway chassis %v, want rtos-a-id-a", got)
	}
}

func gatewayChassis(h *harness, node string) []string {
	for _, r := range h.db.rows[nodeOwner(node)].Rows {
		if p, ok := r.Model.(*nbdb.LogicalRouterPort); ok {
			return p.GatewayChassis
		}
	}
	return nil
}

// hostPolicy is the match of the policy that leads to a node's host.
func hostPolicy(h *harness, node string) string {
	for _, r := range h.db.rows[nodeOwner(node)].Rows {
		if p, ok := r.Model.(*nbdb.LogicalRouterPolicy); ok && p.Priority == names.OwnHostPolicyPriority {
			return p.Match
		}
	}
	return "none"
}

func TestHostAddressesOfSeveralNodes(t *testing.T) {
	h := newTest(t)
	shared := `["172.17.0.1/16","172.18.0.100/24","127.0.0.1/8","169.254.1.1/16","10.128.0.2/23","fd00::1/64"]`
	for _, name := range []string{"a", "b"} {
		h.addNode(name)
		h.annotateNode(name, map[string]string{names.HostCIDRsAnnotation: shared})
	}
	h.start()
	h.settle()
	for _, name := range []string{"a", "b"} {
		// But for loopback, link-local, internal ones and those of foreign families. The last is what the host passes on for others.
		h.want("pods of "+name+" reach at their own host", hostPolicy(h, name), `inport == "rtos-`+name+`" && ip4.dst == {172.17.0.1, 172.18.0.100, 169.254.169.7}`)
	}
	h.annotateNode("b", map[string]string{names.HostCIDRsAnnotation: `["172.18.0.2/24"]`})
	h.settle()
	h.want("afterwards", hostPolicy(h, "b"), `inport == "rtos-b" && ip4.dst == {172.18.0.2, 169.254.169.7}`)
}

func TestNodeRemovedWithPodsAndBack(t *testing.T) {
	h := newTest(t)
	h.addNode("a")
	h.addPod("p", "a")
	h.start()
	h.settle()
	address, port := h.addressOf("p"), h.portOf("p")
	h.nodes.Remove("a")
	h.settle()
	h.want("port after the node is gone", h.portOf("p"), "none")
	h.addNode("a")
	h.settle()
	h.want("address after it is back", h.addressOf("p"), address)
	h.want("port after it is back", h.portOf("p"), port)
	// Back before the database has followed.
	h.nodes.Remove("a")
	h.allocate()
	h.addNode("a")
	h.settle()
	h.want("address", h.addressOf("p"), address)
	h.want("port", h.portOf("p"), port)
	h.wantEvents()
}

func TestFormerNodesOfADeadMaster(t *testing.T) {
	h := newTest(t, "10.128.0.0/24/24")
	h.addNode("a")
	h.addPod("p", "a")
	h.start()
	h.settle()
	h.nodes.Remove("a")
	h.deletePod("p")
	h.addNode("b")
	h.start()
	h.allocate()
	h.want("b while a's switch exists", h.subnetsOf("b"), "none")
	h.settle()
	h.want("b", h.subnetsOf("b"), "10.128.0.0/24")
	h.want("a's port", h.portOf("p"), "none")
	if h.wired("a") || len(h.gone) != 1 || h.gone[0] != "a" {
		t.Errorf("a wired %v, chassis to delete %v", h.wired("a"), h.gone)
	}
}

func TestNodeWithTheNameOfAnotherRow(t *testing.T) {
	h := newTest(t)
	h.addNode(names.JoinSwitch)
	h.addNode("a")
	h.addPod("p", "a")
	for range 2 {
		h.start()
		h.allocate()
		h.annotate()
		h.commit()
		h.allocate()
		h.wantEvents("NorthboundWriteFailed join")
		if !h.wired("a") || h.portOf("p") == "none" {
			t.Errorf("a is wired %v and its pod has port %s: a node nobody can serve must not hold up others", h.wired("a"), h.portOf("p"))
		}
	}
}

// The rows of a node and those of its pods may be refused, or get into different transactions.
func TestSubnetIsFreeOnlyWhenAllOfTheNodeIsGone(t *testing.T) {
	for _, late := range []ownerKey{podOwner("ns/p"), nodeOwner("a")} {
		t.Run(late.String(), func(t *testing.T) {
			h := newTest(t, "10.128.0.0/24/24")
			h.addNode("a")
			h.addPod("p", "a")
			h.start()
			h.settle()
			h.nodes.Remove("a")
			h.deletePod("p")
			h.addNode("b")
			h.allocate()
			h.db.refuse[late] = errors.New("not now")
			h.commit()
			h.allocate()
			h.annotate()
			h.want("b while "+late.String()+" is in the database", h.subnetsOf("b"), "none")
			delete(h.db.refuse, late)
			h.engine.onResult(nbsync.Result{Owner: late, Generation: h.store.Generation(late), Deleted: true})
			h.allocate()
			h.annotate()
			h.want("b", h.subnetsOf("b"), "10.128.0.0/24")
		})
	}
}

// A machine that was renamed has two Nodes with its chassis for a while. Both get what their pods need.
func TestTwoNodesWithOneChassis(t *testing.T) {
	h := newTest(t)
	for _, name := range []string{"old", "new"} {
		h.addNode(name)
		h.annotateNode(name, map[string]string{names.NodeChassisIDAnnotation: "chassis", names.L3GatewayConfigAnnotation: goodGateway})
	}
	h.start()
	h.settle()
	for _, name := range []string{"old", "new"} {
		if h.subnetsOf(name) == "" || !h.wired(name) {
			t.Errorf("%s has subnets %q, wired %v", name, h.subnetsOf(name), h.wired(name))
		}
	}
	if len(h.events) != 1 {
		t.Errorf("events: %v, want one that tells of the conflict", h.events)
	}
}
