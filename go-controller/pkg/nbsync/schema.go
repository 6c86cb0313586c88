package nbsync

import (
	"crypto/tls"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/ovn-org/libovsdb/model"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// idColumn holds the marks of a row of ours.
const idColumn = "external_ids"

// table is a table's spec combined with its schema and its generated model.
type table struct {
	tableSpec
	name    string
	root    bool
	columns []column // those that are compared and written
	uuid    int      // field of _uuid
	extIDs  int      // field of external_ids, -1 when there is none
	shared  map[string]*column
	// strong lists the set columns of all tables that keep rows of this table alive.
	strong []tableColumn
	// unique lists the indexes that the server enforces.
	unique [][]*column
}

type tableColumn struct {
	table  string
	column *column
}

// column is a column of the model.
type column struct {
	name     string
	field    int
	schema   *libovsdb.ColumnSchema
	refTable string // where values refer to, or ""
	strong   bool   // keeps the row alive that it refers to
	set      bool   // holds any number of values
	skipIf   func(model.Model) bool
}

// catalog is the static knowledge of all tables that are synced.
type catalog map[string]*table

func newCatalog() (catalog, error) {
	full, err := nbdb.FullDatabaseModel()
	if err != nil {
		return nil, fmt.Errorf("northbound model: %w", err)
	}
	types := model.NewPartialDatabaseModel(full).Types()
	schema := nbdb.Schema()
	c := catalog{}
	all := map[string]map[string]*column{}
	for name, spec := range specs {
		ts := schema.Table(name)
		if ts == nil || types[name] == nil {
			return nil, fmt.Errorf("northbound model has no table %s", name)
		}
		t, columns, err := newTable(name, spec, ts, types[name].Elem())
		if err != nil {
			return nil, err
		}
		c[name], all[name] = t, columns
	}
	for name, columns := range all {
		for _, col := range columns {
			if target, ok := c[col.refTable]; ok && col.strong && col.set {
				target.strong = append(target.strong, tableColumn{name, col})
			}
		}
	}
	return c, nil
}

func newTable(name string, spec tableSpec, ts *libovsdb.TableSchema, t reflect.Type) (*table, map[string]*column, error) {
	out := &table{tableSpec: spec, name: name, root: ts.IsRoot, extIDs: -1, shared: map[string]*column{}}
	columns := map[string]*column{}
	shared := nbstate.SharedColumns(name)
	for i := range t.NumField() {
		colName := t.Field(i).Tag.Get("ovsdb")
		if colName == "_uuid" {
			out.uuid = i
		}
		cs := ts.Column(colName)
		if colName == "_uuid" || cs == nil {
			continue
		}
		col := newColumn(colName, i, cs, spec)
		columns[colName] = col
		switch ref, isShared := shared[colName]; {
		case isShared && ref != col.refTable:
			return nil, nil, fmt.Errorf("shared column %s.%s refers to %q, not %q", name, colName, col.refTable, ref)
		case isShared:
			out.shared[colName] = col
		case slices.Contains(spec.serverColumns, colName):
		default:
			out.columns = append(out.columns, *col)
		}
		if colName == idColumn {
			out.extIDs = i
		}
	}
	for _, index := range ts.Indexes {
		var cols []*column
		for _, c := range index {
			cols = append(cols, columns[c])
		}
		out.unique = append(out.unique, cols)
	}
	if out.extIDs < 0 && len(spec.identity) == 0 {
		return nil, nil, fmt.Errorf("table %s has neither external_ids nor an identity", name)
	}
	return out, columns, nil
}

func newColumn(name string, field int, cs *libovsdb.ColumnSchema, spec tableSpec) *column {
	col := &column{name: name, field: field, schema: cs, skipIf: spec.skipIf[name]}
	if cs.TypeObj != nil && cs.TypeObj.Key != nil && cs.TypeObj.Key.Type == libovsdb.TypeUUID {
		// Neither fails for a column of type uuid.
		col.refTable, _ = cs.TypeObj.Key.RefTable()
		refType, _ := cs.TypeObj.Key.RefType()
		col.strong = refType == libovsdb.Strong
	}
	col.set = libovsdb.NativeType(cs).Kind() == reflect.Slice
	return col
}

// marked tells whether rows carry the mark of their owner.
func (t *table) marked() bool { return len(t.identity) == 0 && !t.singleton }

// uuidOf returns the UUID of a row of the database.
func (t *table) uuidOf(m model.Model) string { return reflect.ValueOf(m).Elem().Field(t.uuid).String() }

// identityOf returns the ID of a row of a table without marks.
func (t *table) identityOf(m model.Model) string {
	v := reflect.ValueOf(m).Elem()
	var parts []string
	for i := range t.columns {
		if c := &t.columns[i]; slices.Contains(t.identity, c.name) {
			parts = append(parts, c.name+"\x00"+v.Field(c.field).String())
		}
	}
	slices.SortFunc(parts, func(a, b string) int {
		an, _, _ := strings.Cut(a, "\x00")
		bn, _, _ := strings.Cut(b, "\x00")
		return slices.Index(t.identity, an) - slices.Index(t.identity, bn)
	})
	for i := range parts {
		_, parts[i], _ = strings.Cut(parts[i], "\x00")
	}
	return strings.Join(parts, "|")
}

// ConnectOptions are the options with which to connect to the northbound database for a Syncer: the
// tables it looks after, without the columns that others write, and the index by row ID.
func ConnectOptions(endpoints []string, tlsConfig *tls.Config) (ovsdb.Options, error) {
	c, err := newCatalog()
	if err != nil {
		return ovsdb.Options{}, err
	}
	full, err := nbdb.FullDatabaseModel()
	if err != nil {
		return ovsdb.Options{}, fmt.Errorf("northbound model: %w", err)
	}
	o := ovsdb.Options{
		Database:   full.Name(),
		Model:      full,
		Endpoints:  endpoints,
		TLS:        tlsConfig,
		LeaderOnly: true,
		Indexes:    map[string][]model.ClientIndex{},
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range c {
			if !yield(name) {
				return
			}
		}
	}) {
		t := c[name]
		m := ovsdb.Monitor{Table: name}
		for _, col := range t.columns {
			m.Columns = append(m.Columns, col.name)
		}
		for col := range t.shared {
			m.Columns = append(m.Columns, col)
		}
		o.Monitors = append(o.Monitors, m)
		if t.marked() {
			o.Indexes[name] = []model.ClientIndex{{Columns: []model.ColumnKey{{Column: idColumn, Key: names.RowIDKey}}}}
		}
	}
	return o, nil
}
