package nbsync

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ovn-org/libovsdb/model"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

const (
	uuidSwitch = "00000000-0000-0000-0000-000000000001"
	uuidPort   = "00000000-0000-0000-0000-000000000002"
	uuidOther  = "00000000-0000-0000-0000-000000000003"
)

// summary writes operations in one line each, as sent but without names that do not matter.
func summary(tb testing.TB, tx *transaction) []string {
	tb.Helper()
	var out []string
	for _, op := range tx.ops {
		columns, err := json.Marshal(op.Row)
		if err != nil {
			tb.Fatal(err)
		}
		mutations, err := json.Marshal(op.Mutations)
		if err != nil {
			tb.Fatal(err)
		}
		line := op.Op + " " + op.Table
		if len(op.Row) > 0 && op.Op != libovsdb.OperationInsert {
			line += " " + string(columns)
		}
		if len(op.Mutations) > 0 {
			line += " " + string(mutations)
		}
		out = append(out, line)
	}
	return out
}

func existing(tb testing.TB, edit func(sw *nbdb.LogicalSwitch, port *nbdb.LogicalSwitchPort)) *database {
	tb.Helper()
	sw := asInDatabase(nodeOwner(0), switchRow(0)).(*nbdb.LogicalSwitch)
	port := asInDatabase(pod(0), podOn(0, 0).Rows[0]).(*nbdb.LogicalSwitchPort)
	sw.Ports = []string{uuidPort, uuidOther}
	if edit != nil {
		edit(sw, port)
	}
	return memory(tb, map[string]model.Model{uuidSwitch: sw, uuidPort: port, uuidOther: &nbdb.LogicalSwitchPort{Name: "guest"}})
}

func TestPlan(t *testing.T) {
	up, tag := true, 7
	type row = nbdb.LogicalSwitchPort
	for name, tc := range map[string]struct {
		edit func(*nbdb.LogicalSwitch, *row)
		want []string
	}{
		"nothing":        {nil, nil},
		"column of ours": {func(_ *nbdb.LogicalSwitch, p *row) { p.Type = "x" }, []string{`update Logical_Switch_Port {"type":""}`}},
		"optional column": {func(_ *nbdb.LogicalSwitch, p *row) { p.Tag = &tag },
			[]string{`update Logical_Switch_Port {"tag":["set",[]]}`}},
		"map": {func(_ *nbdb.LogicalSwitch, p *row) {
			delete(p.Options, "iface-id-ver")
			p.Options["requested-chassis"] = "x"
		},
			[]string{`update Logical_Switch_Port {"options":["map",[["iface-id-ver","uid-0"],["requested-chassis","node-0"]]]}`}},
		"set in another order": {func(_ *nbdb.LogicalSwitch, p *row) { p.Addresses = append([]string{}, p.Addresses...) }, nil},
		"server's columns": {func(_ *nbdb.LogicalSwitch, p *row) {
			p.Up, p.DynamicAddresses = &up, new(string)
		}, nil},
		"member": {func(s *nbdb.LogicalSwitch, _ *row) { s.Ports = []string{uuidOther} },
			[]string{`mutate Logical_Switch [["ports","insert",["uuid","` + uuidPort + `"]]]`}},
		"external_ids": {func(_ *nbdb.LogicalSwitch, p *row) { delete(p.ExternalIDs, "k8s.ovn.org/name") },
			[]string{`update Logical_Switch_Port {"external_ids":["map",[`}},
		"somebody's key in external_ids": {func(_ *nbdb.LogicalSwitch, p *row) { p.ExternalIDs["x"] = "y" },
			[]string{`update Logical_Switch_Port {"external_ids":["map",[`}},
		"somebody's row": {func(_ *nbdb.LogicalSwitch, p *row) {
			p.ExternalIDs["k8s.ovn.org/owner-controller"], p.Name = "another", "x"
		},
			[]string{`insert Logical_Switch_Port`, `mutate Logical_Switch [["ports","insert",["named-uuid",`}},
	} {
		store := nbstate.NewStore()
		mustSet(t, store, nodeOwner(0), nbstate.Desired{Rows: []nbstate.Row{switchRow(0)}})
		mustSet(t, store, pod(0), podOn(0, 0))
		tx := planned(t, existing(t, tc.edit), store, nodeOwner(0), pod(0))
		got := summary(t, tx)
		ok := len(got) == len(tc.want) && len(tx.plans) == 2
		for i := range tc.want {
			ok = ok && (strings.HasPrefix(got[i], tc.want[i]) || sortedMap(got[i]) == sortedMap(tc.want[i]))
		}
		if !ok {
			t.Errorf("%s: %s", name, cmp.Diff(tc.want, got))
		}
	}
}

// sortedMap makes maps comparable, whose pairs come in any order.
func sortedMap(line string) string {
	chars := strings.Split(line, "")
	counts := map[string]int{}
	for _, c := range chars {
		counts[c]++
	}
	return fmt.Sprint(counts)
}

func TestManyMembersAreOneMutation(t *testing.T) {
	store := nbstate.NewStore()
	mustSet(t, store, nodeOwner(0), nbstate.Desired{Rows: []nbstate.Row{switchRow(0)}})
	owners := []nbstate.Owner{}
	for i := range 50 {
		mustSet(t, store, pod(i+1), podOn(i+1, 0))
		owners = append(owners, pod(i+1))
	}
	tx := planned(t, existing(t, nil), store, owners...)
	if n := len(tx.ops); n != 51 {
		t.Errorf("%d operations for 50 pods on one switch, want 50 inserts and a mutation", n)
	}
	// Without the switch, its owner joins, and the members go into its row.
	if tx = planned(t, memory(t, nil), store, owners...); len(tx.ops) != 51 || len(tx.plans) != 51 {
		t.Errorf("%d operations of %d owners, want 51 inserts", len(tx.ops), len(tx.plans))
	}
	for _, op := range tx.ops {
		if set, _ := op.Row["ports"].(libovsdb.OvsSet); op.Table == nbdb.LogicalSwitchTable && len(set.GoSet) != 50 {
			t.Errorf("the switch is inserted with %d ports", len(set.GoSet))
		}
	}
}

func TestDeletions(t *testing.T) {
	store := nbstate.NewStore()
	mustSet(t, store, nodeOwner(0), nbstate.Desired{Rows: []nbstate.Row{switchRow(0)}})
	mustSet(t, store, pod(0), podOn(0, 0))
	store.Delete(pod(0))
	db := existing(t, nil)
	if tx := planned(t, db, store, pod(0)); len(tx.ops) != 0 || !tx.plans[0].deferred {
		t.Errorf("before the store is synced: %v", summary(t, tx))
	}
	store.Synced()
	want := []string{`mutate Logical_Switch [["ports","delete",["uuid","` + uuidPort + `"]]]`}
	if diff := cmp.Diff(want, summary(t, planned(t, db, store, pod(0)))); diff != "" {
		t.Error(diff)
	}
	store.Delete(nodeOwner(0))
	want = []string{"delete Logical_Switch"}
	if diff := cmp.Diff(want, summary(t, planned(t, db, store, pod(0), nodeOwner(0)))); diff != "" {
		t.Error(diff)
	}
}

// A row of ours that somebody put into a set of theirs is taken out of that too: else it would live on.
func TestDeletedRowLeavesForeignSets(t *testing.T) {
	store := nbstate.NewStore()
	mustSet(t, store, pod(0), podOn(0, 0))
	store.Delete(pod(0))
	store.Synced()
	db := memory(t, map[string]model.Model{
		uuidSwitch: &nbdb.LogicalSwitch{Name: "theirs", Ports: []string{uuidPort, uuidOther}},
		uuidPort:   asInDatabase(pod(0), podOn(0, 0).Rows[0]),
		uuidOther:  &nbdb.LogicalSwitchPort{Name: "guest"},
	})
	want := []string{`mutate Logical_Switch [["ports","delete",["uuid","` + uuidPort + `"]]]`}
	if diff := cmp.Diff(want, summary(t, planned(t, db, store, pod(0)))); diff != "" {
		t.Error(diff)
	}
}

// A plan takes those along that it depends on. What refers to a row that cannot be there waits; a member that does keeps
// nothing else of its owner from going on.
func TestDependentsWait(t *testing.T) {
	store := nbstate.NewStore()
	nowhere := func(i int) nbstate.Desired {
		d := podOn(i, 0)
		d.Rows[0].Model.(*nbdb.LogicalSwitchPort).HaChassisGroup = &[]string{"nowhere"}[0]
		return d
	}
	mustSet(t, store, nodeOwner(0), nbstate.Desired{Rows: []nbstate.Row{switchRow(0)}})
	mustSet(t, store, pod(0), nowhere(0))
	mustSet(t, store, pod(1), podOn(1, 0))
	follower := nbstate.Owner{Kind: "Group", Name: "g"}
	group := nbstate.Key{Table: nbdb.PortGroupTable, ID: "g"}
	mustSet(t, store, follower, nbstate.Desired{
		Rows: []nbstate.Row{{ID: "g", Model: &nbdb.PortGroup{Name: "g"}}},
		Members: []nbstate.Member{
			{Parent: group, Column: "ports", Value: "namespace_pod-0"}, {Parent: group, Column: "ports", Value: "namespace_pod-1"},
			{Parent: switchKey(7), Column: "ports", Value: "namespace_pod-1"},
		},
	})
	tx := planned(t, memory(t, nil), store, follower)
	var plans []string
	for _, p := range slices.Concat(tx.stuck, tx.plans) {
		plans = append(plans, fmt.Sprint(p.owner, p.waits, p.late))
	}
	want := []string{
		"Pod/namespace/pod-0 [HA_Chassis_Group/nowhere] []",
		"Group/g [] [Logical_Switch/node-7 Logical_Switch_Port/namespace_pod-0]",
		"Pod/namespace/pod-1 [] []", "Node/node-0 [] []",
	}
	if diff := cmp.Diff(want, plans); diff != "" {
		t.Error(diff)
	}
	for _, op := range tx.ops {
		if set, _ := op.Row["ports"].(libovsdb.OvsSet); op.Op != libovsdb.OperationInsert ||
			op.Table != nbdb.LogicalSwitchPortTable && len(set.GoSet) != 1 {
			t.Errorf("%s %s %v: the group and the switch get the one port that is there", op.Op, op.Table, op.Row)
		}
	}
}

// A row that lives by its references begins with all that its owner wants: a port is not connected before it is in the group
// that restricts it. Once it is there, a group that is missing does not freeze it.
func TestRowsBeginWhole(t *testing.T) {
	store := nbstate.NewStore()
	d := podOn(0, 0)
	d.Members = append(d.Members, nbstate.Member{Parent: nbstate.Key{Table: nbdb.PortGroupTable, ID: "g"}, Column: "ports", Value: d.Rows[0].ID})
	mustSet(t, store, nodeOwner(0), nbstate.Desired{Rows: []nbstate.Row{switchRow(0)}})
	mustSet(t, store, pod(0), d)
	refuse := nbstate.Owner{Kind: "Group", Name: "g"}
	mustSet(t, store, refuse, nbstate.Desired{Rows: []nbstate.Row{{ID: "g", Model: &nbdb.PortGroup{Name: "g"}}, {ID: "x", Model: &nbdb.LogicalSwitchPort{
		Name: "x", HaChassisGroup: &[]string{"nowhere"}[0],
	}}}})
	changed := existing(t, func(_ *nbdb.LogicalSwitch, p *nbdb.LogicalSwitchPort) { p.Type = "x" })
	for name, tc := range map[string]struct {
		db   *database
		want []string
	}{
		"new":     {memory(t, nil), []string{"insert Logical_Switch"}},
		"changed": {changed, []string{`update Logical_Switch_Port {"type":""}`}},
	} {
		if diff := cmp.Diff(tc.want, summary(t, planned(t, tc.db, store, pod(0)))); diff != "" {
			t.Errorf("%s port: %s", name, diff)
		}
	}
}

func TestMergeKeys(t *testing.T) {
	for name, tc := range map[string]struct {
		want, have map[string]string
		ops        int
	}{
		"same":    {map[string]string{"a": "1"}, map[string]string{"a": "1", "b": "2"}, 0},
		"new":     {map[string]string{"a": "1"}, map[string]string{"b": "2"}, 1},
		"changed": {map[string]string{"a": "1"}, map[string]string{"a": "2"}, 2},
		"none":    {nil, map[string]string{"a": "2"}, 0},
	} {
		if got := mergeKeys("options", tc.want, tc.have); len(got) != tc.ops {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestJudge(t *testing.T) {
	ok, wait := libovsdb.OperationResult{Count: 1}, libovsdb.OperationResult{Error: "timed out", Details: "\"where\" clause test failed"}
	bad := libovsdb.OperationResult{Error: "constraint violation"}
	full := libovsdb.OperationResult{Error: "I/O error"}
	for name, tc := range map[string]struct {
		results []libovsdb.OperationResult
		err     error
		want    string
		index   int
	}{
		"committed":        {[]libovsdb.OperationResult{{}, ok, ok}, nil, resultCommitted, -1},
		"fence":            {[]libovsdb.OperationResult{wait, {}, {}}, nil, resultFenced, -1},
		"operation":        {[]libovsdb.OperationResult{{}, ok, bad}, nil, resultRefused, 1},
		"at commit":        {[]libovsdb.OperationResult{{}, ok, ok, bad}, nil, resultRefused, -1},
		"disk":             {[]libovsdb.OperationResult{{}, ok, ok, full}, nil, resultTransient, -1},
		"no connection":    {nil, ovsdb.ErrNotConnected, resultUnknown, -1},
		"no answer":        {nil, fmt.Errorf("%w: EOF", ovsdb.ErrUnknownOutcome), resultUnknown, -1},
		"refused at large": {nil, errors.New("no such column"), resultRefused, -1},
	} {
		if v := judge(tc.results, tc.err, 1, 3, true); v.result != tc.want || v.operation != tc.index {
			t.Errorf("%s: %s, operation %d; want %s, %d", name, v.result, v.operation, tc.want, tc.index)
		}
	}
}

func TestWindow(t *testing.T) {
	now := time.Unix(1000, 0)
	w := window{min: 10 * time.Millisecond, max: 50 * time.Millisecond}
	if d := w.delay(now); d != 0 {
		t.Errorf("the first transaction waits %s", d)
	}
	// Under load the next is always ready at once: it waits longer and longer, to a limit.
	last := time.Duration(0)
	for range 20 {
		w.sent(now, 2)
		d := w.delay(now)
		if d < last || d < w.min || d > w.max {
			t.Fatalf("the pause went from %s to %s", last, d)
		}
		last = d
		now = now.Add(d)
	}
	if last != w.max {
		t.Errorf("after lasting load the pause is %s, want %s", last, w.max)
	}
	// Single changes that follow each other closely do not wait for a load that is over.
	w.sent(now, 1)
	if d := w.delay(now); d > w.min {
		t.Errorf("a single change after a single change waits %s", d)
	}
	w.sent(now, 2)
	now = now.Add(time.Second)
	if d := w.delay(now); d != 0 {
		t.Errorf("after a rest the next waits %s", d)
	}
	w.sent(now, 2)
	if d := w.delay(now.Add(time.Millisecond)); d > 12*time.Millisecond {
		t.Errorf("after a rest the pause begins at %s", d)
	}
}

func TestRetryDelay(t *testing.T) {
	o := Options{}
	o.setDefaults()
	var got []time.Duration
	for _, failures := range []int{1, 2, 3, 7, 1000000} {
		got = append(got, o.retryDelay(failures))
	}
	want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, time.Minute, time.Minute}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestQueueWakesWaiters(t *testing.T) {
	q := newQueue()
	key := switchKey(0)
	q.wait(q.work(pod(1)), []nbstate.Key{key})
	refused := q.work(pod(2))
	refused.retryAt = time.Unix(1, 0)
	q.wait(refused, []nbstate.Key{key})
	q.wake(key, false)
	if diff := cmp.Diff([]nbstate.Owner{pod(1)}, q.take(10)); diff != "" {
		t.Errorf("the row is there: %s", diff)
	}
	q.wake(key, true)
	if got := q.take(10); len(got) != 2 {
		t.Errorf("the row has changed: %v", got)
	}
	q.forget(q.works[pod(1)])
	q.forget(q.works[pod(2)])
	if len(q.works)+len(q.waiters) != 0 {
		t.Errorf("left over: %v %v", q.works, q.waiters)
	}
}

func TestSameValue(t *testing.T) {
	one, two := "1", "2"
	for name, tc := range map[string]struct {
		a, b any
		want bool
	}{
		"order":        {[]string{"a", "b"}, []string{"b", "a"}, true},
		"nil set":      {[]string(nil), []string{}, true},
		"long order":   {strings.Split("abcdefghijk", ""), strings.Split("kjihgfedcba", ""), true},
		"long":         {strings.Split("abcdefghijk", ""), strings.Split("kjihgfedcbx", ""), false},
		"short":        {[]string{"a", "b"}, []string{"a", "c"}, false},
		"nil map":      {map[string]string(nil), map[string]string{}, true},
		"integers":     {map[string]int(nil), map[string]int{}, true},
		"integers too": {map[string]int{"a": 1}, map[string]int{"a": 2}, false},
		"pointer":      {&one, &two, false},
		"pointers":     {&one, &[]string{"1"}[0], true},
		"no pointer":   {&one, (*string)(nil), false},
	} {
		if got := sameValue(tc.a, tc.b); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// An update that found no row was overtaken by a deletion: nothing is done yet.
func TestMissedOperationIsDoneAgain(t *testing.T) {
	for _, count := range []int{0, 1} {
		m := NewMetrics(nil)
		var results []Result
		s := &Syncer{store: nbstate.NewStore(), queue: newQueue(), metrics: m,
			opts: Options{OnResult: func(r Result) { results = append(results, r) }}}
		mustSet(t, s.store, pod(0), podOn(0, 0))
		p := &plan{owner: pod(0), generation: s.store.Generation(pod(0)), updates: []update{{}}}
		s.committed(&transaction{plans: []*plan{p}, origins: []origin{{plans: []*plan{p}, hits: true}}},
			verdict{results: []libovsdb.OperationResult{{Count: count}}})
		if len(results) != count || len(s.queue.ready) != 1-count {
			t.Errorf("%d rows found: results %v, ready %v", count, results, s.queue.ready)
		}
	}
}
