//go:build integration

package nbsync_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

func badACL() nbstate.Row {
	return nbstate.Row{ID: "bad", Model: &nbdb.ACL{Priority: 100000, Match: "1", Direction: nbdb.ACLDirectionToLport, Action: nbdb.ACLActionAllow}}
}

func nodes(tb T, r *replica, names ...string) {
	tb.Helper()
	for _, n := range names {
		r.awaitDone(tb, node(n), r.set(tb, node(n), nbstate.Desired{Rows: []nbstate.Row{switchRow(n)}}))
	}
}

// counter reads a counter of the syncer.
func counter(tb T, reg *prometheus.Registry, name, label string) int {
	tb.Helper()
	families, err := reg.Gather()
	if err != nil {
		tb.Fatalf("%v", err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	return 0
}

// A refusal must not keep other owners waiting. An operation that is refused by itself is named by the
// server, a collision at commit is not.
func TestOneBadOwnerOfManyIsFound(t *testing.T) {
	for name, bad := range map[string]nbstate.Desired{
		"operation refused": {Rows: []nbstate.Row{badACL()}, Members: []nbstate.Member{{Parent: switchKey("n1"), Column: "acls", Value: "bad"}}},
		"refused at commit": {
			Rows:    []nbstate.Row{{ID: "other ID", Model: &nbdb.LogicalSwitchPort{Name: "ns_7"}}},
			Members: []nbstate.Member{portOf("n1", "other ID")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			r, endpoint, transactions := start(t, func(o *nbsync.Options) {
				o.Metrics, o.RetryMin, o.RetryMax = nbsync.NewMetrics(reg), time.Hour, time.Hour
			})
			r.store.Synced()
			nodes(t, r, "n1")
			before := transactions()
			desired := map[nbstate.Owner]nbstate.Desired{node("n1"): {Rows: []nbstate.Row{switchRow("n1")}}}
			for i := range 300 {
				if i == 150 {
					r.set(t, pod("bad"), bad)
				}
				d := podOn("n1", fmt.Sprint("ns_", i))
				desired[pod(fmt.Sprint(i))] = d
				r.set(t, pod(fmt.Sprint(i)), d)
			}
			r.awaitError(t, pod("bad"), 1, "constraint violation")
			for i := range 300 {
				r.awaitDone(t, pod(fmt.Sprint(i)), 1)
			}
			if diff := cmp.Diff(wantedContents(desired), ourContents(t, endpoint)); diff != "" {
				t.Error(diff)
			}
			refused := counter(t, reg, "ovnkube_nb_transactions_total", "refused")
			t.Logf("%d transactions committed, %d refused", transactions()-before, refused)
			if n := transactions() - before; n > 20 {
				t.Errorf("%d transactions were committed for 300 good owners and a bad one", n)
			}
			// Mended, it goes through at once, without waiting for its turn to be tried again.
			r.awaitDone(t, pod("bad"), r.set(t, pod("bad"), podOn("n1", "ns_good")))
		})
	}
}

// Many contribute to the rows of an owner that the server refuses: their other contributions are written, also later changes, and
// the rest follows as soon as those rows are there.
func TestMembersOfARefusedRowWaitAlone(t *testing.T) {
	r, endpoint, _ := start(t, func(o *nbsync.Options) { o.RetryMin, o.RetryMax = time.Hour, time.Hour })
	r.store.Synced()
	nodes(t, r, "n1")
	good := nbstate.Desired{Rows: []nbstate.Row{switchRow("n2")}}
	bad := nbstate.Desired{
		Rows:    append(slices.Clone(good.Rows), badACL()),
		Members: []nbstate.Member{{Parent: switchKey("n2"), Column: "acls", Value: "bad"}},
	}
	r.awaitError(t, node("n2"), r.set(t, node("n2"), bad), "constraint violation")
	service := func(backend string) nbstate.Desired {
		d := nbstate.Desired{Rows: []nbstate.Row{{ID: "lb", Model: &nbdb.LoadBalancer{Name: "lb", Vips: map[string]string{"172.30.0.1:80": backend}}}}}
		for _, n := range []string{"n1", "n2"} {
			d.Members = append(d.Members, nbstate.Member{Parent: switchKey(n), Column: "load_balancer", Value: "lb"})
		}
		return d
	}
	want := map[nbstate.Owner]nbstate.Desired{node("n1"): {Rows: []nbstate.Row{switchRow("n1")}}}
	for i, backend := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
		g := r.set(t, pod("s"), service(backend))
		r.awaitError(t, pod("s"), g, "Logical_Switch/n2")
		d := service(backend)
		d.Members = d.Members[:1]
		want[pod("s")] = d
		awaitContents(t, endpoint, fmt.Sprint("change ", i), wantedContents(want))
	}
	r.awaitDone(t, node("n2"), r.set(t, node("n2"), good))
	r.awaitDone(t, pod("s"), 1)
	want[node("n2")], want[pod("s")] = good, service("10.0.0.2:80")
	awaitContents(t, endpoint, "mended", wantedContents(want))
}

// A collision names the row that is in the way, and ends when that row goes, without waiting for a turn.
func TestCollisionWithForeignRow(t *testing.T) {
	r, endpoint, _ := start(t, func(o *nbsync.Options) { o.RetryMin, o.RetryMax = time.Hour, time.Hour })
	r.store.Synced()
	nodes(t, r, "n1")
	other := observe(t, endpoint)
	defer other.Close()
	foreign := transact(t, other, libovsdb.Operation{Op: "insert", Table: nbdb.LogicalSwitchTable, UUIDName: "s",
		Row: libovsdb.Row{"name": "foreign", "ports": libovsdb.UUID{GoUUID: "p"}}},
		libovsdb.Operation{Op: "insert", Table: nbdb.LogicalSwitchPortTable, UUIDName: "p", Row: libovsdb.Row{"name": "ns_a",
			"external_ids": libovsdb.OvsMap{GoMap: map[any]any{"neutron:id": "x"}}}})
	g := r.set(t, pod("a"), podOn("n1", "ns_a"))
	res := r.awaitError(t, pod("a"), g, "neutron:id")
	var collision *nbsync.CollisionError
	if !errors.As(res.Err, &collision) || collision.UUID != foreign[1] {
		t.Errorf("got %v, want the collision with %s", res.Err, foreign[1])
	}
	if got := other.Cache().Table(nbdb.LogicalSwitchPortTable).Row(foreign[1]); got == nil {
		t.Fatal("the foreign row was deleted")
	}
	transact(t, other, libovsdb.Operation{Op: "delete", Table: nbdb.LogicalSwitchTable, Where: byName("foreign")})
	r.awaitDone(t, pod("a"), g)
}

// A row that the server refuses only as long as another refers to it goes when that has gone.
func TestRootRowInUseIsDeletedLater(t *testing.T) {
	r, endpoint, _ := start(t, nil)
	r.store.Synced()
	nodes(t, r, "n1")
	r.awaitDone(t, node("g"), r.set(t, node("g"), nbstate.Desired{Rows: []nbstate.Row{{ID: "g", Model: &nbdb.HAChassisGroup{Name: "g"}}}}))
	group := "g"
	d := podOn("n1", "ns_a")
	d.Rows[0].Model.(*nbdb.LogicalSwitchPort).HaChassisGroup = &group
	r.awaitDone(t, pod("a"), r.set(t, pod("a"), d))
	g := r.delete(node("g"))
	r.awaitError(t, node("g"), g, "referential integrity violation")
	r.awaitDone(t, pod("a"), r.set(t, pod("a"), podOn("n1", "ns_a")))
	r.awaitDone(t, node("g"), g)
	if got := ourContents(t, endpoint); len(got) != 2 {
		t.Errorf("rows: %v", got)
	}
}

// Two thousand pods and fifty nodes within a few seconds cost few transactions.
func TestCoalescing(t *testing.T) {
	r, endpoint, transactions := start(t, nil)
	r.store.Synced()
	desired := map[nbstate.Owner]nbstate.Desired{}
	var mu sync.Mutex
	set := func(o nbstate.Owner, d nbstate.Desired) {
		mu.Lock()
		desired[o] = d
		mu.Unlock()
		r.set(t, o, d)
	}
	for i := range 50 {
		n := fmt.Sprint("n", i)
		set(node(n), nbstate.Desired{Rows: []nbstate.Row{switchRow(n)}})
	}
	began := time.Now()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				name := fmt.Sprintf("ns_%d-%d", g, i)
				set(pod(name), podOn(fmt.Sprint("n", i%50), name, "x"))
				time.Sleep(5 * time.Millisecond) // the pace of creation, not a wait for anything
			}
		})
	}
	wg.Wait()
	created := time.Since(began)
	for o := range desired {
		r.awaitDone(t, o, 1)
	}
	done := time.Since(began)
	n := transactions()
	t.Logf("2,050 owners, created within %s, done after %s: %d transactions", created, done, n)
	if n > 100 {
		t.Errorf("%d transactions, want 100 at most", n)
	}
	// The machine may be slow; the syncer's own pace leaves no one waiting for seconds.
	if late := done - created; late > 10*time.Second {
		t.Errorf("the last was done %s after its creation", late)
	}
	if diff := cmp.Diff(wantedContents(desired), ourContents(t, endpoint)); diff != "" {
		t.Error(diff)
	}
}

func TestDeposedLeaderCannotWrite(t *testing.T) {
	srv := ovsdbtest.Start(t, ovsdbtest.NB())
	// The old leader's view is frozen behind a proxy: it cannot know that it was deposed.
	proxy := ovsdbtest.StartProxy(t, srv)
	old := startReplica(t, proxy.Endpoint(), nil)
	old.store.Synced()
	nodes(t, old, "n1")
	srv.Ctl("set", "NB_Global", ".", "external_ids:foreign=1")

	before := srv.Transactions()
	fresh := startReplica(t, srv.Endpoint(), func(o *nbsync.Options) { o.Fence = "master-b" })
	defer fresh.stop()
	eventually(t, "the record is taken over", func() error {
		if got := srv.Ctl("get", "NB_Global", ".", "external_ids"); !strings.Contains(got, "master-b") || !strings.Contains(got, "foreign") {
			return errors.New(got)
		}
		return nil
	})
	if n := srv.Transactions() - before; n != 1 {
		t.Errorf("taking over cost %d transactions, want 1", n)
	}
	if err := old.awaitEnd(t); !errors.Is(err, nbsync.ErrFenced) {
		t.Errorf("the old leader ended with %v, want ErrFenced", err)
	}
	old.stop()
}

// The old leader sends before it hears of the new one: the server must refuse.
func TestFenceIsCheckedByTheServer(t *testing.T) {
	srv := ovsdbtest.Start(t, ovsdbtest.NB())
	proxy := ovsdbtest.StartProxy(t, srv)
	old := startReplica(t, proxy.Endpoint(), nil)
	old.store.Synced()
	nodes(t, old, "n1")
	proxy.Hold() // the news of the takeover does not reach the old leader
	srv.Ctl("set", "NB_Global", ".", `external_ids:"k8s.ovn.org/leader"=master-b`)
	before := srv.Transactions()
	old.set(t, pod("late"), podOn("n1", "ns_late"))
	time.Sleep(200 * time.Millisecond) // until the late write has been sent
	proxy.Release()
	if err := old.awaitEnd(t); !errors.Is(err, nbsync.ErrFenced) {
		t.Errorf("the old leader ended with %v, want ErrFenced", err)
	}
	if n := srv.Transactions() - before; n != 0 {
		t.Errorf("the deposed leader wrote %d transactions", n)
	}
	if got := srv.Ctl("--columns=name", "list", "Logical_Switch_Port"); strings.Contains(got, "late") {
		t.Errorf("the deposed leader's row is there: %s", got)
	}
	old.stop()
}

// The record is claimed together with the first real write; foreign keys beside it do not matter.
func TestFirstClaimCostsNothing(t *testing.T) {
	srv := ovsdbtest.Start(t, ovsdbtest.NB())
	srv.Ctl("init")
	before := srv.Transactions()
	r := startReplica(t, srv.Endpoint(), nil)
	defer r.stop()
	r.store.Synced()
	nodes(t, r, "n1")
	if n := srv.Transactions() - before; n != 1 {
		t.Errorf("the first write cost %d transactions, want 1", n)
	}
	srv.Ctl("set", "NB_Global", ".", "external_ids:foreign=1", "options:foreign=2")
	nodes(t, r, "n2")
	if got := srv.Ctl("get", "NB_Global", ".", "external_ids"); !strings.Contains(got, "foreign") || !strings.Contains(got, "master-a") {
		t.Errorf("external_ids: %s", got)
	}
}

// A transaction that was committed although no answer came is found to be there after the reconnect.
func TestUnknownOutcome(t *testing.T) {
	srv := ovsdbtest.Start(t, ovsdbtest.NB())
	proxy := ovsdbtest.StartProxy(t, srv)
	r := startReplica(t, proxy.Endpoint(), nil)
	defer r.stop()
	r.store.Synced()
	nodes(t, r, "n1")
	before := srv.Transactions()
	proxy.Mute()
	g := r.set(t, pod("a"), podOn("n1", "ns_a"))
	eventually(t, "the write arrives", func() error {
		if srv.Transactions() == before {
			return errors.New("not yet")
		}
		return nil
	})
	proxy.Cut()
	r.awaitDone(t, pod("a"), g)
	if n := srv.Transactions() - before; n != 1 {
		t.Errorf("%d transactions, want 1", n)
	}
}

func byName(name string) []libovsdb.Condition {
	return []libovsdb.Condition{libovsdb.NewCondition("name", libovsdb.ConditionEqual, name)}
}

// transact is what another system does to the database. It returns the UUIDs of inserted rows.
func transact(tb T, c *ovsdb.Client, ops ...libovsdb.Operation) []string {
	tb.Helper()
	results, err := c.Transact(context.Background(), ops...)
	if err == nil {
		_, err = ovsdb.CheckResults(results, len(ops))
	}
	if err != nil {
		tb.Fatalf("another system's transaction: %v", err)
	}
	var uuids []string
	for _, res := range results {
		uuids = append(uuids, res.UUID.GoUUID)
	}
	return uuids
}
