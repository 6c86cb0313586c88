package master

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// errSurrender ends a leadership that is of no use: another replica may reach the database.
var errSurrender = errors.New("giving up the leadership")

// surrenderAfter is how long no write may be answered although some are due. It is longer than what the watchdog allows for a
// question: big transactions take their time.
const surrenderAfter = 60 * time.Second

// watchTiming is how a leader's database is watched.
type watchTiming struct {
	// interval is the time between two questions; unready and surrender are how long there may be no answer.
	interval, unready, surrender time.Duration
}

func defaultWatchTiming() watchTiming {
	return watchTiming{interval: 2 * time.Second, unready: 10 * time.Second, surrender: 30 * time.Second}
}

// transactor is the part of ovsdb.Client that the watchdog uses.
type transactor interface {
	Transact(context.Context, ...libovsdb.Operation) ([]libovsdb.OperationResult, error)
}

// watchdog asks the northbound database something all the time, so that a leader that cannot write is noticed even when it has
// nothing to write. A question writes nothing.
type watchdog struct {
	db     transactor
	gauge  prometheus.Gauge
	timing watchTiming
	// progress tells whether writes are stuck for long; nil means never.
	progress func(now time.Time) error

	mu       sync.Mutex
	answered time.Time // when the last answer came
	failure  error     // what came instead since, if anything
}

func newWatchdog(db transactor, gauge prometheus.Gauge, t watchTiming) *watchdog {
	return &watchdog{db: db, gauge: gauge, timing: t, answered: time.Now()}
}

// run returns errSurrender when the database has not answered for too long, nil when ctx ends.
func (w *watchdog) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	defer w.gauge.Set(0)
	asking.Go(func() { w.ask(ctx) })
	ticker := time.NewTicker(w.timing.interval)
	defer ticker.Stop()
	silent := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			err := w.problem(now)
			if silent != (err != nil) {
				silent = err != nil
				klog.InfoS("Northbound database", "answers", !silent, "problem", err)
			}
			if err := w.lost(now); err != nil {
				return fmt.Errorf("%w: %w", errSurrender, err)
			}
		}
	}
}

// ask asks again and again. An unanswered question waits until it is answered, or refused because the connection is lost.
func (w *watchdog) ask(ctx context.Context) {
	for {
		_, err := w.db.Transact(ctx, question())
		w.mu.Lock()
		if err == nil {
			w.answered = time.Now()
		}
		w.failure = err
		w.mu.Unlock()
		t := time.NewTimer(w.timing.interval)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// question is answered by a server that could also write.
func question() libovsdb.Operation {
	return libovsdb.Operation{Op: libovsdb.OperationSelect, Table: nbdb.NBGlobalTable, Where: []libovsdb.Condition{}, Columns: []string{"_uuid"}}
}

// problem is for readiness: nil while the database answers.
func (w *watchdog) problem(now time.Time) error { return w.silence(now, w.timing.unready) }

func (w *watchdog) lost(now time.Time) error {
	if err := w.silence(now, w.timing.surrender); err != nil || w.progress == nil {
		return err
	}
	return w.progress(now)
}

func (w *watchdog) silence(now time.Time, most time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	age := now.Sub(w.answered)
	if age > w.timing.interval*2 {
		w.gauge.Set(age.Seconds())
	} else {
		w.gauge.Set(0)
	}
	switch {
	case age <= most:
		return nil
	case w.failure != nil:
		return fmt.Errorf("the northbound database has not answered for %s: %w", age.Round(time.Second), w.failure)
	}
	return fmt.Errorf("the northbound database has not answered for %s", age.Round(time.Second))
}
