package master

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// setID edits the id in a node's annotation.
func (h *harness) setID(node, id string) {
	h.annotateNode(node, map[string]string{names.NodeIDAnnotation: id})
}

// ids are what the annotations say, by node.
func (h *harness) ids() map[string]string {
	out := map[string]string{}
	for _, n := range h.nodes.All() {
		out[n.Name] = n.Annotations[names.NodeIDAnnotation]
	}
	return out
}

// join puts a gateway router's port on the join switch into the database, where a former master had written it.
func (d *fakeDatabase) join(node, address string) {
	rows := d.rows[nodeOwner(node)]
	name := names.RouterToJoinPort(names.GatewayRouter(node))
	rows.Rows = append(rows.Rows, nbstate.Row{ID: name, Model: &nbdb.LogicalRouterPort{Name: name, Networks: []string{address}}})
	d.rows[nodeOwner(node)] = rows
}

func TestNodeIDsOverARestart(t *testing.T) {
	for name, c := range map[string]struct {
		// change what three connected nodes, ids a 2, b 3, c 4, have while no master looks.
		change func(*harness)
		want   map[string]string
	}{
		"unchanged": {func(*harness) {}, map[string]string{"a": "2", "b": "3", "c": "4"}},
		"a new id is not one of a younger node": {
			func(h *harness) { h.setID("a", ""); h.setID("b", "2") },
			map[string]string{"a": "3", "b": "2", "c": "4"},
		},
		"nor that of a node without rows": {
			func(h *harness) { h.setID("a", ""); h.setID("b", ""); h.addNode("d"); h.setID("d", "2") },
			map[string]string{"a": "3", "b": "5", "c": "4", "d": "2"},
		},
		"nor that of a node that cannot be connected": {
			func(h *harness) { h.setID("a", ""); h.addNode("d", "10.64.0.0/23"); h.setID("d", "2") },
			map[string]string{"a": "5", "b": "3", "c": "4", "d": "2"},
		},
		"a former node gets none": {
			func(h *harness) { h.nodes.Remove("a"); h.addNode("d"); h.setID("d", "2"); h.addNode("e") },
			map[string]string{"b": "3", "c": "4", "d": "2", "e": "5"},
		},
		"two with one: the older keeps it": {
			func(h *harness) { h.setID("b", "4"); h.setID("c", "4") },
			map[string]string{"a": "2", "b": "4", "c": "3"},
		},
		"unusable ones are replaced": {
			func(h *harness) { h.setID("a", "1"); h.setID("b", "65001"); h.setID("c", "x") },
			map[string]string{"a": "2", "b": "3", "c": "4"},
		},
		"what the gateway router has comes before annotations": {
			func(h *harness) { h.db.join("c", "100.64.0.2/16"); h.setID("c", ""); h.db.join("b", "fd98::9/64") },
			map[string]string{"a": "3", "b": "9", "c": "2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTest(t)
			for _, node := range []string{"a", "b", "c"} {
				h.addNode(node)
			}
			h.start()
			h.settle()
			c.change(h)
			h.start()
			h.settle()
			if diff := cmp.Diff(c.want, h.ids()); diff != "" {
				t.Errorf("ids (-want +got):\n%s", diff)
			}
		})
	}
}

// An address on the join switch is still in the database as long as the rows of its former node are.
func TestNodeIDOfAFormerNode(t *testing.T) {
	h := newTest(t)
	h.addNode("a")
	h.start()
	h.settle()
	h.db.join("a", "100.64.0.2/16")
	h.nodes.Remove("a")
	h.addNode("b")
	h.setID("b", "2")
	h.start()
	h.allocate()
	h.annotate()
	h.want("b's id while a's rows exist", h.ids()["b"], "3")
	h.settle()
	h.addNode("c")
	h.settle()
	h.want("c's id after a's rows are gone", h.ids()["c"], "2")
}

func TestFormerNodeIsBackBeforeItsRowsAreGone(t *testing.T) {
	h := newTest(t)
	h.addNode("a")
	h.start()
	h.settle()
	h.nodes.Remove("a")
	h.start()
	h.addNode("b")
	h.addNode("a")
	h.settle()
	if ids := h.ids(); ids["a"] == "" || ids["a"] == "0" || ids["a"] == ids["b"] {
		t.Errorf("ids %v, want one for each", ids)
	}
	if subnet := h.subnetsOf("a"); subnet != "10.128.0.0/23" {
		t.Errorf("a has %s, want the subnet that it had", subnet)
	}
}

func TestIDOfABlockedNodeIsFreeWhenItGoes(t *testing.T) {
	h := newTest(t)
	h.start()
	h.addNode("bad", "10.64.0.0/23")
	h.setID("bad", "2")
	h.addNode("a")
	h.settle()
	h.want("a", h.ids()["a"], "3")
	h.nodes.Remove("bad")
	h.addNode("b")
	h.settle()
	h.want("b", h.ids()["b"], "2")
	if len(h.gone) != 1 || h.gone[0] != "bad" {
		t.Errorf("chassis to delete: %v, want bad's: its agent may have been there", h.gone)
	}
}
