// Package reconcile runs level-triggered loops: a loop does its work when woken, once for many wakes, and again
// after a pause when the work failed.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

const (
	// gather lets the events of one cause (a device's removal, say) arrive together.
	gather     = 10 * time.Millisecond
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// Waiting is an error that only an event can end: it is not repeated by time.
type Waiting string

// Error says what is missing.
func (w Waiting) Error() string { return string(w) }

// ErrNotRun is a loop's error before its first run.
const ErrNotRun = Waiting("has not run yet")

// Loop repeats a piece of work whose outcome depends only on what is there when it runs.
type Loop struct {
	name    string
	work    func(context.Context) error
	changed func()
	wake    chan struct{}

	mu           sync.Mutex
	err          error
	done, failed uint64
	// settling are closed when a run that begins later has ended.
	settling []chan struct{}
}

// New makes a loop; it does nothing before Run and the first Wake. changed, which may be nil, is called when
// the outcome differs from that of the run before.
func New(name string, work func(context.Context) error, changed func()) *Loop {
	return &Loop{name: name, work: work, changed: changed, wake: make(chan struct{}, 1), err: ErrNotRun}
}

// Wake asks for the work to be done. It never blocks.
func (l *Loop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Settle asks for the work to be done, and returns when a run that began afterwards has ended, well or not, or ctx has.
func (l *Loop) Settle(ctx context.Context) {
	settled := make(chan struct{})
	l.mu.Lock()
	l.settling = append(l.settling, settled)
	l.mu.Unlock()
	l.Wake()
	select {
	case <-settled:
	case <-ctx.Done():
	}
}

// Err returns the error of the last run, ErrNotRun before the first.
func (l *Loop) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", l.name, l.err)
}

// Stats are a loop's counts since its start.
type Stats struct {
	Name string
	// Done counts runs, Failed those of them that ended with an error other than Waiting.
	Done, Failed uint64
	// InPlace tells whether the last run found or made all as it should be.
	InPlace bool
}

// Stats returns the counts.
func (l *Loop) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{Name: l.name, Done: l.done, Failed: l.failed, InPlace: l.err == nil}
}

// Run works until ctx ends. A failure is repeated for ever, after pauses that grow to ten seconds; an event
// ends the pause, for it may be what was missing.
func (l *Loop) Run(ctx context.Context) {
	backoff := time.Duration(0)
	for {
		if !l.wait(ctx, backoff) {
			return
		}
		settling := l.takeSettling()
		err := l.work(ctx)
		if ctx.Err() != nil {
			return
		}
		l.record(err)
		for _, settled := range settling {
			close(settled)
		}
		if waiting := Waiting(""); err == nil || errors.As(err, &waiting) {
			backoff = 0
			continue
		}
		backoff = min(max(2*backoff, minBackoff), maxBackoff)
	}
}

func (l *Loop) takeSettling() []chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.settling
	l.settling = nil
	return out
}

// wait returns when there is work to do; false when ctx has ended.
func (l *Loop) wait(ctx context.Context, backoff time.Duration) bool {
	var retry <-chan time.Time
	if backoff > 0 {
		timer := time.NewTimer(backoff)
		defer timer.Stop()
		retry = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-l.wake:
	case <-retry:
	}
	pause := time.NewTimer(gather)
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-pause.C:
	}
	select { // what has come while gathering is seen by the work that follows
	case <-l.wake:
	default:
	}
	return true
}

func (l *Loop) record(err error) {
	waiting := Waiting("")
	isWaiting := errors.As(err, &waiting)
	l.mu.Lock()
	before := l.err
	l.err = err
	l.done++
	if err != nil && !isWaiting {
		l.failed++
	}
	l.mu.Unlock()
	if fmt.Sprint(before) == fmt.Sprint(err) {
		return
	}
	switch {
	case err == nil:
		klog.InfoS("In place", "what", l.name)
	case isWaiting:
		klog.InfoS("Waiting", "what", l.name, "for", err)
	default:
		klog.ErrorS(err, "Cannot bring into place; trying again", "what", l.name)
	}
	if l.changed != nil {
		l.changed()
	}
}
