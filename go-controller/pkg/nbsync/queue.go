package nbsync

import (
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
)

// work is an owner for which something is to be done, now or later.
type work struct {
	owner     nbstate.Owner
	queued    bool
	audited   bool // queued by an audit alone
	leftovers *leftovers

	err        error // why it was not done so far
	generation uint64
	failures   int
	retryAt    time.Time     // zero unless refused
	waiting    []nbstate.Key // rows whose coming wakes it
}

// leftovers are rows and members in the database that the owner does not remember wanting.
type leftovers struct {
	rows    map[rowRef]struct{}
	members map[stray]struct{}
}

// stray is a member that nobody wants, and its value in the database.
type stray struct {
	member nbstate.Member
	value  string
}

// queue holds the owners for which something is to be done. It belongs to Run's goroutine.
type queue struct {
	works   map[nbstate.Owner]*work
	ready   []nbstate.Owner // queued, oldest first
	waiters map[nbstate.Key]map[nbstate.Owner]struct{}
}

func newQueue() *queue {
	return &queue{works: map[nbstate.Owner]*work{}, waiters: map[nbstate.Key]map[nbstate.Owner]struct{}{}}
}

func (q *queue) work(owner nbstate.Owner) *work {
	w, ok := q.works[owner]
	if !ok {
		w = &work{owner: owner}
		q.works[owner] = w
	}
	return w
}

// enqueue makes an owner ready.
func (q *queue) enqueue(owner nbstate.Owner) *work {
	w := q.work(owner)
	w.audited = false
	if !w.queued {
		w.queued = true
		q.ready = append(q.ready, owner)
	}
	return w
}

// enqueueForAudit makes an owner ready; what is found then was missed by events.
func (q *queue) enqueueForAudit(owner nbstate.Owner) *work {
	if w, ok := q.works[owner]; ok && w.queued {
		return w
	}
	w := q.enqueue(owner)
	w.audited = true
	return w
}

// take returns up to n owners in the order in which they became ready.
func (q *queue) take(n int) []nbstate.Owner {
	n = min(n, len(q.ready))
	out := q.ready[:n:n]
	q.ready = q.ready[n:]
	if len(q.ready) == 0 {
		q.ready = nil
	}
	for _, o := range out {
		q.works[o].queued = false
	}
	return out
}

// putBack makes owners that were taken ready again, before all others.
func (q *queue) putBack(owners []nbstate.Owner) {
	back := make([]nbstate.Owner, 0, len(owners)+len(q.ready))
	for _, o := range owners {
		if w := q.work(o); !w.queued {
			w.queued = true
			back = append(back, o)
		}
	}
	q.ready = append(back, q.ready...)
}

// mayPull tells whether an owner may join a transaction because others refer to its rows: not while it is
// known to be refused.
func (q *queue) mayPull(owner nbstate.Owner) bool {
	w, ok := q.works[owner]
	return !ok || w.queued || w.retryAt.IsZero()
}

func (q *queue) leftovers(owner nbstate.Owner) *leftovers {
	if w, ok := q.works[owner]; ok {
		return w.leftovers
	}
	return nil
}

// wait registers an owner to be woken by any of keys, in place of what it waited for before.
func (q *queue) wait(w *work, keys []nbstate.Key) {
	q.unwait(w)
	w.waiting = keys
	for _, k := range keys {
		if q.waiters[k] == nil {
			q.waiters[k] = map[nbstate.Owner]struct{}{}
		}
		q.waiters[k][w.owner] = struct{}{}
	}
}

func (q *queue) unwait(w *work) {
	for _, k := range w.waiting {
		delete(q.waiters[k], w.owner)
		if len(q.waiters[k]) == 0 {
			delete(q.waiters, k)
		}
	}
	w.waiting = nil
}

// wake makes those ready that wait for a row; those that were refused only when the row has changed.
func (q *queue) wake(key nbstate.Key, changed bool) {
	for owner := range q.waiters[key] {
		if changed || q.works[owner].retryAt.IsZero() {
			q.enqueue(owner)
		}
	}
}

// due makes failed owners ready whose time has come and returns when the next one's will; zero for never.
func (q *queue) due(now time.Time) (next time.Time) {
	for owner, w := range q.works {
		switch {
		case w.queued || w.retryAt.IsZero():
		case !w.retryAt.After(now):
			q.enqueue(owner)
		case next.IsZero() || w.retryAt.Before(next):
			next = w.retryAt
		}
	}
	return next
}

// forget drops an owner's work unless it is ready again.
func (q *queue) forget(w *work) {
	q.unwait(w)
	*w = work{owner: w.owner, queued: w.queued, audited: w.audited}
	if !w.queued {
		delete(q.works, w.owner)
	}
}

// counts returns how many owners are ready, wait for rows, and were refused.
func (q *queue) counts() (ready, waiting, failing int) {
	for _, w := range q.works {
		switch {
		case !w.retryAt.IsZero():
			failing++
		case w.queued:
			ready++
		case len(w.waiting) > 0:
			waiting++
		}
	}
	return ready, waiting, failing
}

// window paces transactions. After a pause the first goes at once; under load the next one waits until
// the window since the last one has passed, and the window grows, so that more work goes into each. Changes that come one
// after the other are not load: each waits for the smallest window at most.
type window struct {
	min, max, current time.Duration
	last              time.Time // when the last transaction ended
}

// delay is the time to wait before the next transaction.
func (w *window) delay(now time.Time) time.Duration {
	due := w.last.Add(max(w.current, w.min))
	if w.last.IsZero() || !now.Before(due) {
		if now.Sub(w.last) > 2*w.current {
			w.current = w.min
		}
		return 0
	}
	w.current = min(max(w.current, w.min)*5/4, w.max)
	return due.Sub(now)
}

// sent notes the end of a transaction for so many owners.
func (w *window) sent(now time.Time, owners int) {
	w.last = now
	if owners <= 1 {
		w.current = w.min
	}
}
