package reconcile

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func run(t *testing.T, l *Loop) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func TestManyWakesOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		l := New("test", func(context.Context) error { runs.Add(1); return nil }, nil)
		run(t, l)
		if err := l.Err(); !errors.Is(err, ErrNotRun) {
			t.Errorf("before the first run: %v", err)
		}
		for range 100 {
			l.Wake()
			time.Sleep(time.Microsecond)
		}
		time.Sleep(time.Hour)
		if got := runs.Load(); got != 1 {
			t.Errorf("%d runs", got)
		}
		if err := l.Err(); err != nil {
			t.Errorf("after a good run: %v", err)
		}
	})
}

// A wake that comes while the work runs is not lost: the work may have looked already.
func TestWakeDuringWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		var l *Loop
		l = New("test", func(context.Context) error {
			if runs.Add(1) == 1 {
				l.Wake()
			}
			return nil
		}, nil)
		run(t, l)
		l.Wake()
		time.Sleep(time.Second)
		if got := runs.Load(); got != 2 {
			t.Errorf("%d runs, want 2", got)
		}
	})
}

func TestFailureIsRepeatedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		l := New("test", func(context.Context) error { runs.Add(1); return errors.New("no") }, nil)
		run(t, l)
		l.Wake()
		time.Sleep(time.Hour)
		// 0.1, 0.2, ... 6.4 s, then every 10 s.
		if got := runs.Load(); got < 350 || got > 370 {
			t.Errorf("%d runs in an hour", got)
		}
	})
}

func TestWaitingIsEndedByEventsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs, changes atomic.Int32
		missing := Waiting("something")
		l := New("test", func(context.Context) error {
			if runs.Add(1) == 1 {
				return missing
			}
			return nil
		}, func() { changes.Add(1) })
		run(t, l)
		l.Wake()
		time.Sleep(time.Hour)
		if got := runs.Load(); got != 1 || !errors.Is(l.Err(), missing) {
			t.Errorf("%d runs, %v", got, l.Err())
		}
		l.Wake()
		time.Sleep(time.Second)
		if runs.Load() != 2 || l.Err() != nil {
			t.Errorf("%d runs, %v", runs.Load(), l.Err())
		}
		if changes.Load() != 2 {
			t.Errorf("%d changes of the outcome were told, want 2", changes.Load())
		}
	})
}

// Who settles waits for a run that has seen all that was there before: one that is under way does not count.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun, ended atomic.Int32
		l := New("test", func(context.Context) error {
			begun.Add(1)
			time.Sleep(time.Second)
			ended.Add(1)
			return errors.New("no")
		}, nil)
		run(t, l)
		l.Wake()
		time.Sleep(500 * time.Millisecond)
		if got := begun.Load(); got != 1 {
			t.Fatalf("%d runs have begun", got)
		}
		l.Settle(t.Context())
		if got := ended.Load(); got != 2 {
			t.Errorf("settled after %d runs, want 2", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		l.Settle(ctx)
		if ctx.Err() == nil {
			t.Error("settled before a run has ended")
		}
	})
}
