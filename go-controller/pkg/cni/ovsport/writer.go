package ovsport

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/vswitchdb"
)

// errNoBridge says that the node agent has not made the integration bridge yet, or somebody deleted it.
var errNoBridge = errors.New("there is no bridge " + names.IntegrationBridge)

// errStalePlan says that the connection was replaced while a transaction was made up.
var errStalePlan = errors.New("the database was connected again meanwhile")

// isTemporary tells errors that go away by themselves.
func isTemporary(err error) bool {
	return errors.Is(err, errNoBridge) || errors.Is(err, errStalePlan) || errors.Is(err, ovsdb.ErrNotConnected) || errors.Is(err, ovsdb.ErrUnknownOutcome)
}

// change is what one caller wants.
type change struct {
	add    *Port
	remove []string
}

// overlaps tells whether two changes must not go into one transaction.
func (c change) overlaps(d change) bool {
	return c.add != nil && d.add != nil && (c.add.Name == d.add.Name || c.add.LogicalPort == d.add.LogicalPort)
}

type pending struct {
	change
	ctx  context.Context
	done chan error
}

// writer sends the changes of all callers. It has one transaction in flight at a time; what is asked for meanwhile
// goes into the next: no change waits for a timer, and a burst makes few transactions. Each one costs
// ovs-vswitchd a reconfiguration of the whole bridge.
type writer struct {
	table *Table
	wake  chan struct{}
	ended chan struct{}

	mu    sync.Mutex
	queue []*pending
}

func newWriter(t *Table) *writer {
	return &writer{table: t, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

// do queues the change and waits for its transaction.
func (w *writer) do(ctx context.Context, c change) error {
	p := &pending{change: c, ctx: ctx, done: make(chan error, 1)}
	w.mu.Lock()
	w.queue = append(w.queue, p)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.ended:
		return ovsdb.ErrNotConnected
	}
}

func (w *writer) run(ctx context.Context) {
	defer close(w.ended)
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		for batch := w.take(); len(batch) > 0; batch = w.take() {
			w.commit(ctx, batch)
		}
	}
}

// take removes from the queue what may go into one transaction, and drops what nobody waits for.
func (w *writer) take() []*pending {
	w.mu.Lock()
	defer w.mu.Unlock()
	var batch, rest []*pending
	for _, p := range w.queue {
		switch {
		case p.ctx.Err() != nil:
		case overlapsAny(batch, p.change):
			rest = append(rest, p)
		default:
			batch = append(batch, p)
		}
	}
	w.queue = rest
	return batch
}

func overlapsAny(batch []*pending, c change) bool {
	for _, p := range batch {
		if p.overlaps(c) {
			return true
		}
	}
	return false
}

// commit sends the batch in one transaction; when the server refuses it, each change alone, so that
// one bad change fails nobody else's.
func (w *writer) commit(ctx context.Context, batch []*pending) {
	err := w.transact(ctx, batch)
	if err == nil || isTemporary(err) || len(batch) == 1 {
		for _, p := range batch {
			p.done <- err
		}
		return
	}
	for _, p := range batch {
		p.done <- w.transact(ctx, []*pending{p})
	}
}

func (w *writer) transact(ctx context.Context, batch []*pending) error {
	bridge := w.table.bridge()
	if bridge == nil && !w.table.Connected() {
		return ovsdb.ErrNotConnected
	}
	epoch := w.table.client.Epoch()
	ops := w.plan(batch)
	if len(ops) == 0 {
		return nil
	}
	if bridge == nil {
		return errNoBridge
	}
	results, err := w.table.client.Transact(ctx, ops...)
	if err != nil {
		return fmt.Errorf("port transaction: %w", err)
	}
	if i, err := ovsdb.CheckResults(results, len(ops)); err != nil {
		if w.table.client.Epoch() != epoch {
			// Planned with the contents of the last connection, sent on the next.
			return errors.Join(errStalePlan, err)
		}
		return fmt.Errorf("port transaction, operation %d: %w", i, err)
	}
	if results[len(ops)-1].Count == 0 {
		// The last operation always mutates the bridge: it went between plan and commit.
		return errNoBridge
	}
	return nil
}

// plan compares the batch with the cache and returns the operations that are needed. The last one, if
// there is any, mutates the bridge.
func (w *writer) plan(batch []*pending) []libovsdb.Operation {
	old := w.existing(batch)
	var ops []libovsdb.Operation
	var insert, remove []libovsdb.UUID
	for n, p := range batch {
		for _, name := range p.remove {
			remove = append(remove, old.byName(name)...)
		}
		if p.add == nil {
			continue
		}
		if s, ok := w.table.Get(p.add.Name); ok && len(s.Differences(*p.add)) == 0 {
			remove = append(remove, old.byLogicalPort(p.add.LogicalPort, p.add.Name)...)
			continue
		}
		remove = append(remove, old.byName(p.add.Name)...)
		remove = append(remove, old.byLogicalPort(p.add.LogicalPort, p.add.Name)...)
		rows, uuid := p.add.insertOps(strconv.Itoa(n))
		ops = append(ops, rows...)
		insert = append(insert, uuid)
	}
	if len(remove) > 0 {
		ops = append(ops, mutateBridge(libovsdb.MutateOperationDelete, remove))
	}
	if len(insert) > 0 {
		ops = append(ops, mutateBridge(libovsdb.MutateOperationInsert, insert))
	}
	return ops
}

// existingPorts are the rows in the cache that a batch may have to remove.
type existingPorts struct {
	uuids    map[string]string
	logicals map[string][]string
}

func (w *writer) existing(batch []*pending) existingPorts {
	e := existingPorts{uuids: map[string]string{}, logicals: map[string][]string{}}
	for uuid, p := range ovsdb.Rows[vswitchdb.Port](w.table.client) {
		e.uuids[p.Name] = uuid
	}
	wanted := map[string]bool{}
	for _, p := range batch {
		if p.add != nil {
			wanted[p.add.LogicalPort] = true
		}
	}
	if len(wanted) == 0 {
		return e
	}
	for _, i := range ovsdb.Rows[vswitchdb.Interface](w.table.client) {
		if id := i.ExternalIDs[names.IfaceID]; wanted[id] {
			e.logicals[id] = append(e.logicals[id], i.Name)
		}
	}
	return e
}

func (e existingPorts) byName(name string) []libovsdb.UUID {
	if uuid, ok := e.uuids[name]; ok {
		return []libovsdb.UUID{{GoUUID: uuid}}
	}
	return nil
}

// byLogicalPort returns the ports for a logical port, but for the one named except.
func (e existingPorts) byLogicalPort(id, except string) []libovsdb.UUID {
	var out []libovsdb.UUID
	for _, name := range e.logicals[id] {
		if name != except {
			out = append(out, e.byName(name)...)
		}
	}
	return out
}
