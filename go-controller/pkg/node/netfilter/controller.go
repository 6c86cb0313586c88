package netfilter

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/reconcile"
)

// watchPause is between two tries to watch netfilter.
const watchPause = time.Second

// Options are what a Controller works from.
type Options struct {
	Services *kube.Mirror[*kube.Service]
	Slices   *kube.Mirror[*kube.EndpointSlice]
	// Index finds the slices of a service. It follows Slices.
	Index *kube.ServiceSlices
	// Facts returns the node's, or an error (reconcile.Waiting) that says what is not known yet. Call Wake when they change.
	Facts func() (Facts, error)
	// Choose chooses the renderer, see the function of that name. It is repeated until it succeeds.
	Choose func(context.Context) (chosen Renderer, others []Renderer, reason string, err error)
	// First, which may be nil, is called before rules are changed and returns when what is to be done before that is done.
	First func(context.Context)
	// Changed, which may be nil, is called when Loop's outcome has changed.
	Changed func()
}

// Controller keeps the rules for all services in the kernel. What the kernel has from before is left alone until the
// API server has told what services there are.
type Controller struct {
	o    Options
	loop *reconcile.Loop
	// chosen gets the renderer once, for the watch.
	chosen chan Renderer

	mu    sync.Mutex
	dirty map[string]struct{}
	// look says that netfilter is to be looked at even if no rule has changed, woken that facts and the routes for marked
	// packets are.
	look, woken bool

	// The rest is used by reconcile alone. stale are changes whose tracked connections are not forgotten yet; ensureRoutes
	// is ensureMarkRoute outside of tests.
	renderer Renderer
	// others are renderers whose rules are still to be removed.
	others []Renderer
	facts  Facts
	ledger *Ledger
	stale  []Change

	ensureRoutes func(context.Context, Facts) error
}

// New makes a controller that follows the mirrors; call it before they run.
func New(o Options) *Controller {
	c := &Controller{
		o: o, chosen: make(chan Renderer, 1), dirty: map[string]struct{}{}, look: true, woken: true, ledger: NewLedger(),
		ensureRoutes: ensureMarkRoute,
	}
	c.loop = reconcile.New("rules for services", c.reconcile, o.Changed)
	o.Services.OnChange(func(key string, _, _ *kube.Service) { c.touch(key) })
	o.Slices.OnChange(func(_ string, before, after *kube.EndpointSlice) {
		for _, s := range []*kube.EndpointSlice{before, after} {
			if s != nil && s.Service != "" {
				c.touch(s.ServiceKey())
			}
		}
	})
	return c
}

// Wake is to be called when the facts, or the management port, may have changed. It never blocks.
func (c *Controller) Wake() { c.lookAt(&c.woken) }

func (c *Controller) lookAt(what *bool) {
	c.set(what)
	c.loop.Wake()
}

// set has the next run look at something; it does not hasten that run.
func (c *Controller) set(what *bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*what = true
}

// Loop tells how the work is going.
func (c *Controller) Loop() *reconcile.Loop { return c.loop }

// Run works until ctx ends. The mirrors are run by somebody else.
func (c *Controller) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { c.loop.Run(ctx) })
	wg.Go(func() { c.watchNetfilter(ctx) })
	wg.Go(func() { again(ctx, func() error { return watchMarkRoute(ctx, c.Wake) }) })
	for _, synced := range []<-chan struct{}{c.o.Services.Synced(), c.o.Slices.Synced()} {
		select {
		case <-synced:
		case <-ctx.Done():
		}
	}
	c.loop.Wake()
	wg.Wait()
}

func (c *Controller) watchNetfilter(ctx context.Context) {
	select {
	case r := <-c.chosen:
		again(ctx, func() error { return r.Watch(ctx, func() { c.lookAt(&c.look) }) })
	case <-ctx.Done():
	}
}

// again repeats a watch that has failed.
func again(ctx context.Context, watch func() error) {
	for ctx.Err() == nil {
		err := watch()
		if ctx.Err() != nil {
			return
		}
		klog.ErrorS(err, "A watch for the rules for services has failed; trying again", "after", watchPause)
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
		}
	}
}

func (c *Controller) touch(service string) {
	c.mu.Lock()
	c.dirty[service] = struct{}{}
	c.mu.Unlock()
	c.loop.Wake()
}

func (c *Controller) reconcile(ctx context.Context) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	removal := c.removeOthers(ctx)
	woken := c.isWoken()
	err := c.update(ctx, woken)
	if err != nil && woken {
		c.set(&c.woken)
	}
	if removal != nil { // it counts for more: an error that waits for an event would not be repeated
		return removal
	}
	return err
}

// update does the work. Facts are found out only when they may have changed: that takes longer than a service.
func (c *Controller) update(ctx context.Context, woken bool) error {
	facts := c.facts
	if woken {
		var err error
		if facts, err = c.o.Facts(); err != nil {
			return err
		}
	}
	touched, look := c.render(facts)
	if look || len(touched) > 0 {
		if err := c.sync(ctx, touched); err != nil {
			c.set(&c.look)
			return err
		}
	}
	if _, err := ForgetStale(c.stale, facts.Addresses); err != nil {
		return err
	}
	c.stale = nil
	if !woken {
		return nil
	}
	return c.ensureRoutes(ctx, facts)
}

func (c *Controller) isWoken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	woken := c.woken
	c.woken = false
	return woken
}

// render brings the ledger up to date. It returns the keys that may have changed, and whether to look at everything.
func (c *Controller) render(facts Facts) (touched []Key, look bool) {
	c.mu.Lock()
	dirty, look := c.dirty, c.look
	c.dirty, c.look = map[string]struct{}{}, false
	c.mu.Unlock()
	if !reflect.DeepEqual(facts, c.facts) {
		c.facts, look = facts, true
		for _, s := range c.o.Services.All() {
			dirty[s.Key()] = struct{}{}
		}
	}
	for key := range dirty {
		var rules []Rule
		if s, ok := c.o.Services.Get(key); ok {
			rules = ServiceRules(s, c.o.Index.Of(key), facts)
		}
		c.ledger.Set(key, rules)
	}
	return c.ledger.TakeTouched(), look
}

// begin chooses the renderer, once. It waits for the services.
func (c *Controller) begin(ctx context.Context) error {
	for _, synced := range []<-chan struct{}{c.o.Services.Synced(), c.o.Slices.Synced()} {
		select {
		case <-synced:
		default:
			return reconcile.Waiting("the API server has not told the services yet")
		}
	}
	if c.renderer != nil {
		return nil
	}
	chosen, others, reason, err := c.o.Choose(ctx)
	if err != nil {
		return err
	}
	klog.InfoS("Netfilter renderer chosen", "renderer", chosen.Name(), "reason", reason)
	c.renderer, c.others = chosen, others
	c.chosen <- chosen
	return nil
}

// removeOthers removes what other renderers have left. A failure does not hold up the rules: it is repeated.
func (c *Controller) removeOthers(ctx context.Context) error {
	var left []Renderer
	var failures []error
	for _, other := range c.others {
		if err := other.Remove(ctx); err != nil {
			left, failures = append(left, other), append(failures, fmt.Errorf("remove rules of %s: %w", other.Name(), err))
		}
	}
	c.others = left
	return errors.Join(failures...)
}

func (c *Controller) sync(ctx context.Context, touched []Key) error {
	if c.o.First != nil && len(touched) > 0 {
		c.o.First(ctx)
	}
	began := time.Now()
	changes, err := c.renderer.Sync(ctx, c.facts, c.ledger, touched)
	c.stale = append(c.stale, changes...)
	if len(changes) > 0 {
		klog.V(2).InfoS("Changed rules for services", "rules", len(changes), "took", time.Since(began))
	}
	return err
}
