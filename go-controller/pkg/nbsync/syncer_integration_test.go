//go:build integration

package nbsync_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// start gives a synced replica on a new server.
func start(t *testing.T, edit func(*nbsync.Options)) (*replica, string, func() int) {
	t.Helper()
	srv := startServer(t)
	r := startReplica(t, srv.Endpoint(), edit)
	t.Cleanup(r.stop)
	return r, srv.Endpoint(), srv.Transactions
}

func TestRowsComeChangeAndGo(t *testing.T) {
	r, endpoint, _ := start(t, nil)
	r.store.Synced()
	desired := map[nbstate.Owner]nbstate.Desired{
		node("n1"): {Rows: []nbstate.Row{switchRow("n1")}},
		node("n2"): {Rows: []nbstate.Row{switchRow("n2")}},
		pod("a"):   podOn("n1", "ns_a", "0a:58 10.0.0.3"),
		pod("b"):   podOn("n1", "ns_b", "0a:58 10.0.0.4"),
	}
	check := func(step string) {
		t.Helper()
		if diff := cmp.Diff(wantedContents(desired), ourContents(t, endpoint)); diff != "" {
			t.Errorf("%s: %s", step, diff)
		}
	}
	for o, d := range desired {
		r.set(t, o, d)
	}
	for o := range desired {
		r.awaitDone(t, o, r.store.Generation(o))
	}
	check("created")
	desired[pod("a")] = podOn("n2", "ns_a", "0a:58 10.0.2.3")
	r.awaitDone(t, pod("a"), r.set(t, pod("a"), desired[pod("a")]))
	check("moved")
	delete(desired, pod("b"))
	if res := r.awaitDone(t, pod("b"), r.delete(pod("b"))); !res.Deleted {
		t.Errorf("result of a deletion: %+v", res)
	}
	check("deleted")
	delete(desired, pod("a"))
	delete(desired, node("n2"))
	g := r.delete(node("n2"))
	r.awaitDone(t, pod("a"), r.delete(pod("a")))
	r.awaitDone(t, node("n2"), g)
	check("node deleted")
}

func TestRestartOverUnchangedDatabaseWritesNothing(t *testing.T) {
	r, endpoint, transactions := start(t, nil)
	fill := func(r *replica) {
		for i := range 20 {
			r.set(t, pod(fmt.Sprint(i)), podOn("n1", fmt.Sprint("ns_", i), "x", "y"))
		}
		r.set(t, node("n1"), nbstate.Desired{Rows: []nbstate.Row{switchRow("n1")}})
		r.store.Synced()
		for i := range 20 {
			r.awaitDone(t, pod(fmt.Sprint(i)), 1)
		}
		r.awaitDone(t, node("n1"), 1)
	}
	fill(r)
	r.stop()
	before := transactions()
	if before == 0 {
		t.Fatal("nothing was written at all")
	}
	again := startReplica(t, endpoint, nil)
	defer again.stop()
	fill(again)
	time.Sleep(300 * time.Millisecond) // whatever it might still do
	if n := transactions() - before; n != 0 {
		t.Errorf("a restart wrote %d transactions", n)
	}
}

func TestNothingIsDeletedBeforeSynced(t *testing.T) {
	r, endpoint, _ := start(t, nil)
	r.store.Synced()
	r.awaitDone(t, node("n1"), r.set(t, node("n1"), nbstate.Desired{Rows: []nbstate.Row{switchRow("n1")}}))
	r.awaitDone(t, pod("old"), r.set(t, pod("old"), podOn("n1", "ns_old")))
	r.awaitDone(t, pod("b"), r.set(t, pod("b"), podOn("n1", "ns_b")))
	r.stop()

	again := startReplica(t, endpoint, nil)
	defer again.stop()
	again.awaitDone(t, node("n1"), again.set(t, node("n1"), nbstate.Desired{Rows: []nbstate.Row{switchRow("n1")}}))
	again.awaitDone(t, pod("b"), again.set(t, pod("b"), podOn("n1", "ns_b")))
	g := again.delete(pod("b"))
	again.awaitDone(t, pod("c"), again.set(t, pod("c"), podOn("n1", "ns_c")))
	got := ourContents(t, endpoint)
	for _, key := range []string{"Logical_Switch_Port/ns_old", "Logical_Switch_Port/ns_b"} {
		if _, ok := got[key]; !ok {
			t.Errorf("%s was deleted before the store was synced", key)
		}
	}
	if res, _ := again.result(pod("b")); res.Deleted {
		t.Error("a deletion was reported before it was done")
	}
	again.store.Synced()
	again.awaitDone(t, pod("b"), g)
	eventually(t, "left over rows go", func() error {
		want := wantedContents(map[nbstate.Owner]nbstate.Desired{
			node("n1"): {Rows: []nbstate.Row{switchRow("n1")}}, pod("c"): podOn("n1", "ns_c")})
		if diff := cmp.Diff(want, ourContents(t, endpoint)); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func TestOwnersWaitForWhatTheyReferTo(t *testing.T) {
	r, endpoint, _ := start(t, nil)
	r.store.Synced()
	group := nbstate.Key{Table: nbdb.PortGroupTable, ID: "pg"}
	d := podOn("n1", "ns_a")
	d.Members = append(d.Members, nbstate.Member{Parent: group, Column: "ports", Value: "ns_a"})
	g := r.set(t, pod("a"), d)
	res := r.awaitError(t, pod("a"), g, "Logical_Switch/n1")
	if !errors.Is(res.Err, nbsync.ErrWaiting) {
		t.Errorf("%v does not match ErrWaiting", res.Err)
	}
	r.set(t, node("n1"), nbstate.Desired{Rows: []nbstate.Row{switchRow("n1")}})
	r.awaitDone(t, node("n1"), 1)
	if got := ourContents(t, endpoint); len(got) != 1 {
		t.Errorf("an owner was done by halves: %v", got)
	}
	r.set(t, pod("group"), nbstate.Desired{Rows: []nbstate.Row{{ID: "pg", Model: &nbdb.PortGroup{Name: "pg"}}}})
	r.awaitDone(t, pod("a"), g)
	if got := ourContents(t, endpoint)["Port_Group/pg"]; !strings.Contains(got, "ports=[ns_a]") {
		t.Errorf("port group: %s", got)
	}
}

// A row waits for one thing and its contributor for the row: when the first comes, both must go on.
func TestContributorWaitsForAWaitingRow(t *testing.T) {
	r, endpoint, _ := start(t, nil)
	r.store.Synced()
	nodes(t, r, "n1")
	group := "z"
	d := nbstate.Desired{Rows: []nbstate.Row{portRow("p")}}
	d.Rows[0].Model.(*nbdb.LogicalSwitchPort).HaChassisGroup = &group
	row := r.set(t, pod("row"), d)
	r.awaitError(t, pod("row"), row, "HA_Chassis_Group/z")
	member := r.set(t, pod("member"), nbstate.Desired{Members: []nbstate.Member{portOf("n1", "p")}})
	r.awaitError(t, pod("member"), member, "Logical_Switch_Port/p")
	r.set(t, pod("group"), nbstate.Desired{Rows: []nbstate.Row{{ID: "z", Model: &nbdb.HAChassisGroup{Name: "z"}}}})
	r.awaitDone(t, pod("row"), row)
	r.awaitDone(t, pod("member"), member)
	if got := ourContents(t, endpoint)["Logical_Switch_Port/p"]; !strings.Contains(got, "ha_chassis_group=z") {
		t.Errorf("port: %s", got)
	}
}

// The row and the member that keeps it alive may come from different owners, in any order.
func TestRowAndReferenceFromDifferentOwners(t *testing.T) {
	for _, rowFirst := range []bool{true, false} {
		t.Run(fmt.Sprintf("row first %v", rowFirst), func(t *testing.T) {
			r, endpoint, _ := start(t, nil)
			r.store.Synced()
			r.awaitDone(t, node("n1"), r.set(t, node("n1"), nbstate.Desired{Rows: []nbstate.Row{switchRow("n1")}}))
			row := nbstate.Desired{Rows: []nbstate.Row{portRow("p")}}
			reference := nbstate.Desired{Members: []nbstate.Member{portOf("n1", "p")}}
			first, second := row, reference
			if !rowFirst {
				first, second = reference, row
			}
			g := r.set(t, pod("first"), first)
			r.awaitError(t, pod("first"), g, "Logical_Switch_Port/p")
			r.awaitDone(t, pod("second"), r.set(t, pod("second"), second))
			r.awaitDone(t, pod("first"), g)
			if got := ourContents(t, endpoint)["Logical_Switch/n1"]; !strings.Contains(got, "ports=[p]") {
				t.Errorf("switch: %s", got)
			}
		})
	}
}

// Pods in many groups are written in transactions of limited size, which their number alone would not limit; but a few always go together.
func TestMembersCloseATransaction(t *testing.T) {
	for name, tc := range map[string]struct{ members, owners, atLeast, atMost int }{
		"no limit":             {atLeast: 1, atMost: 2},
		"few members":          {members: 4, owners: 1, atLeast: 3, atMost: 7},
		"fewer owners than go": {members: 4, owners: 100, atLeast: 1, atMost: 2},
	} {
		t.Run(name, func(t *testing.T) {
			r, endpoint, transactions := start(t, func(o *nbsync.Options) { o.MaxMembers, o.MinOwners = tc.members, tc.owners })
			r.store.Synced()
			groups := nbstate.Desired{Rows: []nbstate.Row{switchRow("n1")}}
			for _, g := range []string{"g1", "g2"} {
				groups.Rows = append(groups.Rows, nbstate.Row{ID: g, Model: &nbdb.PortGroup{Name: g}})
			}
			desired := map[nbstate.Owner]nbstate.Desired{node("n1"): groups}
			for i := range 6 {
				name := fmt.Sprint("ns_", i)
				d := podOn("n1", name, "x")
				for _, g := range []string{"g1", "g2"} {
					d.Members = append(d.Members, nbstate.Member{Parent: nbstate.Key{Table: nbdb.PortGroupTable, ID: g}, Column: "ports", Value: name})
				}
				desired[pod(fmt.Sprint(i))] = d
			}
			before := transactions()
			for o, d := range desired {
				if o != node("n1") {
					r.set(t, o, d)
				}
			}
			r.set(t, node("n1"), groups)
			for o := range desired {
				r.awaitDone(t, o, r.store.Generation(o))
			}
			if n := transactions() - before; n < tc.atLeast || n > tc.atMost {
				t.Errorf("%d transactions, want %d to %d", n, tc.atLeast, tc.atMost)
			}
			if diff := cmp.Diff(wantedContents(desired), ourContents(t, endpoint)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
