package ovsdb

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/model"
	"github.com/ovn-org/libovsdb/ovsdb"
)

// Defaults of Options.
const (
	defaultDialTimeout     = 5 * time.Second
	defaultSyncTimeout     = 2 * time.Minute
	defaultTransactTimeout = time.Minute
	defaultProbeInterval   = 10 * time.Second
	defaultProbeTimeout    = 30 * time.Second
	defaultStallAfter      = 2 * time.Second
	defaultBackoffMin      = 20 * time.Millisecond
	defaultBackoffMax      = 5 * time.Second
	// steady is how long a connection lasts that counts as a good one.
	steady = 500 * time.Millisecond
)

// Monitor asks for a table.
type Monitor struct {
	// Table is the name of the table in the schema.
	Table string
	// Columns are the columns wanted; empty means all of the model. Others stay zero in the cache.
	Columns []string
	// Where restricts the rows; empty means all.
	Where []ovsdb.Condition
	// Optional leaves the table out, instead of failing, when the server's schema lacks the table or
	// one of the model's columns.
	Optional bool
}

// Options say what to connect to and what to keep a copy of.
type Options struct {
	// Database is the name of the database: "OVN_Northbound", "OVN_Southbound" or "Open_vSwitch".
	Database string
	// Model is the generated model of the whole database; only monitored tables are used of it.
	Model model.ClientDBModel
	// Endpoints are tried in order: unix:/path, tcp:host:port or ssl:host:port.
	Endpoints []string
	// TLS is used for ssl endpoints.
	TLS *tls.Config
	// LeaderOnly leaves a server of a cluster when it is not, or no longer, the leader. With several endpoints also
	// when it does not answer (StallAfter) and another one leads.
	LeaderOnly bool
	// Monitors are the tables to keep in the cache.
	Monitors []Monitor
	// Indexes are additional, not necessarily unique, indexes of the cache by table.
	Indexes map[string][]model.ClientIndex
	// Handlers get the cache's events on each connection, from one goroutine per connection; they must
	// be quick. After a reconnect all rows come again as OnAdd. Events may be lost when a handler falls
	// 65,536 events behind: who must not miss anything compares with the cache from time to time.
	Handlers []cache.EventHandler
	// OnConnect is called after each connect when the cache is filled, with a number that grows.
	// It must not block.
	OnConnect func(epoch uint64)
	// Observer is told how the connection fares; nil means nobody.
	Observer Observer

	// DialTimeout bounds one attempt to reach one endpoint, up to its schema. Zero means 5 s.
	DialTimeout time.Duration
	// SyncTimeout bounds the first copy of the monitored tables. Zero means 2 min.
	SyncTimeout time.Duration
	// TransactTimeout bounds a transaction; when it passes the connection is replaced. Zero means 1 min.
	TransactTimeout time.Duration
	// ProbeInterval is the time between probes, ProbeTimeout that for the answer. Zero means 10 s
	// and 30 s.
	ProbeInterval, ProbeTimeout time.Duration
	// StallAfter is how long, with LeaderOnly and several endpoints, a probe (then sent at the same interval) or a transaction
	// may wait for its answer before the other endpoints are asked whether one of them leads now. A server that is merely busy is
	// not left: no other leads then. Zero means 2 s.
	StallAfter time.Duration
	// BackoffMin and BackoffMax bound the wait between two rounds over the endpoints. Zero means
	// 20 ms and 5 s.
	BackoffMin, BackoffMax time.Duration
}

func (o *Options) setDefaults() {
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	for _, d := range []struct {
		p *time.Duration
		v time.Duration
	}{
		{&o.DialTimeout, defaultDialTimeout},
		{&o.SyncTimeout, defaultSyncTimeout},
		{&o.TransactTimeout, defaultTransactTimeout},
		{&o.ProbeInterval, defaultProbeInterval},
		{&o.ProbeTimeout, defaultProbeTimeout},
		{&o.StallAfter, defaultStallAfter},
		{&o.BackoffMin, defaultBackoffMin},
		{&o.BackoffMax, defaultBackoffMax},
	} {
		if *d.p <= 0 {
			*d.p = d.v
		}
	}
}

// follows tells whether there may be another leader to go to.
func (o *Options) follows() bool { return o.LeaderOnly && len(o.Endpoints) > 1 }

func (o *Options) validate() error {
	if o.Database == "" || o.Model.Name() != o.Database {
		return fmt.Errorf("database %q needs the model of the same name, not that of %q", o.Database, o.Model.Name())
	}
	if len(o.Monitors) == 0 {
		return fmt.Errorf("database %s: no table to monitor", o.Database)
	}
	if len(o.Endpoints) == 0 {
		return fmt.Errorf("database %s: no endpoint", o.Database)
	}
	for _, e := range o.Endpoints {
		if err := ValidateEndpoint(e, o.TLS != nil); err != nil {
			return fmt.Errorf("database %s: %w", o.Database, err)
		}
	}
	return nil
}

// ValidateEndpoint checks the form of an endpoint: unix:/path, tcp:host:port or ssl:host:port, the
// latter only when TLS is configured. See ovsdb(7), "Active Connection Methods".
func ValidateEndpoint(endpoint string, haveTLS bool) error {
	method, rest, _ := strings.Cut(endpoint, ":")
	switch {
	case method == "unix" && strings.HasPrefix(rest, "/"):
		return nil
	case method == "tcp" && strings.Contains(rest, ":"):
		return nil
	case method == "ssl" && strings.Contains(rest, ":"):
		if !haveTLS {
			return fmt.Errorf("endpoint %q needs TLS keys and certificates", endpoint)
		}
		return nil
	}
	return fmt.Errorf("endpoint %q: want unix:/path, tcp:host:port or ssl:host:port", endpoint)
}

// ErrNotConnected is returned when there is no connection; nothing was sent.
var ErrNotConnected = errors.New("not connected to the database server")

// ErrUnknownOutcome is returned when the connection went away, or no reply came in time, after a
// transaction may have been sent: it may or may not have been committed.
var ErrUnknownOutcome = errors.New("outcome of the transaction is unknown")

// SchemaError says that the server's schema lacks something that is needed.
type SchemaError struct {
	Database string
	// Version is the version of the server's schema.
	Version string
	// Missing lists tables ("T") and columns ("T.c").
	Missing []string
}

// Error names the database, its schema's version and all that is missing.
func (e *SchemaError) Error() string {
	return fmt.Sprintf("the schema of %s (version %s) lacks %s: the server is older than the oldest that is supported (OVN 23.03, Open vSwitch 3.1)",
		e.Database, e.Version, strings.Join(e.Missing, ", "))
}
