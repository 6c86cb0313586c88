package ovsdb

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/model"
	"github.com/ovn-org/libovsdb/ovsdb"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

// session is one connection, from its first byte to its loss, and the cache that it fills.
type session struct {
	endpoint string
	epoch    uint64
	opts     *Options
	rpc      *rpcConn
	features Features
	dbModel  model.DatabaseModel
	cache    *cache.TableCache
	// applying is held while a notification, which may be of several tables, is put into the cache.
	applying sync.RWMutex
	leader   *leaderWatch
	watchers []*watcher // those whose handlers were added before the cache was filled
}

// newSession connects to one endpoint and fills the cache.
func newSession(ctx context.Context, o *Options, endpoint string, watchers []*watcher) (*session, error) {
	s := &session{endpoint: endpoint, opts: o, watchers: watchers, leader: newLeaderWatch(o.Database)}
	dialCtx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	conn, err := Dial(dialCtx, endpoint, o.TLS)
	if err != nil {
		return nil, err
	}
	s.rpc = newRPCConn(conn, o.TransactTimeout, s.notify)
	if err := s.start(ctx, dialCtx); err != nil {
		s.rpc.end(err)
		return nil, err
	}
	return s, nil
}

// Dial connects to an endpoint: unix:/path, tcp:host:port or ssl:host:port, the latter with config.
func Dial(ctx context.Context, endpoint string, tlsConfig *tls.Config) (net.Conn, error) {
	method, address, _ := strings.Cut(endpoint, ":")
	switch method {
	case "unix":
		return (&net.Dialer{}).DialContext(ctx, "unix", address)
	case "ssl":
		return (&tls.Dialer{Config: tlsConfig}).DialContext(ctx, "tcp", address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// start learns the schema, and copies the monitored tables into a new cache.
func (s *session) start(ctx, dialCtx context.Context) error {
	if s.opts.LeaderOnly {
		if err := s.leader.watch(dialCtx, s.rpc); err != nil {
			return err
		}
	}
	var schema ovsdb.DatabaseSchema
	if err := s.rpc.call(dialCtx, "get_schema", []any{s.opts.Database}, &schema); err != nil {
		return fmt.Errorf("schema of %s: %w", s.opts.Database, err)
	}
	s.features = Features{schema: schema}
	cut, monitors, err := fit(s.opts, schema)
	if err != nil {
		return err
	}
	var errs []error
	if s.dbModel, errs = model.NewDatabaseModel(schema, cut); len(errs) > 0 {
		return fmt.Errorf("model of %s does not fit the server's schema: %w", s.opts.Database, errors.Join(errs...))
	}
	logger := klog.FromContext(ctx).WithName("libovsdb")
	if s.cache, err = cache.NewTableCache(s.dbModel, nil, &logger); err != nil {
		return err
	}
	for _, w := range s.watchers {
		s.addHandler(w)
	}
	go s.cache.Run(s.rpc.ended)
	syncCtx, cancel := context.WithTimeout(ctx, s.opts.SyncTimeout)
	defer cancel()
	return s.monitor(syncCtx, monitors)
}

// monitor fills the cache. The reply is applied before updates that come after it: see rpcCall.inOrder.
func (s *session) monitor(ctx context.Context, monitors []Monitor) error {
	requests := make(map[string]ovsdb.MonitorRequest, len(monitors))
	for _, m := range monitors {
		requests[m.Table] = ovsdb.MonitorRequest{Columns: m.Columns, Where: m.Where, Select: ovsdb.NewDefaultMonitorSelect()}
	}
	if len(requests) == 0 {
		return nil
	}
	args := []any{s.opts.Database, s.opts.Database, requests}
	err := s.rpc.callInOrder(ctx, ovsdb.ConditionalMonitorRPC, args, nil, func(result json.RawMessage) error {
		return s.populate(result)
	})
	if err != nil {
		return fmt.Errorf("monitoring %s: %w", s.opts.Database, err)
	}
	return nil
}

func (s *session) populate(updates json.RawMessage) error {
	var u ovsdb.TableUpdates2
	if err := json.Unmarshal(updates, &u); err != nil {
		return err
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	return s.cache.Populate2(u)
}

// notify applies updates: ovsdb-server(7), section 4.1.14. An update that does not fit the cache ends the
// session; the next one starts from an empty cache.
func (s *session) notify(method string, params []json.RawMessage) error {
	if method != "update2" {
		return nil
	}
	if len(params) != 2 {
		return fmt.Errorf("update with %d parameters", len(params))
	}
	var database string
	if err := json.Unmarshal(params[0], &database); err != nil {
		return err
	}
	if database == serverDatabase {
		return s.leader.update(params[1])
	}
	if err := s.populate(params[1]); err != nil {
		return fmt.Errorf("applying an update to the cache of %s: %w", database, err)
	}
	return nil
}

func (s *session) addHandler(w *watcher) {
	if w.handler != nil {
		s.cache.AddEventHandler(w)
	}
}

func (s *session) watched(w *watcher) bool { return slices.Contains(s.watchers, w) }

// wait returns when the session is lost or ctx ends. It sends the probes.
func (s *session) wait(ctx context.Context) error {
	interval := s.opts.ProbeInterval
	if s.opts.follows() {
		interval = min(interval, s.opts.StallAfter)
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.rpc.ended:
			return s.rpc.reason
		case <-ticker.C:
			go s.probe(ctx)
		}
	}
}

// probe ends the session when the server does not answer.
func (s *session) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.ProbeTimeout, errProbe)
	defer cancel()
	go s.lookElsewhere(ctx)
	if err := s.request(ctx, "echo", []any{}, nil); errors.Is(context.Cause(ctx), errProbe) && err != nil {
		s.rpc.end(fmt.Errorf("%w within %s", errProbe, s.opts.ProbeTimeout))
	}
}

var (
	errProbe   = errors.New("the server did not answer a probe")
	errStalled = errors.New("the server has not answered")
)

// lookElsewhere ends the session when another server leads while a request waits for its answer; ctx ends with the request.
func (s *session) lookElsewhere(ctx context.Context) {
	if !s.opts.follows() {
		return
	}
	others := slices.DeleteFunc(slices.Clone(s.opts.Endpoints), func(e string) bool { return e == s.endpoint })
	for retry.Sleep(ctx, s.opts.StallAfter) {
		leader, err := findLeader(ctx, s.opts, others)
		if err == nil && ctx.Err() == nil {
			s.rpc.end(fmt.Errorf("%w for %s, and %s leads now", errStalled, s.opts.StallAfter, leader))
			return
		}
	}
}

// transact sends a transaction. When no answer comes in time the session ends.
func (s *session) transact(caller context.Context, ops []ovsdb.Operation) ([]ovsdb.OperationResult, error) {
	ctx, cancel := context.WithTimeout(caller, s.opts.TransactTimeout)
	defer cancel()
	go s.lookElsewhere(ctx)
	var results []ovsdb.OperationResult
	err := s.request(ctx, "transact", ovsdb.NewTransactArgs(s.opts.Database, ops...), &results)
	var refused *rpcError
	switch {
	case err == nil:
		return results, nil
	case errors.As(err, &refused):
		return nil, err
	}
	if caller.Err() == nil {
		s.rpc.end(fmt.Errorf("transaction without an answer: %w", err))
	}
	return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}

// request is a call that is observed. That the server says no is an answer, too.
func (s *session) request(ctx context.Context, method string, params, result any) error {
	began := time.Now()
	err := s.rpc.call(ctx, method, params, result)
	var refused *rpcError
	s.opts.Observer.Answered(s.opts.Database, method, time.Since(began), err == nil || errors.As(err, &refused))
	return err
}

func (s *session) isLost() bool { return s.rpc.isEnded() }
