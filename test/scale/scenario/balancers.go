package scenario

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/test/scale/harness"
)

// balancers follows the load balancers of the northbound database.
type balancers struct {
	client *ovsdb.Client

	mu sync.Mutex
	// backends counts those of each frontend by row: a frontend that moves to another row has two for a moment, as
	// the rows of one transaction come in any order.
	backends map[string]map[string]int
	changed  chan struct{}
}

func watchBalancers(ctx context.Context, nb *harness.Database) (*balancers, error) {
	full, err := nbdb.FullDatabaseModel()
	if err != nil {
		return nil, err
	}
	b := &balancers{backends: map[string]map[string]int{}, changed: make(chan struct{})}
	b.client, err = ovsdb.Connect(ctx, ovsdb.Options{
		Database: full.Name(), Model: full, Endpoints: []string{nb.Remote},
		Monitors: []ovsdb.Monitor{{Table: nbdb.LoadBalancerTable, Columns: []string{"name", "vips"}}},
		Handlers: []cache.EventHandler{&cache.EventHandlerFuncs{
			AddFunc:    func(_ string, m model.Model) { b.update(nil, m) },
			UpdateFunc: func(_ string, old, m model.Model) { b.update(old, m) },
			DeleteFunc: func(_ string, m model.Model) { b.update(m, nil) },
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("follow the load balancers: %w", err)
	}
	return b, nil
}

func (b *balancers) update(old, now model.Model) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if lb, ok := old.(*nbdb.LoadBalancer); ok {
		for vip := range lb.Vips {
			delete(b.backends[vip], lb.UUID)
		}
	}
	if lb, ok := now.(*nbdb.LoadBalancer); ok {
		for vip, backends := range lb.Vips {
			if b.backends[vip] == nil {
				b.backends[vip] = map[string]int{}
			}
			b.backends[vip][lb.UUID] = count(backends)
		}
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// count returns how many backends a list has.
func count(backends string) int {
	if backends == "" {
		return 0
	}
	return 1 + strings.Count(backends, ",")
}

// has tells whether a frontend has that many backends.
func (b *balancers) has(frontend string, backends int) bool {
	for _, n := range b.backends[frontend] {
		if n == backends {
			return true
		}
	}
	return false
}

// wait returns when each of the frontends has that many backends.
func (b *balancers) wait(ctx context.Context, backends int, frontends ...string) (time.Time, error) {
	for {
		b.mu.Lock()
		missing, changed := "", b.changed
		for _, f := range frontends {
			if !b.has(f, backends) {
				missing = fmt.Sprintf("frontend %s has rows with %v backends, want %d", f, b.backends[f], backends)
				break
			}
		}
		b.mu.Unlock()
		if missing == "" {
			return time.Now(), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("%s: %w", missing, context.Cause(ctx))
		}
	}
}
