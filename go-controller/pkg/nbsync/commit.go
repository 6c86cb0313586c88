package nbsync

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

// verdict is what became of a transaction.
type verdict struct {
	result string // one of the results of metrics.go
	// operation is the index, in transaction.ops, of the one that was refused; -1 when it is the whole.
	operation int
	results   []libovsdb.OperationResult // of transaction.ops
	err       error
}

// pass does one batch of those who are ready.
func (s *Syncer) pass(ctx context.Context) error {
	return s.attempt(ctx, s.queue.take(s.opts.MaxOwners), nil)
}

// attempt compares owners with the database and commits what differs in one transaction. When the server
// refuses it, the owners are tried in smaller groups until the ones at fault are alone. only, when not
// nil, are the owners that may take part.
func (s *Syncer) attempt(ctx context.Context, owners []nbstate.Owner, only map[nbstate.Owner]bool) error {
	tx, b := s.prepare(owners, only)
	s.settleStuck(tx.stuck, b)
	if len(tx.ops) == 0 {
		for _, p := range tx.plans {
			s.finish(p)
		}
		return nil
	}
	v := s.send(ctx, tx)
	switch v.result {
	case resultCommitted:
		s.committed(tx, v)
		return nil
	case resultRefused:
		return s.bisect(ctx, tx, v)
	case resultFenced:
		s.requeue(tx.plans)
		if err := s.fenceLost(); err != nil {
			return err
		}
		return nil
	case resultTransient:
		d := s.pause.next()
		s.resumeAt = time.Now().Add(d)
		klog.FromContext(ctx).Error(v.err, "The northbound database cannot take transactions now; trying again", "after", d)
	default:
		klog.FromContext(ctx).Info("Northbound transaction without an answer; comparing again after the reconnect", "err", v.err)
	}
	s.requeue(tx.plans)
	return nil
}

// prepare plans owners, until the transaction is full, and those that they refer to. The rest stays ready.
func (s *Syncer) prepare(owners []nbstate.Owner, only map[nbstate.Owner]bool) (tx *transaction, b *batch) {
	s.read(func(db *database, v nbstate.View) {
		b = newBatch(db, s.store, v)
		b.leftovers = s.queue.leftovers
		b.mayPull = s.queue.mayPull
		if only != nil {
			b.mayPull = func(o nbstate.Owner) bool { return only[o] }
		}
		for i, owner := range owners {
			if only == nil && s.opts.full(i, b.rowChanges, b.memberChanges) {
				s.queue.putBack(owners[i:])
				break
			}
			b.add(owner)
		}
		tx = b.transaction()
	})
	return tx, b
}

// send transacts with the fence in front.
func (s *Syncer) send(ctx context.Context, tx *transaction) verdict {
	if err := s.observe(); err != nil {
		return verdict{result: resultFenced, operation: -1, err: err}
	}
	guard := s.fence.ops()
	ops := append(guard, tx.ops...)
	began := time.Now()
	results, err := s.client.Transact(ctx, ops...)
	ended := time.Now()
	s.window.sent(ended, tx.changes())
	v := judge(results, err, len(guard), len(ops), s.fence.state != fenceOff)
	s.metrics.transactions.WithLabelValues(v.result).Inc()
	s.metrics.duration.Observe(ended.Sub(began).Seconds())
	if v.result == resultCommitted {
		s.pause.reset()
		s.metrics.operations.Observe(float64(len(ops)))
		s.metrics.batchOwners.Observe(float64(len(tx.plans)))
	}
	return v
}

// judge tells a transaction's fate from its reply.
func judge(results []libovsdb.OperationResult, err error, guard, ops int, fenced bool) verdict {
	v := verdict{result: resultCommitted, operation: -1, err: err}
	switch {
	case errors.Is(err, ovsdb.ErrUnknownOutcome), errors.Is(err, ovsdb.ErrNotConnected):
		v.result = resultUnknown
		return v
	case err != nil:
		v.result = resultRefused
		return v
	}
	index, err := ovsdb.CheckResults(results, ops)
	if err == nil {
		v.results = results[guard:]
		return v
	}
	v.err = err
	switch {
	case fenced && index >= 0 && index < guard:
		v.result = resultFenced
	case isTransient(err):
		v.result = resultTransient
	default:
		v.result = resultRefused
		if index >= 0 {
			v.operation = index - guard
		}
	}
	return v
}

// isTransient recognizes refusals that are about the server's state, not about what was sent.
// See RFC 7047, section 3.1, and ovsdb-server(7).
func isTransient(err error) bool {
	for _, e := range []string{"I/O error", "resources exhausted", "not leader", "not allowed", "canceled", "cluster error", "not owner", "timed out"} {
		if strings.HasPrefix(err.Error(), e) {
			return true
		}
	}
	return false
}

// committed settles the plans of a transaction that was committed. Those whose rows were gone when it was
// carried out are done again.
func (s *Syncer) committed(tx *transaction, v verdict) {
	missed := map[*plan]bool{}
	for i, o := range tx.origins {
		if o.hits && v.results[i].Count == 0 {
			for _, p := range o.plans {
				missed[p] = true
			}
		}
	}
	s.rejoin(tx)
	for _, p := range tx.plans {
		if missed[p] {
			s.queue.enqueue(p.owner)
			continue
		}
		if w, ok := s.queue.works[p.owner]; ok && w.audited && p.size() > 0 {
			s.metrics.repairs.Inc()
		}
		s.finish(p)
	}
}

// rejoin makes those ready who contribute a row that was inserted, or contribute to it, and had no part in
// the transaction: what they did before went with an earlier row of the same ID.
func (s *Syncer) rejoin(tx *transaction) {
	in := make(map[nbstate.Owner]struct{}, len(tx.plans))
	for _, p := range tx.plans {
		in[p.owner] = struct{}{}
	}
	s.store.Read(func(v nbstate.View) {
		for _, p := range tx.plans {
			for _, i := range p.inserts {
				s.enqueueOthers(v.ContributorsTo(i.key), in)
				s.enqueueOthers(slices.Values(v.ContributorsOf(i.key)), in)
			}
		}
	})
}

func (s *Syncer) enqueueOthers(owners iter.Seq[nbstate.Owner], in map[nbstate.Owner]struct{}) {
	for owner := range owners {
		if _, ok := in[owner]; !ok {
			s.queue.enqueue(owner)
		}
	}
}

// bisect narrows a refusal down to single owners.
func (s *Syncer) bisect(ctx context.Context, tx *transaction, v verdict) error {
	var suspects []*plan
	for _, p := range tx.plans {
		if p.size() == 0 {
			s.finish(p)
			continue
		}
		suspects = append(suspects, p)
	}
	if len(suspects) == 1 {
		s.refused(ctx, suspects[0], v.err)
		return nil
	}
	if v.operation >= 0 {
		// The server names the operation: often it is one owner's alone.
		if o := tx.origins[v.operation]; len(o.plans) == 1 {
			s.refused(ctx, o.plans[0], v.err)
			rest := slices.DeleteFunc(suspects, func(p *plan) bool { return p == o.plans[0] })
			return s.attemptOnly(ctx, rest)
		}
	}
	half := len(suspects) / 2
	if err := s.attemptOnly(ctx, suspects[:half]); err != nil {
		return err
	}
	return s.attemptOnly(ctx, suspects[half:])
}

func (s *Syncer) attemptOnly(ctx context.Context, plans []*plan) error {
	owners := make([]nbstate.Owner, len(plans))
	only := make(map[nbstate.Owner]bool, len(plans))
	for i, p := range plans {
		owners[i] = p.owner
		only[p.owner] = true
	}
	if ctx.Err() != nil {
		s.requeue(plans)
		return nil
	}
	return s.attempt(ctx, owners, only)
}

// finish settles an owner whose plan is in the database, or all of it that could be.
func (s *Syncer) finish(p *plan) {
	if len(p.late) > 0 {
		for _, key := range p.rows {
			s.queue.wake(key, p.size() > 0)
		}
		s.park(p)
		return
	}
	failed := false
	if w, ok := s.queue.works[p.owner]; ok {
		failed = w.err != nil
		s.queue.forget(w)
	}
	for _, key := range p.rows {
		s.queue.wake(key, p.size() > 0)
	}
	if p.deferred {
		return // done again when the store is synced
	}
	if current, first := s.store.Done(p.owner, p.generation); current && (first || failed) {
		s.opts.OnResult(Result{Owner: p.owner, Generation: p.generation, Deleted: p.deleted})
	}
}

// refused settles, for now, an owner that the server refused. What it collides with may have come since it
// was planned; then a plan of now tells more than the server does. The server sends what it had committed
// before it answers.
func (s *Syncer) refused(ctx context.Context, p *plan, err error) {
	tx, _ := s.prepare([]nbstate.Owner{p.owner}, map[nbstate.Owner]bool{p.owner: true})
	for _, now := range tx.stuck {
		if now.owner == p.owner && now.err != nil {
			p, err = now, now.err
		}
	}
	s.fail(ctx, p, err)
}

// fail settles, for now, an owner that cannot be done.
func (s *Syncer) fail(ctx context.Context, p *plan, err error) {
	w := s.queue.work(p.owner)
	w.err, w.generation = err, p.generation
	w.failures++
	d := s.opts.retryDelay(w.failures)
	w.retryAt = time.Now().Add(d)
	s.queue.wait(w, slices.Concat(p.refs, p.waits, p.late))
	klog.FromContext(ctx).Error(err, "Cannot bring an owner's rows into the northbound database; trying again", "owner", p.owner, "after", d, "failures", w.failures)
	s.opts.OnResult(Result{Owner: p.owner, Generation: p.generation, Deleted: p.deleted, Err: err})
}

// settleStuck parks the owners that wait for rows, and fails those that can never be done as they are.
func (s *Syncer) settleStuck(stuck []*plan, b *batch) {
	if len(stuck) == 0 {
		return
	}
	for _, p := range stuck {
		if p.err != nil {
			s.fail(context.Background(), p, p.err)
			continue
		}
		s.park(p)
	}
	// Rows that only lack a reference are inserted together with it: those who would refer to them go next
	// and pull them in.
	in := map[nbstate.Owner]struct{}{}
	for owner := range b.plans {
		in[owner] = struct{}{}
	}
	s.store.Read(func(v nbstate.View) {
		for _, p := range stuck {
			if p.err != nil || len(p.unkept) < len(p.waits) {
				continue
			}
			for _, key := range p.unkept {
				s.enqueueOthers(maps.Keys(s.queue.waiters[key]), in)
				s.enqueueOthers(slices.Values(v.ContributorsOf(key)), in)
			}
		}
	})
}

// park lets an owner wait for the rows that it lacks.
func (s *Syncer) park(p *plan) {
	missing := slices.Concat(p.waits, p.late)
	w := s.queue.work(p.owner)
	s.queue.wait(w, missing)
	w.failures, w.retryAt = 0, time.Time{}
	err := &WaitError{Keys: missing}
	if w.err == nil || w.generation != p.generation || w.err.Error() != err.Error() {
		w.err, w.generation = err, p.generation
		s.opts.OnResult(Result{Owner: p.owner, Generation: p.generation, Deleted: p.deleted, Err: err})
	}
}

// requeue makes owners ready again whose transaction had no outcome.
func (s *Syncer) requeue(plans []*plan) {
	for _, p := range plans {
		s.queue.enqueue(p.owner)
	}
}
