// Package database reads OVN's databases by way of a program beside them, in one consistent view, and tells which object of
// Kubernetes each northbound row comes from.
package database

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ovn-org/libovsdb/model"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"
	"github.com/ovn-org/libovsdb/ovsdb/serverdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/sbdb"
)

// Snapshot is a database's content at one time.
type Snapshot struct {
	// tables hold rows by UUID.
	tables map[string]map[string]model.Model
}

// New makes a snapshot of rows, by table and UUID.
func New(tables map[string]map[string]model.Model) *Snapshot { return &Snapshot{tables} }

// Northbound reads tables of the northbound database; none given means all that hold configuration.
func Northbound(ctx context.Context, a access.Access, tables ...string) (*Snapshot, error) {
	client, err := nbdb.FullDatabaseModel()
	if err != nil {
		return nil, fmt.Errorf("northbound model: %w", err)
	}
	if len(tables) == 0 {
		tables = slices.DeleteFunc(slices.Sorted(maps.Keys(nbdb.Schema().Tables)), func(t string) bool {
			return t == nbdb.ConnectionTable || t == nbdb.SSLTable
		})
	}
	return read(ctx, a, ovndb.NB(), nbdb.Schema(), client, tables)
}

// Southbound reads tables of the southbound database.
func Southbound(ctx context.Context, a access.Access, tables ...string) (*Snapshot, error) {
	client, err := sbdb.FullDatabaseModel()
	if err != nil {
		return nil, fmt.Errorf("southbound model: %w", err)
	}
	return read(ctx, a, ovndb.SB(), sbdb.Schema(), client, tables)
}

// Put puts a row in.
func (s *Snapshot) Put(table, uuid string, m model.Model) { s.tables[table][uuid] = m }

// Rows are the rows of a table, whose model T is, by UUID.
func Rows[T any](s *Snapshot, table string) map[string]*T {
	out := make(map[string]*T, len(s.tables[table]))
	for uuid, m := range s.tables[table] {
		if row, ok := m.(*T); ok {
			out[uuid] = row
		}
	}
	return out
}

// Sorted are the same in the order of a text about each.
func Sorted[T any](s *Snapshot, table string, by func(*T) string) []*T {
	rows := slices.Collect(maps.Values(Rows[T](s, table)))
	slices.SortFunc(rows, func(a, b *T) int {
		switch x, y := by(a), by(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return rows
}

// read selects whole tables in one transaction.
func read(ctx context.Context, a access.Access, k ovndb.Kind, schema libovsdb.DatabaseSchema, client model.ClientDBModel, tables []string) (*Snapshot, error) {
	db, errs := model.NewDatabaseModel(schema, client)
	if len(errs) > 0 {
		return nil, fmt.Errorf("model of %s: %w", k.Database, errs[0])
	}
	var ops []libovsdb.Operation
	for _, t := range tables {
		columns := append(slices.Sorted(maps.Keys(schema.Table(t).Columns)), "_uuid")
		ops = append(ops, libovsdb.Operation{Op: libovsdb.OperationSelect, Table: t, Columns: columns, Where: []libovsdb.Condition{}})
	}
	results, err := Query(ctx, a, k, k.Database, ops...)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{tables: map[string]map[string]model.Model{}}
	for i, t := range tables {
		s.tables[t] = make(map[string]model.Model, len(results[i].Rows))
		for _, row := range results[i].Rows {
			id, ok := row["_uuid"].(libovsdb.UUID)
			if !ok {
				return nil, fmt.Errorf("%s: a row of %s has no UUID", k.Database, t)
			}
			m, err := model.CreateModel(db, t, &row, id.GoUUID)
			if err != nil {
				return nil, fmt.Errorf("%s: row %s of %s: %w", k.Database, id.GoUUID, t, err)
			}
			s.tables[t][id.GoUUID] = m
		}
	}
	return s, nil
}

// Query sends a read-only transaction to a database of the server of kind k: its own, which is the leader's where that can be reached, or
// _Server, which is about the server itself.
func Query(ctx context.Context, a access.Access, k ovndb.Kind, database string, ops ...libovsdb.Operation) ([]libovsdb.OperationResult, error) {
	transaction, err := json.Marshal(libovsdb.NewTransactArgs(database, ops...))
	if err != nil {
		return nil, fmt.Errorf("query of %s: %w", database, err)
	}
	script := query
	if database == serverdb.Schema().Name {
		script = `db="$own"; ` + query
	}
	text, err := access.Output(ctx, a, access.Beside(k), Shell(k, script, string(transaction))...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", database, err)
	}
	var results []libovsdb.OperationResult
	if err := json.Unmarshal([]byte(text), &results); err != nil {
		return nil, fmt.Errorf("read %s: unexpected answer: %w", database, err)
	}
	if _, err := ovsdb.CheckResults(results, len(ops)); err != nil {
		return nil, fmt.Errorf("read %s: %w", database, err)
	}
	return results, nil
}

// Features reads what a database's schema has.
func Features(ctx context.Context, a access.Access, k ovndb.Kind) (ovsdb.Features, error) {
	text, err := access.Output(ctx, a, access.Beside(k), Shell(k, `exec ovsdb-client --no-leader-only --timeout=60 get-schema "$own" "$1"`, k.Database)...)
	if err != nil {
		return ovsdb.Features{}, fmt.Errorf("read the schema of %s: %w", k.Database, err)
	}
	return ovsdb.ParseFeatures([]byte(text))
}

// query is the script of queries. The way to the leader is open but silent as long as there is none: who does not get through in some
// seconds asks the server's own copy.
const query = `[ "$db" = "$own" ] || ovsdb-client --timeout=5 list-dbs "$db" >/dev/null 2>&1 || db="$own"; ` +
	`exec ovsdb-client --no-leader-only --timeout=60 query "$db" "$1"`

// Shell is the command of a script in which $db is the endpoint of a database and $1… are args: what OVN's own programs would use,
// OVN_NB_DB or OVN_SB_DB, or the socket that leads to the cluster's leader, or, where there is none, the server's own. $own is the same
// without the leader.
func Shell(k ovndb.Kind, script string, args ...string) []string {
	return shell(ovndb.Config{Kind: k, RunDir: ovndb.DefaultRunDir}, script, args...)
}

func shell(c ovndb.Config, script string, args ...string) []string {
	variable := "OVN_" + strings.ToUpper(c.Kind.Short) + "_DB"
	endpoints := fmt.Sprintf(`own=unix:%s; db="$own"; [ -S %s ] && db=unix:%[2]s; own="${%s:-$own}"; db="${%[3]s:-$db}"; `, c.Socket(), c.LeaderSocket(), variable)
	return append([]string{"sh", "-c", endpoints + script, "sh"}, args...)
}
