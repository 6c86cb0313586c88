package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/ovsdb"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

// Client is a lasting connection to one database. It is safe for concurrent use.
type Client struct {
	opts    Options
	cancel  context.CancelFunc
	stopped chan struct{}

	mu sync.RWMutex
	// current is the newest session; its cache stays readable after it was lost.
	current  *session
	watchers []*watcher
}

// Connect connects to the first endpoint that answers, and again whenever the connection is lost, until
// ctx ends or Close is called. It returns when the cache is filled for the first time.
//
// Errors: invalid options, ctx's error, and *SchemaError when a server that answered is too old.
func Connect(ctx context.Context, o Options) (*Client, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &Client{opts: o, cancel: cancel, stopped: make(chan struct{})}
	for _, h := range o.Handlers {
		c.watchers = append(c.watchers, &watcher{handler: h})
	}
	if o.OnConnect != nil {
		c.watchers = append(c.watchers, &watcher{onConnect: o.OnConnect})
	}
	first := make(chan error, 1)
	go c.run(ctx, first)
	if err := <-first; err != nil {
		cancel()
		<-c.stopped
		return nil, err
	}
	return c, nil
}

// Close ends the connection for good and waits until its goroutines have ended.
func (c *Client) Close() {
	c.cancel()
	<-c.stopped
}

// run keeps a session up. The outcome of the first one goes to first.
func (c *Client) run(ctx context.Context, first chan<- error) {
	defer close(c.stopped)
	wait := backoff{min: c.opts.BackoffMin, max: c.opts.BackoffMax}
	var epoch uint64
	for {
		s, err := c.establish(ctx)
		if err != nil {
			var tooOld *SchemaError
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			if epoch == 0 && (ctx.Err() != nil || errors.As(err, &tooOld)) {
				first <- fmt.Errorf("connecting to %s: %w", c.opts.Database, err)
				return
			}
			c.opts.Observer.Failed(c.opts.Database)
			d := wait.next()
			klog.FromContext(ctx).V(logLevel(d)).Info("Cannot connect to the database; trying again", "database", c.opts.Database, "err", err, "after", d)
			if !retry.Sleep(ctx, d) {
				if epoch == 0 {
					first <- fmt.Errorf("connecting to %s: %w (last failure: %w)", c.opts.Database, ctx.Err(), err)
				}
				return
			}
			continue
		}
		epoch++
		c.opts.Observer.Connected(c.opts.Database)
		c.publish(s, epoch)
		if epoch == 1 {
			first <- nil
		}
		began := time.Now()
		reason := s.wait(ctx)
		s.rpc.end(reason)
		c.opts.Observer.Lost(c.opts.Database)
		if ctx.Err() != nil {
			return
		}
		klog.FromContext(ctx).Info("Lost the database connection; connecting again", "database", c.opts.Database, "endpoint", s.endpoint, "reason", reason)
		// A server that takes connections only to drop them at once is not asked ever faster.
		if time.Since(began) > steady {
			wait.reset()
		}
		if !retry.Sleep(ctx, wait.next()) {
			return
		}
	}
}

// logLevel keeps the first quick tries, usual while a server restarts, out of the default log.
func logLevel(d time.Duration) int {
	if d < time.Second {
		return 4
	}
	return 0
}

// publish makes s the current session and tells those who watch.
func (c *Client) publish(s *session, epoch uint64) {
	c.mu.Lock()
	s.epoch = epoch
	c.current = s
	c.watchers = slices.DeleteFunc(slices.Clone(c.watchers), func(w *watcher) bool { return w.stopped.Load() })
	watchers := c.watchers
	for _, w := range watchers {
		if !s.watched(w) {
			s.addHandler(w)
		}
	}
	c.mu.Unlock()
	for _, w := range watchers {
		if w.onConnect != nil && !w.stopped.Load() {
			w.onConnect(epoch)
		}
	}
}

// Watch adds, to those of Options, a handler of the cache's events and a function that is called for each
// connection, the present one at once. Either may be nil. Events that were under way when Watch was called
// may come or not. The function that is returned ends it; calls that are under way may still come.
func (c *Client) Watch(handler cache.EventHandler, onConnect func(epoch uint64)) (stop func()) {
	w := &watcher{handler: handler, onConnect: onConnect}
	c.mu.Lock()
	c.watchers = append(slices.Clip(c.watchers), w)
	c.current.addHandler(w)
	epoch := c.current.epoch
	c.mu.Unlock()
	if onConnect != nil {
		onConnect(epoch)
	}
	return w.stop
}

func (c *Client) watching() []*watcher {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.watchers
}

// establish goes once over the endpoints. A cluster's leader is looked for at all of them at once: a member that takes
// connections but does not answer costs no time.
func (c *Client) establish(ctx context.Context) (*session, error) {
	if c.opts.follows() {
		leader, err := findLeader(ctx, &c.opts, c.opts.Endpoints)
		if err != nil {
			return nil, err
		}
		s, err := newSession(ctx, &c.opts, leader, c.watching())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", leader, err)
		}
		return s, nil
	}
	var errs []error
	for _, e := range c.opts.Endpoints {
		s, err := newSession(ctx, &c.opts, e, c.watching())
		if err == nil {
			return s, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", e, err))
	}
	return nil, errors.Join(errs...)
}

func (c *Client) session() *session {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current
}

// Cache returns the copy of the monitored tables. While there is no connection it is that of the last one.
// A transaction may become visible table by table; see Read.
func (c *Client) Cache() *cache.TableCache { return c.session().cache }

// Read calls f with the cache, which shows whole transactions as long as f runs: rows read one after the other, of any
// tables, belong together. f must not wait for the client.
func (c *Client) Read(f func(*cache.TableCache)) {
	s := c.session()
	s.applying.RLock()
	defer s.applying.RUnlock()
	f(s.cache)
}

// Features returns what the server's schema has.
func (c *Client) Features() Features { return c.session().features }

// Connected tells whether there is a connection now.
func (c *Client) Connected() bool { return !c.session().isLost() }

// Epoch counts the connections made so far.
func (c *Client) Epoch() uint64 { return c.session().epoch }

// Endpoint is that of the newest connection.
func (c *Client) Endpoint() string { return c.session().endpoint }

// Transact sends one transaction and waits for its result.
//
// When it returns results, the cache already shows the transaction (if it was committed): the server
// sends the update notification before the reply on the same connection, and both are handled in order.
//
// Errors: ErrNotConnected, when nothing was sent; ErrUnknownOutcome; others mean that the server, or the
// check against the schema, refused the transaction as a whole. Refusals of single operations are in the
// results, see CheckResults.
func (c *Client) Transact(ctx context.Context, ops ...ovsdb.Operation) ([]ovsdb.OperationResult, error) {
	s := c.session()
	if s.isLost() {
		return nil, ErrNotConnected
	}
	if !s.features.schema.ValidateOperations(ops...) {
		return nil, fmt.Errorf("transaction names a table or column that the schema of %s (version %s) lacks", c.opts.Database, s.features.Version())
	}
	return s.transact(ctx, ops)
}

// CheckResults returns an error when the transaction was refused, else nil. index is that of the
// operation that was refused, or -1 when the whole failed at commit (a duplicate in an index, a reference to a
// row that does not exist). See RFC 7047, section 4.1.3.
func CheckResults(results []ovsdb.OperationResult, ops int) (index int, err error) {
	for i, r := range results {
		if r.Error == "" {
			continue
		}
		err := fmt.Errorf("%s: %s", r.Error, r.Details)
		if i >= ops {
			return -1, err
		}
		return i, err
	}
	if len(results) < ops {
		return -1, fmt.Errorf("%d operations were sent, %d results came back", ops, len(results))
	}
	return -1, nil
}

// backoff doubles from min to max, with jitter.
type backoff struct {
	min, max, current time.Duration
}

func (b *backoff) next() time.Duration {
	b.current = min(max(2*b.current, b.min), b.max)
	return b.current/2 + rand.N(b.current/2+1)
}

func (b *backoff) reset() { b.current = 0 }
