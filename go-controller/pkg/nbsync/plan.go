package nbsync

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/ovn-org/libovsdb/model"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
)

// plan is what one owner needs from the database. Its rows are all or nothing. A member whose set or value is not there is
// left for later, and keeps nothing else from going on but a row that is to begin with it.
type plan struct {
	owner      nbstate.Owner
	generation uint64
	deleted    bool
	// deferred says that deletions were left out because the store is not synced yet.
	deferred bool

	inserts   []insertion
	updates   []update
	mutations []mutation
	adds      []memberChange
	removes   []memberChange
	deletes   []rowRef

	rows  []nbstate.Key // all rows the owner wants
	refs  []nbstate.Key // all rows it refers to
	needs []nbstate.Key // those that its rows refer to and other plans of the same batch must insert
	keeps []nbstate.Key // those of needs that its rows refer to strongly
	waits []nbstate.Key // those that its rows refer to and that are not there and will not be in this batch
	late  []nbstate.Key // the same for its members
	// unkept are rows to insert that nothing in the batch refers to: the server would delete them at once.
	// They are in waits too.
	unkept []nbstate.Key
	err    error // why it cannot be done at all
}

// rowRef names a row of the database.
type rowRef struct{ table, uuid string }

type insertion struct {
	key nbstate.Key
	row libovsdb.Row
}

type update struct {
	rowRef
	row libovsdb.Row
}

// mutation changes single keys of a map that others use too.
type mutation struct {
	rowRef
	mutations []libovsdb.Mutation
}

// memberChange adds a value to, or removes it from, a set column of a row. The row is in the database
// (uuid) or is inserted by the same transaction (key).
type memberChange struct {
	rowRef
	key    nbstate.Key
	column *column
	value  string
	// needs are set and value, as far as other plans of the same batch must insert them; keeps is the value, if that lives only
	// as long as something refers to it.
	needs, keeps []nbstate.Key
	// whole: the value is a row that the same plan inserts and that lives by its references. It begins with all of them: a port
	// is connected when it is in all its groups.
	whole bool
}

// goesOn tells whether the plan has a place in the transaction.
func (p *plan) goesOn() bool { return p.err == nil && len(p.waits) == 0 }

func (p *plan) size() int { return p.rowChanges() + p.memberChanges() }

// rowChanges counts what becomes an operation of its own, memberChanges what is put into one for each set.
func (p *plan) rowChanges() int {
	return len(p.inserts) + len(p.updates) + len(p.mutations) + len(p.deletes)
}

func (p *plan) memberChanges() int { return len(p.adds) + len(p.removes) }

// planOwner compares all that an owner wants, and no longer wants, with the database.
func (b *batch) planOwner(owner nbstate.Owner, leftovers *leftovers) *plan {
	p := &plan{owner: owner}
	v, ok := b.view.Owner(owner)
	if ok {
		p.generation, p.deleted = v.Generation, v.Deleted
	}
	for _, r := range v.Desired.Rows {
		if err := b.planRow(p, r); err != nil {
			p.err = err
			return p
		}
	}
	for _, m := range v.Desired.Members {
		b.planMember(p, m)
	}
	b.planGone(p, v)
	if b.view.IsSynced() {
		b.planLeftovers(p, leftovers)
	}
	return p
}

// planRow makes a wanted row exist with the right contents, once.
func (b *batch) planRow(p *plan, r nbstate.Row) error {
	tableName, _ := b.store.TableOf(r.Model)
	key := nbstate.Key{Table: tableName, ID: r.ID}
	p.rows = append(p.rows, key)
	t := b.db.catalog[tableName]
	if t == nil {
		return fmt.Errorf("row %s: the table is not synced", key)
	}
	loc := b.locate(key)
	if loc.err != nil {
		return loc.err
	}
	if t.singleton {
		if r.ID != globalID {
			return fmt.Errorf("row %s: the ID of the only row of this table is %q", key, globalID)
		}
		return b.planSingleton(p, t, key, r.Model)
	}
	if !t.marked() && t.identityOf(r.Model) != r.ID {
		return fmt.Errorf("row %s: the ID must be %q, the row's own identity", key, t.identityOf(r.Model))
	}
	want := wantedRow{table: t, model: r.Model}
	if t.marked() {
		want.marks = b.marks(p.owner, r.ID)
	}
	resolve := func(refTable, id string, strong bool) string {
		return b.refer(p, nbstate.Key{Table: refTable, ID: id}, strong)
	}
	if len(loc.rows) == 0 {
		row, err := want.insertRow(resolve)
		if err != nil {
			return fmt.Errorf("row %s: %w", key, err)
		}
		p.inserts = append(p.inserts, insertion{key, row})
		return b.checkUnique(t, key, r.Model, "")
	}
	found := loc.rows[0]
	changed, err := want.changes(found.model, resolve)
	if err != nil {
		return fmt.Errorf("row %s: %w", key, err)
	}
	if len(changed) > 0 {
		p.updates = append(p.updates, update{rowRef{tableName, found.uuid}, changed})
		if err := b.checkUnique(t, key, r.Model, found.uuid); err != nil {
			return err
		}
	}
	if b.view.IsSynced() {
		for _, extra := range loc.rows[1:] {
			b.planDelete(p, t, extra.uuid)
		}
	}
	return nil
}

func (b *batch) marks(owner nbstate.Owner, id string) map[string]string {
	return map[string]string{
		names.RowIDKey:           id,
		names.OwnerControllerKey: b.db.controller,
		names.OwnerTypeKey:       owner.Kind,
		names.OwnerNameKey:       owner.Name,
	}
}

// checkUnique refuses what the server would refuse because of a foreign row, with a better message.
func (b *batch) checkUnique(t *table, key nbstate.Key, m model.Model, uuid string) error {
	if len(t.unique) == 0 || !t.marked() {
		return nil
	}
	other := b.db.holder(t, m, uuid)
	if other == nil || b.db.ours(t, other.model) {
		return nil
	}
	return &CollisionError{Key: key, Table: t.name, UUID: other.uuid, ExternalIDs: t.externalIDs(other.model)}
}

// planSingleton merges into the one row of a table that all share.
func (b *batch) planSingleton(p *plan, t *table, key nbstate.Key, m model.Model) error {
	want := wantedRow{table: t, model: m}
	loc := b.locate(key)
	if len(loc.rows) == 0 {
		row, err := want.insertRow(nil)
		p.inserts = append(p.inserts, insertion{key, row})
		return err
	}
	ref := rowRef{t.name, loc.rows[0].uuid}
	v, a := reflect.ValueOf(m).Elem(), reflect.ValueOf(loc.rows[0].model).Elem()
	scalars := libovsdb.Row{}
	for i := range t.columns {
		c := &t.columns[i]
		value, have := v.Field(c.field).Interface(), a.Field(c.field).Interface()
		if pairs, ok := value.(map[string]string); ok {
			actual, _ := have.(map[string]string)
			if ms := mergeKeys(c.name, pairs, actual); len(ms) > 0 {
				p.mutations = append(p.mutations, mutation{ref, ms})
			}
			continue
		}
		if libovsdb.IsDefaultValue(c.schema, value) || value == false || sameValue(value, have) {
			continue
		}
		o, err := libovsdb.NativeToOvs(c.schema, value)
		if err != nil {
			return fmt.Errorf("row %s: %w", key, err)
		}
		scalars[c.name] = o
	}
	if len(scalars) > 0 {
		p.updates = append(p.updates, update{ref, scalars})
	}
	return nil
}

// mergeKeys returns the mutations that put pairs into a map column. "insert" keeps the value of a key
// that is there already (RFC 7047, section 5.1), so that key is deleted first.
func mergeKeys(column string, pairs, actual map[string]string) []libovsdb.Mutation {
	stale, fresh := libovsdb.OvsSet{}, libovsdb.OvsMap{GoMap: map[any]any{}}
	for k, v := range pairs {
		have, ok := actual[k]
		if ok && have == v {
			continue
		}
		if ok {
			stale.GoSet = append(stale.GoSet, k)
		}
		fresh.GoMap[k] = v
	}
	var out []libovsdb.Mutation
	if len(stale.GoSet) > 0 {
		out = append(out, *libovsdb.NewMutation(column, libovsdb.MutateOperationDelete, stale))
	}
	if len(fresh.GoMap) > 0 {
		out = append(out, *libovsdb.NewMutation(column, libovsdb.MutateOperationInsert, fresh))
	}
	return out
}

// planMember makes a wanted member be in its set.
func (b *batch) planMember(p *plan, m nbstate.Member) {
	c := b.db.catalog[m.Parent.Table].shared[m.Column]
	change := memberChange{key: m.Parent, column: c, value: m.Value}
	row := nbstate.Key{Table: c.refTable, ID: m.Value}
	if target := b.db.catalog[c.refTable]; target != nil && !target.root {
		change.whole = slices.ContainsFunc(p.inserts, func(i insertion) bool { return i.key == row })
	}
	refer := func(key nbstate.Key, strong bool) string {
		value, r := b.resolve(p, key)
		switch {
		case r == missing && change.whole:
			p.waits = append(p.waits, key)
		case r == missing:
			p.late = append(p.late, key)
		case r == pending:
			change.needs = append(change.needs, key)
			if strong {
				change.keeps = append(change.keeps, key)
			}
		}
		return value
	}
	change.rowRef = rowRef{m.Parent.Table, refer(m.Parent, false)}
	if c.refTable != "" {
		change.value = refer(row, c.strong)
	}
	if change.uuid == "" || change.value == "" {
		return
	}
	if _, ok := b.actual(m.Parent, c)[change.value]; !ok {
		p.adds = append(p.adds, change)
	}
}

// planGone removes what the owner wanted once and nobody wants now.
func (b *batch) planGone(p *plan, v nbstate.OwnerView) {
	for m := range v.GoneMembers {
		switch {
		case b.view.Wanted(m):
		case !b.view.IsSynced():
			p.deferred = true
		default:
			b.planRemove(p, m)
		}
	}
	for key := range v.GoneRows {
		if _, _, wanted := b.view.Row(key); wanted {
			continue
		}
		if !b.view.IsSynced() {
			p.deferred = true
			continue
		}
		t := b.db.catalog[key.Table]
		loc := b.locate(key)
		if loc.err != nil || t == nil || t.singleton {
			continue
		}
		for _, r := range loc.rows {
			b.planDelete(p, t, r.uuid)
		}
	}
}

// planRemove takes a member out of its set, if it is there.
func (b *batch) planRemove(p *plan, m nbstate.Member) {
	c := b.db.catalog[m.Parent.Table].shared[m.Column]
	parent := b.locate(m.Parent)
	if len(parent.rows) == 0 {
		return
	}
	values := []string{m.Value}
	if c.refTable != "" {
		values = nil
		for _, r := range b.locate(nbstate.Key{Table: c.refTable, ID: m.Value}).rows {
			values = append(values, r.uuid)
		}
	}
	actual := b.actual(m.Parent, c)
	for _, value := range values {
		if _, ok := actual[value]; ok {
			p.removes = append(p.removes, memberChange{rowRef: rowRef{m.Parent.Table, parent.rows[0].uuid}, key: m.Parent, column: c, value: value})
		}
	}
}

// planDelete deletes a row. Rows of tables that are not in the root set are deleted by the server when
// nothing refers to them any more; a row in the root set cannot be deleted while something does, not even by a row that goes
// with the same transaction because nothing refers to that: so such a row is deleted, too.
func (b *batch) planDelete(p *plan, t *table, uuid string) {
	for _, r := range b.referrers(t)[uuid] {
		p.removes = append(p.removes, memberChange{rowRef: r.rowRef, column: r.column, value: uuid})
	}
	if t.root || b.holds(t, uuid) {
		p.deletes = append(p.deletes, rowRef{t.name, uuid})
	}
}

// holds tells whether a row refers to one in the root set that cannot be deleted as long as it does.
func (b *batch) holds(t *table, uuid string) bool {
	m := b.db.get(t.name, uuid)
	return m != nil && slices.ContainsFunc(t.columns, func(c column) bool {
		target := b.db.catalog[c.refTable]
		return c.strong && target != nil && target.root && !reflect.ValueOf(m).Elem().Field(c.field).IsZero()
	})
}
