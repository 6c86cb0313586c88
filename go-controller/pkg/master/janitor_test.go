package master

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

// fakeChassis is a southbound database: chassis by hostname.
type fakeChassis struct {
	mu      sync.Mutex
	chassis map[string][]chassis
	refuse  error
	// deleted is called after each deletion; a running ovn-controller registers again.
	deleted   func()
	deletions int
}

func (f *fakeChassis) chassisOf(hostname string) []chassis {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.chassis[hostname])
}

func (f *fakeChassis) put(hostname string, of ...chassis) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chassis[hostname] = of
}

func (f *fakeChassis) deleteChassis(_ context.Context, names []string) error {
	f.mu.Lock()
	refuse, deleted := f.refuse, f.deleted
	if refuse == nil {
		f.deletions++
		for host, of := range f.chassis {
			f.chassis[host] = slices.DeleteFunc(of, func(c chassis) bool { return slices.Contains(names, c.name) })
		}
	}
	f.mu.Unlock()
	if refuse == nil && deleted != nil {
		deleted()
	}
	return refuse
}

func (f *fakeChassis) onDelete(deleted func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deleted = deleted
}

// count is how many deletions there were.
func (f *fakeChassis) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.deletions
}

// names are those of the chassis that are there.
func (f *fakeChassis) names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, of := range f.chassis {
		for _, c := range of {
			out = append(out, c.name)
		}
	}
	slices.Sort(out)
	return out
}

// startJanitor runs a janitor until the test's end, as run does.
func startJanitor(t *testing.T, sb *fakeChassis, whileHeld permission, nodes ...string) *janitor {
	t.Helper()
	mirror := kube.NewNodeMirror()
	for _, name := range nodes {
		mirror.Put(&kube.Node{Name: name})
	}
	j := newJanitor(config.Database{}, mirror, newMetrics(nil), whileHeld)
	j.sb = sb
	for host := range sb.chassis {
		j.worker.Add(host) // The first copy of the database.
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { j.worker.Run(ctx, 1) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return j
}

// Names of former nodes are not kept for ever, with or without a chassis.
func TestJanitorForgetsFormerNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := &fakeChassis{chassis: map[string][]chassis{"gone": {{name: "gone", ours: true}}, "stranger": {{name: "stranger", ours: true}}}}
		j := startJanitor(t, sb, always)
		j.nodeGone("gone")
		j.nodeGone("never-had-one")
		known := func() int {
			j.mu.Lock()
			defer j.mu.Unlock()
			return len(j.former)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := known(); n != 3 {
			t.Errorf("%d names are known, want those of both nodes and of the chassis that nobody knows", n)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := known(); n != 0 || sb.count() != 2 {
			t.Errorf("%d names are still known after %d deletions", n, sb.count())
		}
	})
}

func TestJanitorTouchesFormerNodesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := &fakeChassis{refuse: errors.New("away"), chassis: map[string][]chassis{
			"gone": {{name: "gone-1"}, {name: "gone-2", ours: true}}, "back": {{name: "back", ours: true}},
			"stranger": {{name: "stranger"}}, "former": {{name: "former", ours: true}, {name: "other"}},
		}}
		j := startJanitor(t, sb, always, "back")
		for _, name := range []string{"gone", "back", "never-had-one"} {
			j.nodeGone(name)
		}
		time.Sleep(10 * time.Second)
		if got := len(sb.names()); got != 6 {
			t.Fatalf("%d chassis, want 6: the database refuses", got)
		}
		sb.mu.Lock()
		sb.refuse = nil
		sb.mu.Unlock()
		time.Sleep(30 * time.Second)
		if diff := cmp.Diff([]string{"back", "former", "other", "stranger"}, sb.names()); diff != "" {
			t.Errorf("chassis after what was refused is tried again (-want +got):\n%s", diff)
		}
		// The former node's went before this master led: only the mark tells, and a new node may be late.
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"back", "other", "stranger"}, sb.names()); diff != "" {
			t.Errorf("chassis in the end (-want +got):\n%s", diff)
		}
	})
}

func TestJanitorWaitsForANewNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := &fakeChassis{chassis: map[string][]chassis{}}
		j := startJanitor(t, sb, always)
		sb.put("new", chassis{name: "1", ours: true})
		j.worker.Add("new")
		time.Sleep(50 * time.Second)
		j.nodes.Put(&kube.Node{Name: "new"})
		time.Sleep(time.Hour)
		if got := sb.names(); len(got) != 1 {
			t.Errorf("chassis %v, want that of the node: its machine was only faster than its registration", got)
		}
	})
}

func TestJanitorAndALiveControllerDoNotFightAtFullSpeed(t *testing.T) {
	for name, ours := range map[string]bool{"marked": true, "without mark": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := &fakeChassis{chassis: map[string][]chassis{"gone": {{name: "1", ours: ours}}}}
				j := startJanitor(t, sb, always)
				register := func() { sb.put("gone", chassis{name: "1", ours: ours}); j.worker.Add("gone") }
				sb.onDelete(register)
				j.nodeGone("gone")
				synctest.Wait()
				if got := sb.count(); got != 1 {
					t.Errorf("%d deletions at once, want 1", got)
				}
				time.Sleep(10 * time.Second)
				if got := sb.count(); got != 4 { // After 0, 1, 3 and 7 s.
					t.Errorf("%d deletions in 10 s, want 4", got)
				}
				time.Sleep(2 * time.Hour)
				if got := sb.count(); got < 24 || got > 40 {
					t.Errorf("%d deletions in two hours, want one in five minutes", got)
				}
				// The machine is a node again: its chassis stays.
				j.nodes.Put(&kube.Node{Name: "gone"})
				before := sb.count()
				time.Sleep(time.Hour)
				if got := sb.names(); len(got) != 1 || sb.count() != before {
					t.Errorf("chassis %v, %d deletions of a node's", got, sb.count()-before)
				}
				// It goes for good, and is switched off before.
				sb.onDelete(nil)
				j.nodes.Remove("gone")
				j.nodeGone("gone")
				synctest.Wait()
				if got := sb.names(); len(got) != 0 {
					t.Errorf("chassis %v, want none: deleted at once", got)
				}
			})
		})
	}
}

func TestMark(t *testing.T) {
	for value, want := range map[string]bool{
		"": false, "ovnkube": true, "enable-chassis-as-gw,ovnkube": true, "ovnkube-like": false, "enable-chassis-as-gw": false,
	} {
		if got := marked(map[string]string{"ovn-cms-options": value}); got != want {
			t.Errorf("marked with %q: %v, want %v", value, got, want)
		}
	}
	if marked(nil) {
		t.Error("a chassis without options is marked")
	}
}
