package ovsdb

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ovn-org/libovsdb/ovsdb"
	"github.com/ovn-org/libovsdb/ovsdb/serverdb"
)

// ServerStatus is what a server says of one of its databases: ovsdb-server(5), table "Database" of "_Server".
type ServerStatus struct {
	// Model is "standalone", "clustered" or "relay".
	Model string
	// Leader and Connected belong to a clustered database.
	Leader, Connected bool
	// ClusterID is empty while the server has never joined a cluster.
	ClusterID string
}

// Leads tells whether the server takes writes.
func (s ServerStatus) Leads() bool {
	return s.Model != serverdb.DatabaseModelClustered || s.Leader && s.Connected
}

// noCluster is the identity that a server names as long as it has not joined.
const noCluster = "00000000-0000-0000-0000-000000000000"

// Ask asks the server at an endpoint, on a connection of its own, about a database. It waits until ctx ends.
func Ask(ctx context.Context, endpoint string, config *tls.Config, database string) (ServerStatus, error) {
	results, err := TransactOnce(ctx, endpoint, config, serverDatabase, ovsdb.Operation{
		Op: ovsdb.OperationSelect, Table: serverdb.DatabaseTable, Columns: []string{"model", "leader", "connected", "cid"},
		Where: []ovsdb.Condition{ovsdb.NewCondition("name", ovsdb.ConditionEqual, database)},
	})
	if err != nil {
		return ServerStatus{}, fmt.Errorf("asking %s about %s: %w", endpoint, database, err)
	}
	if len(results[0].Rows) != 1 {
		return ServerStatus{}, fmt.Errorf("the server at %s has no database %s", endpoint, database)
	}
	return statusOf(results[0].Rows[0]), nil
}

// TransactOnce sends one transaction to the server at an endpoint, on a connection of its own, and returns a result for each operation.
// It waits until ctx ends. A transaction that the server refuses is an error.
func TransactOnce(ctx context.Context, endpoint string, config *tls.Config, database string, ops ...ovsdb.Operation) ([]ovsdb.OperationResult, error) {
	conn, err := Dial(ctx, endpoint, config)
	if err != nil {
		return nil, err
	}
	rpc := newRPCConn(conn, defaultDialTimeout, func(string, []json.RawMessage) error { return nil })
	defer rpc.end(errors.New("answered"))
	var results []ovsdb.OperationResult
	if err := rpc.call(ctx, "transact", ovsdb.NewTransactArgs(database, ops...), &results); err != nil {
		return nil, err
	}
	_, err = CheckResults(results, len(ops))
	return results, err
}

func statusOf(row ovsdb.Row) ServerStatus {
	var s ServerStatus
	s.Model, _ = row["model"].(string)
	s.Leader, _ = row["leader"].(bool)
	s.Connected, _ = row["connected"].(bool)
	if id, ok := row["cid"].(ovsdb.UUID); ok && id.GoUUID != noCluster {
		s.ClusterID = id.GoUUID
	}
	return s
}

// FindLeader asks endpoints, all at once, and returns the first that leads. When none does before ctx ends the error has each one's
// reason.
func FindLeader(ctx context.Context, endpoints []string, config *tls.Config, database string) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		endpoint string
		err      error
	}
	answers := make(chan answer, len(endpoints))
	for _, e := range endpoints {
		go func() {
			status, err := Ask(ctx, e, config, database)
			if err == nil && !status.Leads() {
				err = errNotLeader
			}
			answers <- answer{e, err}
		}()
	}
	var errs []error
	for range endpoints {
		a := <-answers
		if a.err == nil {
			return a.endpoint, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", a.endpoint, a.err))
	}
	return "", errors.Join(errs...)
}

func findLeader(ctx context.Context, o *Options, endpoints []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	return FindLeader(ctx, endpoints, o.TLS, o.Database)
}
