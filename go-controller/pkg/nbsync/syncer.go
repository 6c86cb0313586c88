package nbsync

import (
	"context"
	"time"

	"github.com/ovn-org/libovsdb/cache"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

// Syncer writes the desired state to the northbound database.
type Syncer struct {
	client  *ovsdb.Client
	store   *nbstate.Store
	opts    Options
	catalog catalog
	metrics *Metrics
	events  *events

	// What follows belongs to Run's goroutine.
	queue     *queue
	fence     fence
	window    window
	epoch     uint64    // of the connection that was audited last
	synced    bool      // whether the store was synced at the last audit
	nextAudit time.Time // zero: at once
	pause     backoff   // after failures that are no owner's fault
	resumeAt  time.Time
}

// New returns a Syncer for a client that was connected with ConnectOptions. Run makes it work.
func New(client *ovsdb.Client, store *nbstate.Store, o Options) (*Syncer, error) {
	o.setDefaults()
	c, err := newCatalog()
	if err != nil {
		return nil, err
	}
	return &Syncer{
		client: client, store: store, opts: o, catalog: c, metrics: o.Metrics,
		events: newEvents(c, o.Controller),
		queue:  newQueue(),
		fence:  fence{identity: o.Fence},
		window: window{min: o.WindowMin, max: o.WindowMax},
		pause:  backoff{min: o.RetryMin, max: o.RetryMax},
	}, nil
}

// Run syncs until ctx ends, which is no error, or until another leader has taken over: ErrFenced.
// It may be called once.
func (s *Syncer) Run(ctx context.Context) error {
	defer s.client.Watch(s.events, s.events.connected)()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, err := s.step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			klog.FromContext(ctx).Error(err, "The northbound syncer stops")
			return err
		}
		s.publishCounts()
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return nil
		case <-s.store.Wake():
		case <-s.events.wake:
		case <-timer.C:
		}
	}
}

// step does all that can be done now and returns when to come back if nothing happens before.
func (s *Syncer) step(ctx context.Context) (time.Time, error) {
	for {
		now := time.Now()
		next := s.collect(now)
		if !s.client.Connected() {
			return next, nil // the next connection wakes us
		}
		if now.Before(s.resumeAt) {
			return earliest(next, s.resumeAt), nil
		}
		if err := s.observe(); err != nil {
			return next, err
		}
		if s.fence.urgent() {
			if err := s.takeOver(ctx); err != nil {
				return next, err
			}
			continue
		}
		if len(s.queue.ready) == 0 {
			return next, nil
		}
		if d := s.window.delay(now); d > 0 {
			if !retry.Sleep(ctx, d) {
				return next, ctx.Err()
			}
			s.collect(time.Now())
		}
		if err := s.pass(ctx); err != nil {
			return next, err
		}
		if ctx.Err() != nil {
			return next, ctx.Err()
		}
	}
}

// collect makes all owners ready for which there is something to do.
func (s *Syncer) collect(now time.Time) (next time.Time) {
	for _, owner := range s.store.TakeDirty() {
		s.queue.enqueue(owner)
	}
	s.handleEvents()
	next = s.queue.due(now)
	if !s.client.Connected() {
		return earliest(next, now.Add(s.opts.AuditInterval))
	}
	synced := false
	s.store.Read(func(v nbstate.View) { synced = v.IsSynced() })
	if epoch := s.client.Epoch(); epoch != s.epoch || synced != s.synced || !now.Before(s.nextAudit) {
		s.epoch, s.synced = epoch, synced
		s.nextAudit = now.Add(s.opts.AuditInterval)
		s.audit()
	}
	return earliest(next, s.nextAudit)
}

// read calls f with the database and the store, neither of which changes meanwhile.
func (s *Syncer) read(f func(*database, nbstate.View)) {
	s.client.Read(func(c *cache.TableCache) {
		db := &database{catalog: s.catalog, cache: c, controller: s.opts.Controller, ownerOf: s.opts.OwnerOf}
		s.store.Read(func(v nbstate.View) { f(db, v) })
	})
}

func (s *Syncer) publishCounts() {
	ready, waiting, failing := s.queue.counts()
	s.metrics.owners.WithLabelValues("queued").Set(float64(ready))
	s.metrics.owners.WithLabelValues("waiting").Set(float64(waiting))
	s.metrics.owners.WithLabelValues("failing").Set(float64(failing))
}

// earliest ignores zero times.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// backoff doubles from min to max.
type backoff struct{ min, max, current time.Duration }

func (b *backoff) next() time.Duration {
	b.current = min(max(2*b.current, b.min), b.max)
	return b.current
}

func (b *backoff) reset() { b.current = 0 }

// retryDelay is the wait after so many failures of one owner.
func (o *Options) retryDelay(failures int) time.Duration {
	d := o.RetryMin
	for range failures - 1 {
		if d >= o.RetryMax {
			break
		}
		d *= 2
	}
	return min(d, o.RetryMax)
}
