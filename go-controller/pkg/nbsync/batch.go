package nbsync

import (
	"fmt"
	"reflect"

	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
)

// batch plans many owners against one view of the store and one look at each row of the database.
type batch struct {
	db    *database
	store *nbstate.Store
	view  nbstate.View
	// mayPull tells whether an owner that others refer to may join the batch.
	mayPull   func(nbstate.Owner) bool
	leftovers func(nbstate.Owner) *leftovers

	plans   map[nbstate.Owner]*plan
	order   []*plan
	pulled  []nbstate.Owner
	located map[nbstate.Key]*location
	sets    map[setKey]map[string]struct{}
	refers  map[string]map[string][]referrer
	// rowChanges and memberChanges are those of all plans.
	rowChanges, memberChanges int
}

// location is where a row is: in the database, or to be inserted under a name.
type location struct {
	rows []row
	name string
	err  error
}

type setKey struct {
	parent nbstate.Key
	column string
}

// referrer is a set column that keeps a row alive.
type referrer struct {
	rowRef
	column *column
}

func newBatch(db *database, store *nbstate.Store, view nbstate.View) *batch {
	return &batch{
		db: db, store: store, view: view,
		plans:   map[nbstate.Owner]*plan{},
		located: map[nbstate.Key]*location{},
		sets:    map[setKey]map[string]struct{}{},
		refers:  map[string]map[string][]referrer{},
	}
}

// add plans an owner, and then those that it pulled in.
func (b *batch) add(owner nbstate.Owner) {
	b.include(owner)
	for len(b.pulled) > 0 {
		next := b.pulled[0]
		b.pulled = b.pulled[1:]
		p := b.planOwner(next, b.leftovers(next))
		b.plans[next] = p
		b.order = append(b.order, p)
		b.rowChanges += p.rowChanges()
		b.memberChanges += p.memberChanges()
	}
}

// include queues an owner for planning once.
func (b *batch) include(owner nbstate.Owner) {
	if _, ok := b.plans[owner]; !ok {
		b.plans[owner] = nil
		b.pulled = append(b.pulled, owner)
	}
}

func (b *batch) locate(key nbstate.Key) *location {
	loc, ok := b.located[key]
	if !ok {
		loc = &location{name: fmt.Sprintf("r%d", len(b.located))}
		loc.rows, loc.err = b.db.find(key)
		b.located[key] = loc
	}
	return loc
}

// resolution is where a row that something refers to is, or will be.
type resolution int

const (
	// missing: the row is not there, and will not be after this batch.
	missing resolution = iota
	// found: the row is in the database.
	found
	// pending: a plan of this batch inserts the row, if it goes on.
	pending
)

// resolve returns the UUID of a wanted row, or its name when it is inserted by this batch. Without either the result is empty.
func (b *batch) resolve(p *plan, key nbstate.Key) (string, resolution) {
	p.refs = append(p.refs, key)
	loc := b.locate(key)
	owner, _, wanted := b.view.Row(key)
	switch {
	case !wanted:
		return "", missing
	case len(loc.rows) > 0:
		return loc.rows[0].uuid, found
	}
	if _, ok := b.plans[owner]; !ok {
		if !b.mayPull(owner) {
			return "", missing
		}
		b.include(owner)
	}
	return loc.name, pending
}

// refer is resolve for a row that another row refers to. When it is missing, the plan waits.
func (b *batch) refer(p *plan, key nbstate.Key, strong bool) string {
	value, r := b.resolve(p, key)
	switch r {
	case found:
	case missing:
		p.waits = append(p.waits, key)
	case pending:
		p.needs = append(p.needs, key)
		if strong {
			p.keeps = append(p.keeps, key)
		}
	}
	return value
}

// actual returns the values that a set column of a row holds in the database.
func (b *batch) actual(parent nbstate.Key, c *column) map[string]struct{} {
	k := setKey{parent, c.name}
	set, ok := b.sets[k]
	if !ok {
		if rows := b.locate(parent).rows; len(rows) > 0 {
			set = toSet(fieldStrings(rows[0].model, c))
		}
		b.sets[k] = set
	}
	return set
}

// fieldStrings returns the values of a set column.
func fieldStrings(m model.Model, c *column) []string {
	values, _ := reflect.ValueOf(m).Elem().Field(c.field).Interface().([]string)
	return values
}

func toSet(values []string) map[string]struct{} {
	set := make(map[string]struct{}, len(values))
	for _, v := range values {
		set[v] = struct{}{}
	}
	return set
}

// referrers returns, by UUID, what keeps the rows of a table alive.
func (b *batch) referrers(t *table) map[string][]referrer {
	out, ok := b.refers[t.name]
	if ok {
		return out
	}
	out = map[string][]referrer{}
	for _, tc := range t.strong {
		rc := b.db.cache.Table(tc.table)
		if rc == nil {
			continue
		}
		for uuid, m := range rc.RowsShallow() {
			for _, value := range fieldStrings(m, tc.column) {
				out[value] = append(out[value], referrer{rowRef{tc.table, uuid}, tc.column})
			}
		}
	}
	b.refers[t.name] = out
	return out
}

// planLeftovers deletes what nobody wants any more and no owner remembers: rows that an earlier life of
// this process made, and members that others added.
func (b *batch) planLeftovers(p *plan, l *leftovers) {
	if l == nil {
		return
	}
	for ref := range l.rows {
		t := b.db.catalog[ref.table]
		m := b.db.get(ref.table, ref.uuid)
		if m == nil {
			continue
		}
		id, ours := b.db.idOf(b.view, t, m)
		if _, _, wanted := b.view.Row(nbstate.Key{Table: ref.table, ID: id}); ours && !wanted {
			b.planDelete(p, t, ref.uuid)
		}
	}
	for s := range l.members {
		if !b.view.Wanted(s.member) {
			b.planStray(p, s)
		}
	}
}

// planStray removes a member by its value in the database.
func (b *batch) planStray(p *plan, s stray) {
	parent := b.locate(s.member.Parent)
	t := b.db.catalog[s.member.Parent.Table]
	if len(parent.rows) == 0 || t == nil {
		return
	}
	c := t.shared[s.member.Column]
	if _, ok := b.actual(s.member.Parent, c)[s.value]; ok {
		p.removes = append(p.removes, memberChange{rowRef: rowRef{t.name, parent.rows[0].uuid}, key: s.member.Parent, column: c, value: s.value})
	}
}
