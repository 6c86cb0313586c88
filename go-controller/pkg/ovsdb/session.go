package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/client"
	"github.com/ovn-org/libovsdb/model"
	"github.com/ovn-org/libovsdb/ovsdb"
	"k8s.io/klog/v2"
)

// session is one connection, from its first byte to its loss.
type session struct {
	endpoint string
	epoch    uint64
	lib      client.Client
	cache    *cache.TableCache
	features Features
	leader   *leaderWatch // nil unless leaders only
	opts     *Options
	watchers []*watcher // those whose handlers were added before the cache was filled

	lost     chan struct{} // closed when the connection is of no use any more
	loseOnce sync.Once
	reason   error // why; readable once lost is closed
}

// newSession connects to one endpoint and fills the cache.
func newSession(ctx context.Context, o *Options, endpoint string, watchers []*watcher) (s *session, err error) {
	s = &session{endpoint: endpoint, opts: o, lost: make(chan struct{}), watchers: watchers}
	defer func() {
		if err != nil {
			s.lose(err)
			s.close()
		}
	}()
	if o.LeaderOnly {
		if s.leader, err = watchLeader(ctx, o, endpoint); err != nil {
			return s, err
		}
	}
	schema, err := readSchema(ctx, o, endpoint)
	if err != nil {
		return s, err
	}
	s.features = Features{schema: schema}
	dbModel, monitors, err := fit(o, schema)
	if err != nil {
		return s, err
	}
	if s.lib, err = dial(ctx, o, dbModel, endpoint); err != nil {
		return s, err
	}
	go s.awaitDisconnect()
	s.cache = s.lib.Cache()
	if s.cache == nil {
		return s, errors.New("the connection was lost at once")
	}
	for _, w := range watchers {
		s.addHandler(w)
	}
	return s, s.monitor(ctx, monitors)
}

func (s *session) addHandler(w *watcher) {
	if w.handler != nil {
		s.cache.AddEventHandler(w)
	}
}

// dial makes a libovsdb client that does not reconnect by itself.
func dial(ctx context.Context, o *Options, m model.ClientDBModel, endpoint string) (client.Client, error) {
	logger := klog.FromContext(ctx).WithName("libovsdb")
	lib, err := client.NewOVSDBClient(m, client.WithEndpoint(endpoint), client.WithTLSConfig(o.TLS), client.WithLogger(&logger))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	if err := lib.Connect(ctx); err != nil {
		lib.Close()
		return nil, err
	}
	return lib, nil
}

// readSchema asks for the schema with a connection of its own: libovsdb checks the model against the
// schema while it connects, so the model must be right before.
func readSchema(ctx context.Context, o *Options, endpoint string) (ovsdb.DatabaseSchema, error) {
	none, err := model.NewClientDBModel(o.Database, nil)
	if err != nil {
		return ovsdb.DatabaseSchema{}, err
	}
	lib, err := dial(ctx, o, none, endpoint)
	if err != nil {
		return ovsdb.DatabaseSchema{}, err
	}
	defer lib.Close()
	return lib.Schema(), nil
}

func (s *session) monitor(ctx context.Context, monitors []Monitor) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.SyncTimeout)
	defer cancel()
	if len(monitors) == 0 {
		return nil
	}
	m := s.lib.NewMonitor()
	// Unlike monitor_cond_since, libovsdb's handling of this method reports an inconsistent cache, upon
	// which it disconnects and the session is replaced.
	m.Method = ovsdb.ConditionalMonitorRPC
	for _, t := range monitors {
		m.Tables = append(m.Tables, client.TableMonitor{Table: t.Table, Fields: t.Columns, Conditions: t.Where})
	}
	if _, err := s.lib.Monitor(ctx, m); err != nil {
		return fmt.Errorf("monitoring %s: %w", s.opts.Database, err)
	}
	return nil
}

// awaitDisconnect turns libovsdb's notification into a lost session.
func (s *session) awaitDisconnect() {
	select {
	case <-s.lib.DisconnectNotify():
		s.lose(errors.New("the server closed the connection"))
	case <-s.lost:
	}
}

// wait returns when the session is lost or ctx ends. It sends the probes: libovsdb's notification is
// lost when nobody listens at that instant, the next probe fails then.
func (s *session) wait(ctx context.Context) error {
	var leaderLost <-chan struct{}
	if s.leader != nil {
		leaderLost = s.leader.lost
	}
	ticker := time.NewTicker(s.opts.ProbeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			s.lose(ctx.Err())
			return ctx.Err()
		case <-s.lost:
			return s.reason
		case <-leaderLost:
			s.lose(errors.New("the server is no longer the leader of its cluster"))
		case <-ticker.C:
			go s.probe(ctx)
		}
	}
}

// probe loses the session when the server does not answer. It sends an empty transaction: libovsdb's Echo
// looks at its reply even after its context has ended, while the reply may still come in.
func (s *session) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.ProbeTimeout)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		_, err := s.lib.Transact(ctx)
		answer <- err
	}()
	select {
	case err := <-answer:
		if err != nil {
			s.lose(fmt.Errorf("probing the server: %w", err))
		}
	case <-ctx.Done():
		s.lose(fmt.Errorf("the server did not answer a probe within %s", s.opts.ProbeTimeout))
	case <-s.lost:
	}
}

// transact runs in a goroutine of its own because libovsdb's call does not heed its context while it
// writes to a server that does not read.
func (s *session) transact(ctx context.Context, ops []ovsdb.Operation, timeout time.Duration) ([]ovsdb.OperationResult, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type reply struct {
		results []ovsdb.OperationResult
		err     error
	}
	replies := make(chan reply, 1)
	go func() {
		results, err := s.lib.Transact(ctx, ops...)
		replies <- reply{results, err}
	}()
	select {
	case r := <-replies:
		if r.err == nil || isRefusal(r.err) {
			return r.results, r.err
		}
		s.lose(r.err)
		return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, r.err)
	case <-s.lost:
		return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, s.reason)
	case <-ctx.Done():
		err := fmt.Errorf("no reply within %s: %w", timeout, ctx.Err())
		s.lose(err)
		return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}

func (s *session) isLost() bool {
	select {
	case <-s.lost:
		return true
	default:
		return false
	}
}

func (s *session) lose(reason error) {
	s.loseOnce.Do(func() {
		s.reason = reason
		close(s.lost)
	})
}

// close frees the session's resources. libovsdb's Close waits for calls in flight, which may take until
// the operating system gives the connection up; nobody needs to wait for that.
func (s *session) close() {
	if s.leader != nil {
		s.leader.close()
	}
	if s.lib != nil {
		go s.lib.Close()
	}
}
