package master

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// Whatever happens to nodes and pods, in whatever order engine, annotator and database get to work, and however often the master
// restarts: no two ports in the database ever share an address, no two switches a subnet, no two nodes an id or a place on the
// join switch; and when everything has come to rest, every pod that can be served is, with one address in annotation and port.
func TestNoAddressIsEverGivenTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{harness: newHarness(t, "10.128.0.0/27/29", "fd01::/48/64")}
		w.start()
		t.Repeat(map[string]func(*rapid.T){
			"add node":      func(t *rapid.T) { w.setNode(t) },
			"remove node":   func(t *rapid.T) { w.nodes.Remove(w.node(t)) },
			"add pod":       func(t *rapid.T) { w.setPod(t) },
			"add pods":      func(t *rapid.T) { w.setPod(t); w.setPod(t); w.setPod(t) },
			"remove pod":    func(t *rapid.T) { w.deletePod(w.pod(t)) },
			"finish pod":    func(t *rapid.T) { w.edit(t, func(p *kube.Pod) { p.Finished = true }) },
			"edit pod":      func(t *rapid.T) { w.edit(t, func(p *kube.Pod) { p.Network = w.someNetwork(t) }) },
			"allocate":      func(*rapid.T) { w.allocate() },
			"annotate":      func(*rapid.T) { w.annotate() },
			"commit":        func(*rapid.T) { w.allocate(); w.commit() },
			"late commit":   func(*rapid.T) { w.lateCommit() },
			"come to rest":  func(t *rapid.T) { w.settle(); w.atRest(t) },
			"restart":       func(t *rapid.T) { w.restart(t) },
			"edit a subnet": func(t *rapid.T) { w.editSubnet(t) },
			"edit an id":    func(t *rapid.T) { w.editID(t) },
			"":              func(t *rapid.T) { w.invariants(t) },
		})
		w.settle()
		w.atRest(t)
	})
}

type world struct{ *harness }

// restart starts another master. Nodes keep their places on the join switch, whatever annotations say: two nodes' rows do not
// change in one transaction.
func (w *world) restart(t *rapid.T) {
	before := w.db.observe().ids
	w.start()
	for name, id := range before {
		if n := w.engine.ledger.nodes[name]; n != nil && n.id != id {
			t.Fatalf("%s has id %d after a restart, its gateway router has %d", name, n.id, id)
		}
	}
}

// lateCommit commits without the engine having looked at the latest changes; deletions must be allowed by then.
func (w *world) lateCommit() {
	if w.engine.progress.settled {
		w.commit()
	}
}

func (w *world) node(t *rapid.T) string {
	return rapid.SampledFrom([]string{"n1", "n2", "n3", "n4", "n5"}).Draw(t, "node")
}

func (w *world) pod(t *rapid.T) string {
	return rapid.SampledFrom([]string{"p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"}).Draw(t, "pod")
}

func (w *world) setNode(t *rapid.T) {
	name := w.node(t)
	if _, ok := w.nodes.Get(name); ok {
		return
	}
	w.addNode(name)
	if rapid.Bool().Draw(t, "gateway") {
		w.annotateNode(name, map[string]string{
			names.L3GatewayConfigAnnotation: goodGateway, names.NodeChassisIDAnnotation: "id-" + name,
		})
	}
	if rapid.IntRange(0, 3).Draw(t, "annotated") == 0 {
		w.annotateNode(name, map[string]string{names.NodeSubnetsAnnotation: w.someSubnets(t)})
	}
}

func (w *world) someSubnets(t *rapid.T) string {
	i := rapid.IntRange(0, 4).Draw(t, "subnet") // The last lies outside.
	return fmt.Sprintf(`{"default":["10.128.0.%d/29"]}`, i*8)
}

func (w *world) editSubnet(t *rapid.T) {
	name := w.node(t)
	if _, ok := w.nodes.Get(name); ok {
		w.annotateNode(name, map[string]string{names.NodeSubnetsAnnotation: w.someSubnets(t)})
	}
}

func (w *world) editID(t *rapid.T) {
	name := w.node(t)
	if _, ok := w.nodes.Get(name); ok {
		w.setID(name, rapid.SampledFrom([]string{"", "1", "2", "3", "4", "65001"}).Draw(t, "id"))
	}
}

// uniqueIDs: one id a node, in the ledger always, and at rest in the annotations of all that are connected.
func (w *world) uniqueIDs(t *rapid.T, atRest bool) {
	holders := map[int]string{}
	for name, n := range w.engine.ledger.nodes {
		if n.id == 0 && n.leaving {
			continue
		}
		if other, taken := holders[n.id]; taken || n.id < firstNodeID || n.id > lastNodeID {
			t.Fatalf("%s has id %d (as %q has)", name, n.id, other)
		}
		holders[n.id] = name
		if got := w.ids()[name]; atRest && got != fmt.Sprint(n.id) {
			t.Fatalf("%s has id %d, its annotation says %q", name, n.id, got)
		}
	}
}

// setPod creates a pod, in the place of one of the same name if there is one.
func (w *world) setPod(t *rapid.T) {
	name := w.pod(t)
	w.addPod(name, w.node(t))
	if rapid.IntRange(0, 3).Draw(t, "annotated") == 0 {
		w.changePod(name, func(p *kube.Pod) { p.Network = w.someNetwork(t) })
	}
}

func (w *world) someNetwork(t *rapid.T) string {
	host := rapid.IntRange(0, 33).Draw(t, "host")
	return networkText(fmt.Sprintf("10.128.0.%d/29", host), fmt.Sprintf("fd01:0:0:%x::%x/64", host/8, host))
}

func (w *world) edit(t *rapid.T, change func(*kube.Pod)) {
	name := w.pod(t)
	if p, ok := w.pods.Get("ns/" + name); ok && !p.Finished {
		w.changePod(name, change)
	}
}

// invariants hold at every instant.
func (w *world) invariants(t *rapid.T) {
	w.uniqueIDs(t, false)
	addresses, subnets := map[string]string{}, map[string]string{}
	for owner, d := range w.db.rows {
		for _, r := range d.Rows {
			switch m := r.Model.(type) {
			case *nbdb.LogicalSwitchPort:
				if owner.Kind != names.OwnerPod {
					continue
				}
				for _, a := range strings.Fields(m.Addresses[0])[1:] {
					if other, taken := addresses[a]; taken {
						t.Fatalf("ports %s and %s both have %s", m.Name, other, a)
					}
					addresses[a] = m.Name
				}
			case *nbdb.LogicalRouterPort:
				for _, n := range m.Networks {
					network := netip.MustParsePrefix(n)
					switch {
					case strings.HasPrefix(m.Name, "rtos-"):
						network = network.Masked()
					case !strings.HasPrefix(m.Name, "rtoj-"):
						continue // The outside is the hosts' own.
					}
					if other, taken := subnets[network.String()]; taken {
						t.Fatalf("%s and %s both have %s", m.Name, other, network)
					}
					subnets[network.String()] = m.Name
				}
			}
		}
	}
}

// atRest holds when nothing is left to do.
func (w *world) atRest(t *rapid.T) {
	w.prune()
	w.invariants(t)
	w.uniqueIDs(t, true)
	free, holders := w.freeAddresses(), map[string]string{}
	for _, p := range w.pods.All() {
		annotated, port := w.addressOf(p.Name), w.portOf(p.Name)
		if p.Finished || !w.wired(p.Node) {
			if port != "none" {
				t.Fatalf("%s on %s (finished %v) has port %s", p.Name, p.Node, p.Finished, port)
			}
			continue
		}
		if port == "none" {
			if free[p.Node] > 0 {
				t.Fatalf("%s waits although %s has %d free addresses", p.Name, p.Node, free[p.Node])
			}
			continue
		}
		if want := fmt.Sprintf("%s on %s for %s", annotated, p.Node, p.UID); port != want {
			t.Fatalf("%s: port %q, annotation %q", p.Name, port, want)
		}
		if other, taken := holders[annotated]; taken {
			t.Fatalf("%s and %s are both annotated with %s", p.Name, other, annotated)
		}
		holders[annotated] = p.Name
	}
	for owner := range w.db.rows {
		if owner.Kind == names.OwnerPod && w.addressOf(strings.TrimPrefix(owner.Name, "ns/")) == "gone" {
			t.Fatalf("port of %s is left over", owner.Name)
		}
	}
	w.nothingLeaks(t)
}

func (w *world) freeAddresses() map[string]int {
	out := map[string]int{}
	for name, n := range w.engine.ledger.nodes {
		taken, total := n.pools[0].Usage()
		out[name] = total - taken
	}
	return out
}

// nothingLeaks: what the ledger holds is what the database has.
func (w *world) nothingLeaks(t *rapid.T) {
	if len(w.engine.held) > 0 {
		t.Fatalf("addresses are still held: %v", w.engine.held)
	}
	ports, switches := 0, 0
	for owner := range w.db.rows {
		switch owner.Kind {
		case names.OwnerPod:
			ports++
		case names.OwnerNode:
			switches++
		}
	}
	if len(w.engine.ledger.pods) != ports || len(w.engine.ledger.nodes) != switches {
		t.Fatalf("ledger has %d pods and %d nodes, the database %d ports and %d switches",
			len(w.engine.ledger.pods), len(w.engine.ledger.nodes), ports, switches)
	}
	for _, n := range w.engine.ledger.nodes {
		if taken, _ := n.pools[0].Usage(); taken != len(n.attached) {
			t.Fatalf("node %s: %d addresses taken by %d pods", n.name, taken, len(n.attached))
		}
	}
	if blocked := len(w.engine.blocked); blocked > 0 {
		if taken, total := w.engine.ledger.subnets.Usage(true); taken < total {
			w.blockedForAReason(t)
		}
	}
}

// blockedForAReason: with free subnets only an unusable annotation blocks a node.
func (w *world) blockedForAReason(t *rapid.T) {
	for name := range w.engine.blocked {
		if n, ok := w.nodes.Get(name); ok && n.Annotations[names.NodeSubnetsAnnotation] == "" {
			t.Fatalf("node %s has no subnet although some are free", name)
		}
	}
}
