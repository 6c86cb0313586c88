package openflow

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
)

// Keeper keeps flows on a bridge. While it watches (Watch), it knows when the bridge still has what it has written: then
// only what differs from the last call is written, and Open vSwitch need not be asked for all its flows. Ensure and Add are
// called from one goroutine.
type Keeper struct {
	Bridge
	// Learned are tables for flows that the bridge makes itself (learn). What comes and goes there without Cookie is nobody's change.
	Learned []int

	mu      sync.Mutex
	monitor *monitor
	// have are the flows that the bridge has, by what makes them different, as long as on has counted known changes; nil: not
	// known.
	have  map[string]string
	on    *monitor
	known uint64

	// made are texts of the last call, by Flow.Same. It is used by one call at a time.
	made map[any]rendered
}

// rendered is a flow's text, and the part of it that makes it another flow.
type rendered struct{ key, text string }

// Ensure makes the flows the only ones on the bridge that have its cookie, in one bundle, and returns what it
// changed: nothing when all was so already. Others' flows stay, but for those in whose place ours must be.
func (k *Keeper) Ensure(ctx context.Context, flows []Flow) ([]Change, error) {
	want, err := k.render(flows)
	if err != nil {
		return nil, err
	}
	m, before, have := k.state()
	var todo []Change
	if have != nil {
		todo = delta(have, want, k.Cookie)
	} else if todo, err = k.compare(ctx, want); err != nil {
		return nil, err
	}
	if have != nil && len(todo) == 0 {
		return nil, nil
	}
	k.forget()
	if m == nil {
		return todo, k.apply(ctx, todo)
	}
	m.limit(k.tablesOf(flows))
	m.hold()
	if err := k.apply(ctx, todo); err != nil {
		m.release(before)
		return nil, err
	}
	after, err := m.settled(ctx)
	if err != nil || after-before != uint64(len(todo)) { // somebody else has changed flows, too
		m.release(before)
		return todo, nil //nolint:nilerr // the flows are written; that they are not watched shows elsewhere
	}
	k.remember(m, after, want)
	m.release(after)
	return todo, nil
}

// Add makes sure of the flows and leaves all others, like Ensure for a list that may not be complete.
func (k *Keeper) Add(ctx context.Context, flows []Flow) ([]Change, error) {
	want, err := k.render(flows)
	if err != nil {
		return nil, err
	}
	todo, err := k.compare(ctx, want)
	if err != nil {
		return nil, err
	}
	k.forget()
	todo = slices.DeleteFunc(todo, func(c Change) bool { return c.Delete })
	return todo, k.apply(ctx, todo)
}

// Watch calls notify whenever somebody else has changed flows of ours, or flows in their tables, and once at the beginning. It returns
// when the bridge or ovs-vswitchd goes away, or ctx ends.
func (k *Keeper) Watch(ctx context.Context, notify func()) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", k.Socket)
	if err != nil {
		return fmt.Errorf("watch the flows of %s: %w", k.Name, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	m := newMonitor(conn, k.Cookie, notify)
	m.limit(allTables().without(k.Learned))
	k.use(m)
	defer k.use(nil)
	return fmt.Errorf("watch the flows of %s: %w", k.Name, m.run())
}

func (k *Keeper) use(m *monitor) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.monitor = m
}

// state returns the monitor, its count, and the flows that the bridge has, if that is known.
func (k *Keeper) state() (m *monitor, count uint64, have map[string]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.monitor == nil {
		return nil, 0, nil
	}
	count = k.monitor.total()
	if k.on == k.monitor && count == k.known {
		have = k.have
	}
	return k.monitor, count, have
}

func (k *Keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.have = nil
}

func (k *Keeper) remember(m *monitor, count uint64, flows []rendered) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.have, k.on, k.known = make(map[string]string, len(flows)), m, count
	for _, f := range flows {
		k.have[f.key] = f.text
	}
}

func (k *Keeper) render(flows []Flow) ([]rendered, error) {
	out, made := make([]rendered, len(flows)), map[any]rendered{}
	for i, f := range flows {
		r, ok := k.made[f.Same]
		if f.Same == nil || !ok {
			text, err := f.Text(k.Cookie)
			if err != nil {
				return nil, err
			}
			key, _, _ := strings.Cut(text, ",idle_timeout=") // table, priority and match stand before
			r = rendered{key, text}
		}
		if f.Same != nil {
			made[f.Same] = r
		}
		out[i] = r
	}
	k.made = made
	return out, nil
}

// tablesOf are the tables of flows, but for those of learned ones.
func (k *Keeper) tablesOf(flows []Flow) (out tables) {
	for _, f := range flows {
		out[uint8(f.Table)] = true
	}
	return out.without(k.Learned)
}

// delta are the changes from one list of flows of ours to another: first what comes, then what goes.
func delta(have map[string]string, want []rendered, cookie uint64) []Change {
	var out []Change
	wanted := make(map[string]struct{}, len(want))
	for _, f := range want {
		if _, twice := wanted[f.key]; !twice && have[f.key] != f.text {
			out = append(out, Change{Flow: f.text})
		}
		wanted[f.key] = struct{}{}
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if _, ok := wanted[key]; !ok {
			out = append(out, Change{Delete: true, Flow: fmt.Sprintf("cookie=%#x/-1,%s", cookie, key)})
		}
	}
	return out
}
