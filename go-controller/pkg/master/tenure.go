package master

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"
)

// permission waits until something is allowed, and returns a context that ends when it may not be any more, or with ctx. The function is to be called
// when all is done. It fails when ctx ends first.
type permission func(ctx context.Context) (context.Context, context.CancelFunc, error)

// suspendedUnready is for how long a leader may be suspended before it says that it is not ready.
const suspendedUnready = 10 * time.Second

// tenure is the time for which a replica leads. It outlives failing renewals of the Lease: until another replica has had the Lease the
// work goes on, since the fence in the database keeps writes apart; only what is not fenced waits. The tenure is suspended then.
type tenure struct {
	// hold is how long the Lease is surely this replica's after it was renewed, gauge shows whether it is.
	hold  time.Duration
	gauge prometheus.Gauge

	mu sync.Mutex
	// until is when the tenure is suspended unless the Lease is renewed before.
	until time.Time
	timer *time.Timer
	// held ends, by lose, when the tenure is suspended. again is closed when it is not any more.
	held  context.Context
	lose  context.CancelFunc
	again chan struct{}
	over  bool
}

// newTenure begins with a Lease that was got by a request sent at that time.
func newTenure(sent time.Time, hold time.Duration, gauge prometheus.Gauge) *tenure {
	t := &tenure{hold: hold, gauge: gauge, until: sent.Add(hold), again: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held, t.lose = context.WithCancel(context.Background())
	t.gauge.Set(1)
	t.timer = time.AfterFunc(time.Until(t.until), t.expire)
	return t
}

// renew says that the Lease was renewed by a request sent at that time.
func (t *tenure) renew(sent time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.until
	t.until = sent.Add(t.hold)
	left := time.Until(t.until)
	if t.over || left <= 0 { // The answer took too long.
		return
	}
	if t.held.Err() != nil {
		t.held, t.lose = context.WithCancel(context.Background())
		t.gauge.Set(1)
		close(t.again)
		t.again = make(chan struct{})
		klog.InfoS("The Lease is held again", "suspended", time.Since(before).Round(time.Millisecond))
	}
	t.timer.Reset(left)
}

// expire suspends the tenure if it is time to: the timer may have met a renewal on its way.
func (t *tenure) expire() { t.state() }

// state returns a context that has ended when the tenure is suspended, and what is closed when it is not any more.
func (t *tenure) state() (held context.Context, again <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held.Err() == nil && time.Until(t.until) <= 0 {
		t.lose()
		t.gauge.Set(0)
		klog.InfoS("The Lease cannot be renewed: annotations wait until it can, the northbound database is kept up to date")
	}
	return t.held, t.again
}

// end ends the tenure for good.
func (t *tenure) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	t.timer.Stop()
	t.lose()
	t.gauge.Set(0)
}

func (t *tenure) suspended() bool {
	held, _ := t.state()
	return held.Err() != nil
}

// problem is for readiness: nil unless the tenure has been suspended for long.
func (t *tenure) problem(now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if age := now.Sub(t.until); age > suspendedUnready {
		return fmt.Errorf("the Lease %s/%s could not be renewed for %s: annotations of nodes and pods wait; the log says why",
			leaseNamespace, leaseName, (age + t.hold).Round(time.Second))
	}
	return nil
}

// whileHeld is a permission: of what only the holder of the Lease may do.
func (t *tenure) whileHeld(ctx context.Context) (context.Context, context.CancelFunc, error) {
	for {
		held, again := t.state()
		if held.Err() == nil {
			ctx, cancel := context.WithCancel(ctx)
			stop := context.AfterFunc(held, cancel)
			return ctx, func() { stop(); cancel() }, nil
		}
		select {
		case <-again:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}
