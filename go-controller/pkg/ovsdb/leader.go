package ovsdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ovn-org/libovsdb/ovsdb"
	"github.com/ovn-org/libovsdb/ovsdb/serverdb"
)

// serverDatabase is the database in which a server tells of itself: ovsdb-server(5), "_Server".
const serverDatabase = "_Server"

// errNotLeader is for servers that follow, or that have lost contact with their cluster.
var errNotLeader = errors.New("the server is not the leader of its cluster")

// leaderWatch follows whether a server leads the cluster of a database. A database without a cluster
// counts as led.
type leaderWatch struct {
	database string
	rows     map[string]*databaseRow // of _Server's table Database, by UUID
}

// databaseRow has the columns that are monitored. An update carries those that changed.
type databaseRow struct {
	Name      *string `json:"name"`
	Model     *string `json:"model"`
	Leader    *bool   `json:"leader"`
	Connected *bool   `json:"connected"`
}

func newLeaderWatch(database string) *leaderWatch {
	return &leaderWatch{database: database, rows: map[string]*databaseRow{}}
}

// watch fails when the server does not lead; later, an update that says so ends the connection.
func (w *leaderWatch) watch(ctx context.Context, c *rpcConn) error {
	requests := map[string]ovsdb.MonitorRequest{serverdb.DatabaseTable: {
		Columns: []string{"name", "model", "leader", "connected"},
		Select:  ovsdb.NewDefaultMonitorSelect(),
	}}
	args := []any{serverDatabase, serverDatabase, requests}
	if err := c.callInOrder(ctx, ovsdb.ConditionalMonitorRPC, args, nil, w.update); err != nil {
		return fmt.Errorf("asking for the leader of %s: %w", w.database, err)
	}
	return nil
}

// update applies changes and returns errNotLeader when the server does not lead.
func (w *leaderWatch) update(updates json.RawMessage) error {
	var tables map[string]map[string]struct {
		Initial, Insert, Modify *databaseRow
	}
	if err := json.Unmarshal(updates, &tables); err != nil {
		return err
	}
	for uuid, u := range tables[serverdb.DatabaseTable] {
		switch {
		case u.Initial != nil:
			w.rows[uuid] = u.Initial
		case u.Insert != nil:
			w.rows[uuid] = u.Insert
		case u.Modify != nil && w.rows[uuid] != nil:
			w.rows[uuid].merge(u.Modify)
		default:
			delete(w.rows, uuid)
		}
	}
	for _, row := range w.rows {
		if value(row.Name) == w.database && !row.leads() {
			return errNotLeader
		}
	}
	return nil
}

func (r *databaseRow) merge(changed *databaseRow) {
	if changed.Model != nil {
		r.Model = changed.Model
	}
	if changed.Leader != nil {
		r.Leader = changed.Leader
	}
	if changed.Connected != nil {
		r.Connected = changed.Connected
	}
}

func (r *databaseRow) leads() bool {
	return value(r.Model) != serverdb.DatabaseModelClustered || value(r.Leader) && value(r.Connected)
}

// value is the default of a column when it was left out.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
