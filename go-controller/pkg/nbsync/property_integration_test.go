//go:build integration

package nbsync_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"
	"pgregory.net/rapid"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

// TestMain lowers the number of examples: each one has a server of its own. More with -rapid.checks.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.checks": "20", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	flag.Parse()
	os.Exit(m.Run())
}

// world is one example of the property: whatever is wanted, refused, cut, killed and meddled with, in the
// end the database holds what is wanted, beside what others put there, and a restart writes nothing.
type world struct {
	t      *rapid.T
	server *ovsdbtest.Server
	proxy  *ovsdbtest.Proxy
	other  *ovsdb.Client // another system, directly connected
	r      *replica
	starts int

	desired map[nbstate.Owner]nbstate.Desired
	bad     map[nbstate.Owner]bool // owners that the server refuses
	foreign map[string]bool        // names of switches of others; true when they have a guest in n0
}

var (
	nodeNames = []string{"n0", "n1", "n2"}
	podNames  = []string{"a", "b", "c", "d", "e", "f"}
	setNames  = []string{"as0", "as1"}
)

func TestProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt)
		defer w.close()
		w.setNode("n0", "x")
		rt.Repeat(map[string]func(*rapid.T){
			"node": func(rt *rapid.T) {
				w.setNode(rapid.SampledFrom(nodeNames).Draw(rt, "node"), rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "config"))
			},
			"pod":         w.setPod,
			"group":       w.setGroup,
			"delete":      w.deleteOwner,
			"their rows":  w.meddleBeside,
			"our rows":    w.meddleWithOurs,
			"cut":         func(*rapid.T) { w.proxy.Cut() },
			"lose answer": w.loseAnswers,
			"kill server": func(*rapid.T) { w.server.Restart() },
			"restart":     w.restart,
			"settle":      w.settle,
		})
		w.heal()
		w.checkConverged()
		w.checkRestartIsFree()
	})
}

func newWorld(t *testing.T, rt *rapid.T) *world {
	w := &world{t: rt, server: ovsdbtest.Start(t, ovsdbtest.NB()), desired: map[nbstate.Owner]nbstate.Desired{},
		bad: map[nbstate.Owner]bool{}, foreign: map[string]bool{}}
	w.proxy = ovsdbtest.StartProxy(t, w.server)
	w.other = observe(rt, w.server.Endpoint())
	w.startReplica()
	w.r.store.Synced()
	return w
}

func (w *world) close() {
	w.r.stop()
	w.other.Close()
	w.server.Kill()
}

func (w *world) startReplica() {
	w.starts++
	w.r = startReplica(w.t, w.proxy.Endpoint(), func(o *nbsync.Options) {
		o.AuditInterval = time.Hour // events must suffice
		o.MaxOps, o.MaxMembers, o.MinOwners = 5, 3, 1
		o.MaxOwners = 4
	})
}

func (w *world) set(o nbstate.Owner, d nbstate.Desired, bad bool) {
	if err := w.r.store.Set(o, d); err != nil {
		w.t.Fatalf("%v", err)
	}
	w.desired[o] = d
	delete(w.bad, o)
	if bad {
		w.bad[o] = true
	}
}

func (w *world) setNode(name, config string) {
	router := nbstate.Key{Table: nbdb.LogicalRouterTable, ID: "r"}
	d := nbstate.Desired{
		Rows: []nbstate.Row{
			{ID: name, Model: &nbdb.LogicalSwitch{Name: name, OtherConfig: map[string]string{"c": config}}},
			{ID: "rtos-" + name, Model: &nbdb.LogicalRouterPort{Name: "rtos-" + name, MAC: config, Networks: []string{"10.0.0.1/24", config}, GatewayChassis: []string{"gc-" + name}}},
			{ID: "gc-" + name, Model: &nbdb.GatewayChassis{Name: "gc-" + name, ChassisName: config}},
			{ID: "route-" + name, Model: &nbdb.LogicalRouterStaticRoute{IPPrefix: name, Nexthop: config}},
		},
		Members: []nbstate.Member{{Parent: router, Column: "ports", Value: "rtos-" + name}, {Parent: router, Column: "static_routes", Value: "route-" + name}},
	}
	if name == "n0" {
		d.Rows = append(d.Rows, nbstate.Row{ID: "r", Model: &nbdb.LogicalRouter{Name: "r", Options: map[string]string{"c": config}}})
	}
	w.set(node(name), d, false)
}

// setPod draws a pod: on any node, also one that is not there, in groups that may not be there, or one that
// the server refuses for one reason or another.
func (w *world) setPod(rt *rapid.T) {
	name := rapid.SampledFrom(podNames).Draw(rt, "pod")
	d := podOn(rapid.SampledFrom(nodeNames).Draw(rt, "node"), "ns_"+name, rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "address"))
	for _, s := range rapid.SliceOfDistinct(rapid.SampledFrom(setNames), rapid.ID).Draw(rt, "groups") {
		d.Members = append(d.Members,
			nbstate.Member{Parent: nbstate.Key{Table: nbdb.PortGroupTable, ID: s}, Column: "ports", Value: "ns_" + name},
			nbstate.Member{Parent: nbstate.Key{Table: nbdb.AddressSetTable, ID: s}, Column: "addresses", Value: rapid.SampledFrom([]string{"1", "2", "3"}).Draw(rt, "ip")})
	}
	switch rapid.IntRange(0, 9).Draw(rt, "badness") {
	case 0: // refused by itself
		d.Rows = append(d.Rows, nbstate.Row{ID: "acl-" + name, Model: &nbdb.ACL{Priority: 99999, Direction: nbdb.ACLDirectionToLport, Action: nbdb.ACLActionAllow}})
		d.Members = append(d.Members, nbstate.Member{Parent: switchKey("n0"), Column: "acls", Value: "acl-" + name})
		w.set(pod(name), d, true)
	case 1: // refused at commit: a name that is taken
		d.Rows = append(d.Rows, nbstate.Row{ID: "twin-" + name, Model: &nbdb.LogicalSwitchPort{Name: "rtos"}},
			nbstate.Row{ID: "twin2-" + name, Model: &nbdb.LogicalSwitchPort{Name: "rtos"}})
		d.Members = append(d.Members, portOf("n0", "twin-"+name), portOf("n0", "twin2-"+name))
		w.set(pod(name), d, true)
	default:
		w.set(pod(name), d, false)
	}
}

func (w *world) setGroup(rt *rapid.T) {
	name := rapid.SampledFrom(setNames).Draw(rt, "group")
	d := nbstate.Desired{Rows: []nbstate.Row{
		{ID: name, Model: &nbdb.AddressSet{Name: name}},
		{ID: name, Model: &nbdb.PortGroup{Name: name}},
	}}
	if rapid.Bool().Draw(rt, "acl") {
		d.Rows = append(d.Rows, nbstate.Row{ID: "deny-" + name, Model: &nbdb.ACL{Priority: rapid.IntRange(1, 3).Draw(rt, "priority"), Match: "ip", Direction: nbdb.ACLDirectionToLport, Action: nbdb.ACLActionDrop}})
		d.Members = append(d.Members, nbstate.Member{Parent: nbstate.Key{Table: nbdb.PortGroupTable, ID: name}, Column: "acls", Value: "deny-" + name})
	}
	w.set(pod("group-"+name), d, false)
}

func (w *world) deleteOwner(rt *rapid.T) {
	owners := slices.SortedFunc(maps.Keys(w.desired), func(a, b nbstate.Owner) int { return cmp2(a.String(), b.String()) })
	o := rapid.SampledFrom(owners).Draw(rt, "owner")
	if o == node("n0") {
		return // it holds guests of others
	}
	w.r.store.Delete(o)
	delete(w.desired, o)
	delete(w.bad, o)
}

func cmp2(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// restart replaces the replica; owners are set again in any order, while it works.
func (w *world) restart(rt *rapid.T) {
	w.r.stop()
	w.startReplica()
	owners := slices.SortedFunc(maps.Keys(w.desired), func(a, b nbstate.Owner) int { return cmp2(a.String(), b.String()) })
	if len(owners) > 0 {
		owners = rapid.Permutation(owners).Draw(rt, "order")
	}
	for _, o := range owners {
		if err := w.r.store.Set(o, w.desired[o]); err != nil {
			rt.Fatalf("%v", err)
		}
	}
	w.r.store.Synced()
}

// settle lets the syncer come to rest now and then, so that later steps start from a known state.
func (w *world) settle(rt *rapid.T) {
	d := rapid.IntRange(0, 30).Draw(rt, "ms")
	time.Sleep(time.Duration(d) * time.Millisecond)
}

// loseAnswers lets requests arrive whose answers do not.
func (w *world) loseAnswers(rt *rapid.T) {
	w.proxy.Mute()
	w.setPod(rt)
	w.settle(rt)
	w.proxy.Cut()
}

// try is a change by another system; it may hit what is not there, and the server may be away.
func (w *world) try(ops ...libovsdb.Operation) (results []libovsdb.OperationResult, ok bool) {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		results, err := w.other.Transact(w.t.Context(), ops...)
		switch {
		case err == nil:
			_, err = ovsdb.CheckResults(results, len(ops))
			return results, err == nil
		case !errors.Is(err, ovsdb.ErrNotConnected) || time.Now().After(deadline):
			return nil, false
		}
	}
}

// meddleBeside adds rows of others, beside and inside ours. They must survive.
func (w *world) meddleBeside(rt *rapid.T) {
	name := fmt.Sprint("foreign", len(w.foreign))
	results, ok := w.try(
		libovsdb.Operation{Op: "insert", Table: nbdb.LogicalSwitchTable, Row: libovsdb.Row{"name": name, "ports": libovsdb.UUID{GoUUID: "p"}}},
		libovsdb.Operation{Op: "insert", Table: nbdb.LogicalSwitchPortTable, UUIDName: "p", Row: libovsdb.Row{"name": name + "-port"}},
		libovsdb.Operation{Op: "insert", Table: nbdb.LogicalSwitchPortTable, UUIDName: "guest", Row: libovsdb.Row{"name": name + "-guest"}},
		libovsdb.Operation{Op: "mutate", Table: nbdb.LogicalSwitchTable, Where: byName(name), Mutations: []libovsdb.Mutation{
			*libovsdb.NewMutation("ports", libovsdb.MutateOperationInsert, libovsdb.UUID{GoUUID: "guest"})}},
		libovsdb.Operation{Op: "mutate", Table: nbdb.LogicalSwitchTable, Where: byName("n0"), Mutations: []libovsdb.Mutation{
			*libovsdb.NewMutation("ports", libovsdb.MutateOperationInsert, libovsdb.UUID{GoUUID: "guest"})}},
	)
	if ok {
		w.foreign[name] = results[4].Count == 1
	}
}

// meddleWithOurs changes or deletes rows of ours. All must be repaired.
func (w *world) meddleWithOurs(rt *rapid.T) {
	target := rapid.SampledFrom(append(slices.Clone(nodeNames), "ns_a", "ns_b", "as0", "rtos-n0", "r")).Draw(rt, "target")
	empty := libovsdb.OvsSet{}
	for _, table := range []string{nbdb.LogicalSwitchTable, nbdb.LogicalSwitchPortTable, nbdb.AddressSetTable, nbdb.PortGroupTable, nbdb.LogicalRouterPortTable, nbdb.LogicalRouterTable} {
		switch rapid.SampledFrom([]string{"delete", "clear", "change", "extra"}).Draw(rt, "how") {
		case "delete":
			if target != "n0" { // guests of others would go with it
				w.try(libovsdb.Operation{Op: "delete", Table: table, Where: byName(target)})
			}
		case "clear":
			column := map[string]string{nbdb.AddressSetTable: "addresses", nbdb.PortGroupTable: "ports", nbdb.LogicalRouterTable: "ports"}[table]
			if column != "" {
				w.try(libovsdb.Operation{Op: "update", Table: table, Where: byName(target), Row: libovsdb.Row{column: empty}})
			}
		case "change":
			if table == nbdb.LogicalSwitchPortTable {
				w.try(libovsdb.Operation{Op: "update", Table: table, Where: byName(target), Row: libovsdb.Row{"type": "changed"}})
			}
		case "extra":
			if table == nbdb.AddressSetTable {
				w.try(libovsdb.Operation{Op: "mutate", Table: table, Where: byName(target), Mutations: []libovsdb.Mutation{
					*libovsdb.NewMutation("addresses", libovsdb.MutateOperationInsert, "9.9.9.9")}})
			}
		}
	}
}

// heal makes everything possible: bad owners are mended, missing ones come.
func (w *world) heal() {
	for o := range maps.Clone(w.bad) {
		w.set(o, podOn("n0", "ns_"+o.Name), false)
	}
	for _, n := range nodeNames {
		w.setNode(n, "final")
	}
	for _, s := range setNames {
		w.set(pod("group-"+s), nbstate.Desired{Rows: []nbstate.Row{
			{ID: s, Model: &nbdb.AddressSet{Name: s}}, {ID: s, Model: &nbdb.PortGroup{Name: s}},
		}}, false)
	}
}

func (w *world) checkConverged() {
	want := wantedContents(w.desired)
	// Guests of others are in n0's ports too.
	if slices.Contains(slices.Collect(maps.Values(w.foreign)), true) {
		row := want["Logical_Switch/n0"]
		want["Logical_Switch/n0"] = addGuest(row)
	}
	awaitContents(w.t, w.server.Endpoint(), "convergence", want)
	for o := range w.desired {
		w.r.awaitDone(w.t, o, 1)
	}
	c := observe(w.t, w.server.Endpoint())
	defer c.Close()
	ports := map[string]int{}
	for _, p := range ovsdb.Rows[nbdb.LogicalSwitchPort](c) {
		ports[p.Name]++
	}
	for name := range w.foreign {
		if ports[name+"-port"] != 1 || ports[name+"-guest"] != 1 {
			w.t.Fatalf("rows of others: %v", ports)
		}
	}
	if diff := cmp.Diff(len(w.foreign)+len(nodeNames), len(ovsdb.Rows[nbdb.LogicalSwitch](c))); diff != "" {
		w.t.Fatalf("switches: %s", diff)
	}
}

func (w *world) checkRestartIsFree() {
	before := w.server.Transactions()
	w.r.stop()
	w.startReplica()
	for o, d := range w.desired {
		w.r.set(w.t, o, d)
	}
	w.r.store.Synced()
	for o := range w.desired {
		w.r.awaitDone(w.t, o, 1)
	}
	time.Sleep(20 * time.Millisecond) // for the audit that Synced asks for
	if n := w.server.Transactions() - before; n != 0 {
		w.t.Fatalf("a restart wrote %d transactions", n)
	}
}

// addGuest adds a row of others, "?", to the ports in a rendered switch.
func addGuest(row string) string {
	const ports = "ports=["
	i := strings.Index(row, ports)
	if i < 0 {
		return row + " " + ports + "?]"
	}
	return row[:i+len(ports)] + "? " + row[i+len(ports):]
}
