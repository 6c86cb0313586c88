//go:build integration

package master

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

// A leader whose database stands still, or is gone, says so and gives up the Lease, also while one of its writes hangs.
func TestLeaderWithoutDatabaseGivesUpTheLease(t *testing.T) {
	for name, breakIt := range map[string]func(*ovsdbtest.Server){
		"frozen": func(s *ovsdbtest.Server) { s.Signal(syscall.SIGSTOP) },
		"gone":   (*ovsdbtest.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			server := ovsdbtest.Start(t, ovsdbtest.NB())
			options, err := nbsync.ConnectOptions([]string{server.Endpoint()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			nb, err := ovsdb.Connect(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			defer nb.Close()
			api := &leaseServer{}
			m := newMetrics(nil)
			e, err := newElection(api.link(), "first", m.leader, defaultTiming())
			if err != nil {
				t.Fatal(err)
			}
			unready := make(chan error, 1)
			err = e.run(t.Context(), func(ctx context.Context, _ *tenure) error {
				w := newWatchdog(nb, m.stalled, watchTiming{interval: 50 * time.Millisecond, unready: 500 * time.Millisecond, surrender: 3 * time.Second})
				if err := w.problem(time.Now()); err != nil {
					t.Errorf("before anything happened: %v", err)
				}
				breakIt(server)
				go func() { // a write that hangs
					_, _ = nb.Transact(ctx, libovsdb.Operation{Op: libovsdb.OperationInsert, Table: nbdb.LogicalSwitchTable, Row: libovsdb.Row{"name": "x"}})
				}()
				go func() {
					for ctx.Err() == nil {
						if err := w.problem(time.Now()); err != nil {
							unready <- err
							return
						}
						time.Sleep(10 * time.Millisecond)
					}
					unready <- nil
				}()
				return w.run(ctx)
			})
			if !errors.Is(err, errSurrender) {
				t.Errorf("the leader ended with %v", err)
			}
			if err := <-unready; err == nil {
				t.Error("the leader was ready until its end")
			} else {
				t.Log(err)
			}
			if h := api.holder(); h != "" {
				t.Errorf("the lease is still held by %q", h)
			}
		})
	}
}

// A database that answers is no reason to give up, however long it takes.
func TestLeaderKeepsTheLease(t *testing.T) {
	server := ovsdbtest.Start(t, ovsdbtest.NB())
	options, err := nbsync.ConnectOptions([]string{server.Endpoint()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	nb, err := ovsdb.Connect(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer nb.Close()
	w := newWatchdog(nb, newMetrics(nil).stalled, watchTiming{interval: 20 * time.Millisecond, unready: time.Minute, surrender: time.Minute})
	began := server.Transactions()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := w.run(ctx); err != nil {
		t.Errorf("it gave up: %v", err)
	}
	if n := server.Transactions(); n != began {
		t.Errorf("watching wrote %d transactions", n-began)
	}
	stuck := errors.New("stuck")
	w.progress = func(time.Time) error { return stuck }
	if err := w.run(t.Context()); !errors.Is(err, stuck) {
		t.Errorf("with writes that are stuck it ended with %v", err)
	}
}
