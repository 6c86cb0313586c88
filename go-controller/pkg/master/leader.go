package master

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/service"
)

// leader is what a replica does while it leads.
type leader struct {
	master  *Master
	clients kube.Clients
	nb      *ovsdb.Client
	// connected is signalled after each connect to the northbound database.
	connected <-chan struct{}
}

func (m *Master) connectNorthbound(ctx context.Context, connected chan<- struct{}) (*ovsdb.Client, error) {
	tls, err := ovsdb.TLSConfig(m.cfg.Northbound.TLSFiles)
	if err != nil {
		return nil, fmt.Errorf("northbound database: %w", err)
	}
	o, err := nbsync.ConnectOptions(m.cfg.Northbound.Endpoints, tls)
	if err != nil {
		return nil, err
	}
	o.Observer = m.metrics.databases
	watchConfiguration(&o)
	o.OnConnect = func(uint64) {
		select {
		case connected <- struct{}{}:
		default:
		}
	}
	return ovsdb.Connect(ctx, o)
}

// lead works until ctx ends, the reconciler finds another leader or the database does not answer any more.
func (l *leader) lead(ctx context.Context, t *tenure) error {
	m := l.master
	w := newWatchdog(l.nb, m.metrics.stalled, defaultWatchTiming())
	w.progress = func(now time.Time) error {
		if e := m.engine.Load(); e != nil {
			return e.progress.stalled(now, surrenderAfter)
		}
		return nil
	}
	m.watchdog.Store(w)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return w.run(ctx) })
	group.Go(func() error { return l.work(ctx, t) })
	return group.Wait()
}

// work rebuilds the allocations and works until ctx ends or the reconciler finds another leader.
func (l *leader) work(ctx context.Context, t *tenure) error {
	if err := l.catchUp(ctx); err != nil {
		return err
	}
	m := l.master
	janitor := newJanitor(m.cfg.Southbound, m.nodes, m.metrics, t.whileHeld)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return janitor.run(ctx) })
	group.Go(func() error {
		return operate(ctx, l.nb, networkOf(&m.cfg), deps{
			nodes: m.nodes, pods: m.pods, services: m.services, slices: m.slices, serviceCIDRs: m.serviceCIDRs,
			policies: m.policies, namespaces: m.namespaces,
			patcher: kube.NewPatcher(l.clients.Patches...),
			events:  kube.NewRecorder(ctx, l.clients.Events, component),
			metrics: m.metrics, nodeGone: janitor.nodeGone, whileHeld: t.whileHeld,
		}, operation{
			sync:   nbsync.Options{Controller: names.ControllerName, Fence: m.cfg.Identity, Metrics: m.metrics.northbound},
			listen: m.engine.Store,
		})
	})
	return group.Wait()
}

// operation says how engine and reconciler work together.
type operation struct {
	sync nbsync.Options
	// listen connects the mirrors' handlers to the engine.
	listen func(*engine)
}

// operate rebuilds the allocations from what is there and then runs engine and reconciler until ctx ends.
func operate(ctx context.Context, nb *ovsdb.Client, n network, d deps, o operation) error {
	store := nbstate.NewStore()
	d.store = store
	d.selectsByIPv6 = nb.Features().HasKey(nbdb.LoadBalancerTable, "selection_fields", service.SelectsByIPv6)
	e := newEngine(n, d)
	o.sync.OnResult, o.sync.OwnerOf = e.onResult, e.ownerOf
	syncer, err := nbsync.New(nb, store, o.sync)
	if err != nil {
		return err
	}
	// A former leader's late write must not come between the rows that are read below and the first write.
	if err := claim(ctx, syncer, d.whileHeld); err != nil {
		return err
	}
	// From here on changes are queued; none is missed between the lists that are read below and now.
	o.listen(e)
	if err := e.rebuild(observe(ovsdb.Rows[nbdb.LogicalSwitchPort](nb), ovsdb.Rows[nbdb.LogicalRouterPort](nb))); err != nil {
		return err
	}
	e.start()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return syncer.Run(ctx) })
	group.Go(func() error { e.run(ctx); return nil })
	return group.Wait()
}

// claimer is the part of nbsync.Syncer that takes over from a former leader.
type claimer interface {
	Claim(ctx context.Context) error
}

// claim takes the leader record while the Lease is held, and only then: what is suspended might take it from the replica that leads by now.
func claim(ctx context.Context, from claimer, whileHeld permission) error {
	for {
		held, done, err := whileHeld(ctx)
		if err != nil {
			return err
		}
		err = from.Claim(held)
		done()
		if ctx.Err() != nil || !errors.Is(err, context.Canceled) {
			return err
		}
	}
}

// catchUp waits until the copy of the northbound database holds all that a former leader has written: the answer to a
// request comes after the changes that were made before it.
func (l *leader) catchUp(ctx context.Context) error {
	for {
		_, err := l.nb.Transact(ctx, question())
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, ovsdb.ErrNotConnected) && !errors.Is(err, ovsdb.ErrUnknownOutcome):
			return fmt.Errorf("reading the northbound database: %w", err)
		}
		klog.InfoS("Waiting for the northbound database", "err", err.Error())
		select {
		case <-l.connected:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
