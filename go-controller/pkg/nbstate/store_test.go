package nbstate

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ovn-org/libovsdb/model"
	"pgregory.net/rapid"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

func pod(name string) Owner { return Owner{Kind: "Pod", Name: name} }

func switchKey(id string) Key { return Key{Table: nbdb.LogicalSwitchTable, ID: id} }

func portRow(id, address string) Row {
	return Row{ID: id, Model: &nbdb.LogicalSwitchPort{Name: id, Addresses: []string{address}}}
}

func portOf(sw, port string) Member {
	return Member{Parent: switchKey(sw), Column: "ports", Value: port}
}

func mustSet(t testing.TB, s *Store, o Owner, d Desired) {
	t.Helper()
	if err := s.Set(o, d); err != nil {
		t.Fatal(err)
	}
}

func dirty(s *Store) string {
	var names []string
	for _, o := range s.TakeDirty() {
		names = append(names, o.Name)
	}
	return strings.Join(names, " ")
}

func woken(s *Store) bool {
	select {
	case <-s.Wake():
		return true
	default:
		return false
	}
}

func TestSetOfTheSameContentWakesNobody(t *testing.T) {
	s := NewStore()
	d := func() Desired {
		return Desired{Rows: []Row{portRow("p", "a")}, Members: []Member{portOf("s", "p"), portOf("t", "p")}}
	}
	mustSet(t, s, pod("a"), d())
	if !woken(s) || dirty(s) != "a" {
		t.Fatal("a first Set must wake the reconciler")
	}
	generation := s.Generation(pod("a"))
	again := d()
	slices.Reverse(again.Members)
	mustSet(t, s, pod("a"), again)
	if woken(s) || dirty(s) != "" || s.Generation(pod("a")) != generation {
		t.Error("the same content woke the reconciler")
	}
	for name, change := range map[string]Desired{
		"model":   {Rows: []Row{portRow("p", "b")}, Members: d().Members},
		"members": {Rows: d().Rows, Members: []Member{portOf("s", "p"), portOf("u", "p")}},
		"fewer":   {Rows: d().Rows},
		"nothing": {},
	} {
		mustSet(t, s, pod("a"), d())
		s.TakeDirty()
		woken(s)
		mustSet(t, s, pod("a"), change)
		if !woken(s) || dirty(s) != "a" {
			t.Errorf("%s: a change did not wake the reconciler", name)
		}
	}
}

func TestConflictNamesBothOwners(t *testing.T) {
	s := NewStore()
	mustSet(t, s, pod("a"), Desired{Rows: []Row{portRow("p", "x")}})
	mustSet(t, s, pod("b"), Desired{Rows: []Row{portRow("q", "x")}})
	before := s.Generation(pod("b"))
	err := s.Set(pod("b"), Desired{Rows: []Row{portRow("r", "x"), portRow("p", "x")}})
	var conflict *ConflictError
	if !errors.As(err, &conflict) {
		t.Fatalf("got %v, want a ConflictError", err)
	}
	want := ConflictError{Key: Key{nbdb.LogicalSwitchPortTable, "p"}, Owner: pod("b"), Holder: pod("a")}
	if diff := cmp.Diff(want, *conflict); diff != "" {
		t.Error(diff)
	}
	if s.Generation(pod("b")) != before {
		t.Error("a refused Set changed the store")
	}
	s.Delete(pod("a"))
	mustSet(t, s, pod("b"), Desired{Rows: []Row{portRow("p", "x")}})
}

func TestSetRefusesWhatCanNeverBeDone(t *testing.T) {
	for name, d := range map[string]Desired{
		"no ID":             {Rows: []Row{portRow("", "x")}},
		"twice":             {Rows: []Row{portRow("p", "x"), portRow("p", "y")}},
		"UUID":              {Rows: []Row{{ID: "p", Model: &nbdb.LogicalSwitchPort{UUID: "u"}}}},
		"not a model":       {Rows: []Row{{ID: "p", Model: "x"}}},
		"nil model":         {Rows: []Row{{ID: "p", Model: (*nbdb.LogicalSwitchPort)(nil)}}},
		"shared column":     {Rows: []Row{{ID: "s", Model: &nbdb.LogicalSwitch{Ports: []string{"p"}}}}},
		"not shared":        {Members: []Member{{Parent: switchKey("s"), Column: "other_config", Value: "v"}}},
		"empty member":      {Members: []Member{portOf("s", "")}},
		"member of nothing": {Members: []Member{portOf("", "p")}},
	} {
		s := NewStore()
		if err := s.Set(pod("a"), d); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if woken(s) || len(s.nodes) != 0 {
			t.Errorf("%s: a refused Set left something behind", name)
		}
	}
}

func TestMembersAreCountedByContributor(t *testing.T) {
	s := NewStore()
	m := Member{Parent: Key{nbdb.AddressSetTable, "as"}, Column: "addresses", Value: "10.0.0.1"}
	mustSet(t, s, pod("a"), Desired{Members: []Member{m, m}})
	mustSet(t, s, pod("b"), Desired{Members: []Member{m}})
	wanted := func() (ok bool) {
		s.Read(func(v View) { ok = v.Wanted(m) })
		return ok
	}
	s.Delete(pod("a"))
	if !wanted() {
		t.Error("a member went with the first of its two contributors")
	}
	s.Delete(pod("b"))
	if wanted() {
		t.Error("a member stays without a contributor")
	}
	if len(s.nodes) != 0 {
		t.Errorf("%d nodes are left over", len(s.nodes))
	}
}

func TestGoneIsRememberedUntilDone(t *testing.T) {
	s := NewStore()
	a := pod("a")
	mustSet(t, s, a, Desired{Rows: []Row{portRow("p", "x")}, Members: []Member{portOf("s", "p")}})
	first := s.Generation(a)
	mustSet(t, s, a, Desired{Rows: []Row{portRow("q", "x")}, Members: []Member{portOf("s", "q")}})
	mustSet(t, s, a, Desired{Rows: []Row{portRow("r", "x")}, Members: []Member{portOf("s", "q")}})
	gone := func() (keys, members int) {
		s.Read(func(v View) {
			o, _ := v.Owner(a)
			keys, members = len(o.GoneRows), len(o.GoneMembers)
		})
		return keys, members
	}
	if current, _ := s.Done(a, first); current {
		t.Error("Done accepted an old generation")
	}
	if k, m := gone(); k != 2 || m != 1 {
		t.Errorf("gone: %d rows, %d members; want 2, 1", k, m)
	}
	for _, want := range []bool{true, false} {
		if current, first := s.Done(a, s.Generation(a)); !current || first != want {
			t.Errorf("Done of the newest generation: %v, first %v; want first %v", current, first, want)
		}
	}
	if k, m := gone(); k != 0 || m != 0 {
		t.Errorf("gone after Done: %d rows, %d members", k, m)
	}
	s.Delete(a)
	s.Delete(a)
	if s.Generation(a) == 0 {
		t.Error("a deleted owner was forgotten before its deletion was carried out")
	}
	s.TakeDirty()
	if current, _ := s.Done(a, s.Generation(a)); !current || s.Generation(a) != 0 || len(s.nodes) != 0 || len(s.owners) != 0 {
		t.Error("a deleted owner is still there after Done")
	}
}

// Whoever refers to a row is woken when the row comes or goes.
func TestReferrersAreWoken(t *testing.T) {
	s := NewStore()
	mustSet(t, s, pod("member"), Desired{Members: []Member{portOf("s", "p")}})
	s.TakeDirty()
	steps := []struct {
		name string
		do   func()
		want string
	}{
		{"parent comes", func() {
			mustSet(t, s, pod("switch"), Desired{Rows: []Row{{ID: "s", Model: &nbdb.LogicalSwitch{}}}})
		}, "member switch"},
		{"row comes", func() { mustSet(t, s, pod("port"), Desired{Rows: []Row{portRow("p", "x")}}) }, "member port"},
		{"row changes", func() { mustSet(t, s, pod("port"), Desired{Rows: []Row{portRow("p", "y")}}) }, "port"},
		{"row goes", func() { s.Delete(pod("port")) }, "member port"},
		{"parent goes", func() { s.Delete(pod("switch")) }, "member switch"},
	}
	for _, step := range steps {
		step.do()
		if got := dirty(s); got != step.want {
			t.Errorf("%s: dirty %q, want %q", step.name, got, step.want)
		}
	}
}

// TestAgainstModel compares the store with a naive one over random histories.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := NewStore()
		want := map[Owner]Desired{}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			owner := pod(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "owner"))
			if rapid.IntRange(0, 4).Draw(rt, "delete") == 0 {
				s.Delete(owner)
				delete(want, owner)
				continue
			}
			d := drawDesired(rt)
			if err := s.Set(owner, d); (err != nil) != conflicts(want, owner, d) {
				rt.Fatalf("Set(%s): %v", owner, err)
			} else if err == nil {
				want[owner] = d
			}
		}
		compare(rt, s, want)
		for _, o := range []string{"a", "b", "c"} {
			s.Delete(pod(o))
		}
		if len(s.nodes) != 0 {
			rt.Fatalf("%d nodes are left over", len(s.nodes))
		}
	})
}

func drawDesired(rt *rapid.T) Desired {
	ids := []string{"1", "2", "3"}
	var d Desired
	for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 0, 3, rapid.ID).Draw(rt, "rows") {
		d.Rows = append(d.Rows, portRow(id, rapid.SampledFrom(ids).Draw(rt, "address")))
	}
	for range rapid.IntRange(0, 4).Draw(rt, "members") {
		d.Members = append(d.Members, portOf(rapid.SampledFrom(ids).Draw(rt, "switch"), rapid.SampledFrom(ids).Draw(rt, "port")))
	}
	return d
}

func conflicts(want map[Owner]Desired, owner Owner, d Desired) bool {
	for o, other := range want {
		for _, r := range other.Rows {
			if o != owner && slices.ContainsFunc(d.Rows, func(mine Row) bool { return mine.ID == r.ID }) {
				return true
			}
		}
	}
	return false
}

func compare(rt *rapid.T, s *Store, want map[Owner]Desired) {
	rows, members := map[Key]model.Model{}, map[Member]bool{}
	for _, d := range want {
		for _, r := range d.Rows {
			rows[Key{nbdb.LogicalSwitchPortTable, r.ID}] = r.Model
		}
		for _, m := range d.Members {
			members[m] = true
		}
	}
	s.Read(func(v View) {
		for _, a := range []string{"1", "2", "3"} {
			key := Key{nbdb.LogicalSwitchPortTable, a}
			if _, m, ok := v.Row(key); ok != (rows[key] != nil) || ok && !reflect.DeepEqual(m, rows[key]) {
				rt.Fatalf("row %s: %v, %v", key, m, ok)
			}
			for _, b := range []string{"1", "2", "3"} {
				m := portOf(a, b)
				if v.Wanted(m) != members[m] {
					rt.Fatalf("member %v: %v, want %v", m, v.Wanted(m), members[m])
				}
			}
			n := 0
			for range v.Members(switchKey(a), "ports") {
				n++
			}
			for m := range members {
				if m.Parent == switchKey(a) {
					n--
				}
			}
			if n != 0 {
				rt.Fatalf("switch %s has %d members too many", a, n)
			}
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	s := NewStore()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				name := fmt.Sprintf("%d-%d", g, i%10)
				mustSet(t, s, pod(name), Desired{Rows: []Row{portRow(name, fmt.Sprint(i))}, Members: []Member{portOf("s", name)}})
				if i%3 == 0 {
					s.Delete(pod(name))
				}
			}
		})
	}
	wg.Go(func() {
		for range 200 {
			for _, o := range s.TakeDirty() {
				s.Done(o, s.Generation(o))
			}
			s.Read(func(v View) {
				for range v.Members(switchKey("s"), "ports") {
				}
			})
		}
	})
	wg.Wait()
}

func BenchmarkSet20000(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		s := NewStore()
		for i := range 20000 {
			name := fmt.Sprintf("namespace_pod-%d", i)
			mustSet(b, s, pod(name), Desired{Rows: []Row{portRow(name, "x")}, Members: []Member{portOf(fmt.Sprint(i%500), name)}})
		}
	}
}
