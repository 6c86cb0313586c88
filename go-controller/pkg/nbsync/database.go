package nbsync

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/model"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
)

// database finds rows in libovsdb's cache.
type database struct {
	catalog    catalog
	cache      *cache.TableCache
	controller string
	// lookups counts by table; directories are made for those where many are made.
	lookups     map[string]int
	directories map[string]*directory
}

// directory is a table at one instant, for many look-ups: one in libovsdb's index costs some 12 µs, making
// the directory a few hundred nanoseconds per row.
type directory struct {
	byID    *rowIndex
	byIndex []*rowIndex
}

// rowIndex finds rows by a value that rows normally do not share.
type rowIndex struct {
	first map[string]row
	more  map[string][]row
}

func newRowIndex(size int) *rowIndex {
	return &rowIndex{first: make(map[string]row, size), more: map[string][]row{}}
}

func (x *rowIndex) add(value string, r row) {
	if _, ok := x.first[value]; ok {
		x.more[value] = append(x.more[value], r)
		return
	}
	x.first[value] = r
}

func (x *rowIndex) rows(value string) []row {
	first, ok := x.first[value]
	if !ok {
		return nil
	}
	return append([]row{first}, x.more[value]...)
}

// directoryFrom is the ratio of rows to look-ups below which a directory pays.
const directoryFrom = 50

// directory returns the directory of a table once it pays, else nil.
func (d *database) directory(t *table, rc *cache.RowCache) *directory {
	if dir := d.directories[t.name]; dir != nil || !t.marked() {
		return dir
	}
	d.lookups[t.name]++
	if d.lookups[t.name]*directoryFrom < rc.Len() {
		return nil
	}
	rows := rc.RowsShallow()
	dir := &directory{byID: newRowIndex(len(rows))}
	for range t.unique {
		dir.byIndex = append(dir.byIndex, newRowIndex(len(rows)))
	}
	for uuid, m := range rows {
		r := row{uuid, m}
		if d.ours(t, m) {
			dir.byID.add(t.externalIDs(m)[names.RowIDKey], r)
		}
		v := reflect.ValueOf(m).Elem()
		for i, index := range t.unique {
			dir.byIndex[i].add(indexKey(index, v), r)
		}
	}
	d.directories[t.name] = dir
	return dir
}

// indexKey is what a row has in the columns of an index.
func indexKey(index []*column, v reflect.Value) string {
	if len(index) == 1 {
		return v.Field(index[0].field).String()
	}
	var parts []string
	for _, c := range index {
		parts = append(parts, strconv.Quote(v.Field(c.field).String()))
	}
	return strings.Join(parts, ",")
}

func newDatabase(c catalog, tc *cache.TableCache, controller string) *database {
	return &database{catalog: c, cache: tc, controller: controller, lookups: map[string]int{}, directories: map[string]*directory{}}
}

// row is a row of the database. Its model may be shared with the cache and must not be changed.
type row struct {
	uuid  string
	model model.Model
}

// externalIDs returns a row's external_ids, or nil in tables without.
func (t *table) externalIDs(m model.Model) map[string]string {
	if t.extIDs < 0 {
		return nil
	}
	ids, _ := reflect.ValueOf(m).Elem().Field(t.extIDs).Interface().(map[string]string)
	return ids
}

// ours tells whether a row carries our mark.
func (d *database) ours(t *table, m model.Model) bool {
	return t.marked() && t.externalIDs(m)[names.OwnerControllerKey] == d.controller
}

// find returns the rows with an ID, best first: normally none or one. Rows that others made are left out.
func (d *database) find(key nbstate.Key) ([]row, error) {
	t := d.catalog[key.Table]
	rc := d.cache.Table(key.Table)
	if t == nil || rc == nil {
		return nil, fmt.Errorf("table %s is not synced", key.Table)
	}
	if dir := d.directory(t, rc); dir != nil {
		rows := dir.byID.rows(key.ID)
		sortRows(rows)
		return rows, nil
	}
	where, err := t.conditions(key.ID)
	if err != nil {
		return nil, err
	}
	found, err := rc.RowsByCondition(where)
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w", key, err)
	}
	var rows []row
	for uuid, m := range found {
		if t.marked() && !d.ours(t, m) {
			continue
		}
		rows = append(rows, row{uuid, m})
	}
	sortRows(rows)
	return rows, nil
}

func sortRows(rows []row) {
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.uuid, b.uuid) })
}

// conditions match the rows with an ID.
func (t *table) conditions(id string) ([]libovsdb.Condition, error) {
	if t.singleton {
		return nil, nil
	}
	if t.marked() {
		return []libovsdb.Condition{libovsdb.NewCondition(idColumn, libovsdb.ConditionIncludes,
			libovsdb.OvsMap{GoMap: map[any]any{names.RowIDKey: id}})}, nil
	}
	values := strings.SplitN(id, "|", len(t.identity))
	if len(values) != len(t.identity) {
		return nil, fmt.Errorf("%s/%s: the ID of a row of this table is %s", t.name, id, strings.Join(t.identity, "|"))
	}
	var where []libovsdb.Condition
	for i, c := range t.identity {
		where = append(where, libovsdb.NewCondition(c, libovsdb.ConditionEqual, values[i]))
	}
	return where, nil
}

// get returns a row by UUID, or nil.
func (d *database) get(tableName, uuid string) model.Model {
	rc := d.cache.Table(tableName)
	if rc == nil {
		return nil
	}
	return rc.Row(uuid)
}

// idOf returns the ID of a row, and whether it is one of ours. Rows without marks are ours while they are
// wanted.
func (d *database) idOf(v nbstate.View, t *table, m model.Model) (string, bool) {
	if !t.marked() {
		id := t.identityOf(m)
		_, _, wanted := v.Row(nbstate.Key{Table: t.name, ID: id})
		return id, wanted
	}
	id := t.externalIDs(m)[names.RowIDKey]
	return id, d.ours(t, m)
}

// holder returns the row, other than uuid, that has the same values as m in an index of the server.
func (d *database) holder(t *table, m model.Model, uuid string) *row {
	rc := d.cache.Table(t.name)
	v := reflect.ValueOf(m).Elem()
	dir := d.directory(t, rc)
	for i, index := range t.unique {
		if dir != nil {
			for _, other := range dir.byIndex[i].rows(indexKey(index, v)) {
				if other.uuid != uuid {
					return &other
				}
			}
			continue
		}
		var where []libovsdb.Condition
		for _, c := range index {
			where = append(where, libovsdb.NewCondition(c.name, libovsdb.ConditionEqual, v.Field(c.field).Interface()))
		}
		found, err := rc.RowsByCondition(where)
		if err != nil {
			continue
		}
		for u, other := range found {
			if u != uuid {
				return &row{u, other}
			}
		}
	}
	return nil
}
