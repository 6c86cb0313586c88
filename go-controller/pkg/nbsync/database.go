package nbsync

import (
	"fmt"
	"reflect"
	"slices"
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
	// ownerOf is Options.OwnerOf.
	ownerOf func(model.Model) (nbstate.Owner, bool)
}

// row is a row of the database.
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
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.uuid, b.uuid) })
	return rows, nil
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
// wanted, or when what they say tells so.
func (d *database) idOf(v nbstate.View, t *table, m model.Model) (string, bool) {
	if !t.marked() {
		id := t.identityOf(m)
		_, _, wanted := v.Row(nbstate.Key{Table: t.name, ID: id})
		if !wanted {
			_, wanted = d.ownerOf(m)
		}
		return id, wanted
	}
	id := t.externalIDs(m)[names.RowIDKey]
	return id, d.ours(t, m)
}

// unwanted tells whether a row is ours although nobody wants it, and returns the owner that it names.
func (d *database) unwanted(v nbstate.View, t *table, m model.Model) (nbstate.Owner, bool) {
	id, ours := d.idOf(v, t, m)
	if _, _, wanted := v.Row(nbstate.Key{Table: t.name, ID: id}); wanted || !ours {
		return nbstate.Owner{}, false
	}
	if !t.marked() {
		return d.ownerOf(m)
	}
	ids := t.externalIDs(m)
	return nbstate.Owner{Kind: ids[names.OwnerTypeKey], Name: ids[names.OwnerNameKey]}, true
}

// holder returns the row, other than uuid, that has the same values as m in an index of the server.
func (d *database) holder(t *table, m model.Model, uuid string) *row {
	rc := d.cache.Table(t.name)
	v := reflect.ValueOf(m).Elem()
	for _, index := range t.unique {
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

// claimant returns who wants a row or, when nobody does, whom the row itself names: it may be wanted again before it is
// deleted.
func (d *database) claimant(v nbstate.View, key nbstate.Key) (nbstate.Owner, bool) {
	if owner, _, wanted := v.Row(key); wanted {
		return owner, true
	}
	rows, err := d.find(key)
	if err != nil || len(rows) == 0 {
		return nbstate.Owner{}, false
	}
	return d.unwanted(v, d.catalog[key.Table], rows[0].model)
}
