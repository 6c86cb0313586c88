package nbsync

import (
	"slices"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
)

// transaction is what is sent for the plans of a batch that can be done.
type transaction struct {
	plans   []*plan // those that are in it, also those that need no operation
	stuck   []*plan // those that wait or cannot be done
	ops     []libovsdb.Operation
	origins []origin // by operation
}

// changes counts the owners for whom something changes.
func (t *transaction) changes() int {
	n := 0
	for _, p := range t.plans {
		if p.size() > 0 {
			n++
		}
	}
	return n
}

// origin says which plans an operation is for.
type origin struct {
	plans []*plan
	// hits says that the operation must have found its row.
	hits bool
}

// transaction puts the plans together. A plan is left out, and waits, when one of its rows refers to a row that no
// other plan inserts, or when it inserts a row that the server would delete at once. Members for which that holds are left
// out by themselves.
func (b *batch) transaction() *transaction {
	out := &transaction{}
	in := map[nbstate.Key]struct{}{} // rows that are inserted
	for _, p := range b.order {
		if p.goesOn() {
			for _, i := range p.inserts {
				in[i.key] = struct{}{}
			}
		}
	}
	for b.leaveOut(in) {
	}
	for _, p := range b.order {
		if !p.goesOn() || p.size() == 0 && len(p.late) > 0 {
			out.stuck = append(out.stuck, p)
			continue
		}
		out.plans = append(out.plans, p)
	}
	a := assembler{b: b, tx: out, inserted: map[nbstate.Key]int{}, mutated: map[rowRef]*parentChange{}, deleted: map[rowRef]int{}}
	a.assemble()
	return out
}

// leaveOut looks once for plans and members that cannot go on, since what they need is not in, and tells whether there were any.
func (b *batch) leaveOut(in map[nbstate.Key]struct{}) bool {
	again := false
	kept := map[nbstate.Key]struct{}{}
	for _, p := range b.order {
		if !p.goesOn() {
			continue
		}
		again = p.postpone(in) || again
		for _, k := range p.keeps {
			kept[k] = struct{}{}
		}
		for _, m := range p.adds {
			for _, k := range m.keeps {
				kept[k] = struct{}{}
			}
		}
	}
	for _, p := range b.order {
		if !p.goesOn() {
			continue
		}
		if p.waits = b.missing(p, in, kept); len(p.waits) > 0 {
			again = true
			for _, i := range p.inserts {
				delete(in, i.key)
			}
		}
	}
	return again
}

// postpone takes out the members that need rows which are not in, and tells whether there were any.
func (p *plan) postpone(in map[nbstate.Key]struct{}) bool {
	before := len(p.late)
	p.adds = slices.DeleteFunc(p.adds, func(m memberChange) bool {
		out := slices.DeleteFunc(slices.Clone(m.needs), func(k nbstate.Key) bool { _, ok := in[k]; return ok })
		if m.whole {
			p.needs = append(p.needs, out...) // So the plan waits.
			return false
		}
		p.late = append(p.late, out...)
		return len(out) > 0
	})
	return len(p.late) > before
}

// missing returns what stands in the way of a plan.
func (b *batch) missing(p *plan, in, kept map[nbstate.Key]struct{}) []nbstate.Key {
	var out []nbstate.Key
	for _, k := range p.needs {
		if _, ok := in[k]; !ok {
			out = append(out, k)
		}
	}
	for _, i := range p.inserts {
		if _, ok := kept[i.key]; !ok && !b.db.catalog[i.key.Table].root {
			p.unkept = append(p.unkept, i.key)
			out = append(out, i.key)
		}
	}
	return out
}

// assembler turns plans into operations.
type assembler struct {
	b        *batch
	tx       *transaction
	inserted map[nbstate.Key]int // index of the operation
	mutated  map[rowRef]*parentChange
	parents  []*parentChange
	deleted  map[rowRef]int
}

// parentChange collects the changes of the set columns of one row.
type parentChange struct {
	rowRef
	key     nbstate.Key
	columns []*setChange
	plans   []*plan
}

type setChange struct {
	column       *column
	adds, delete map[string]struct{}
}

func (a *assembler) op(op libovsdb.Operation, hits bool, plans ...*plan) int {
	a.tx.ops = append(a.tx.ops, op)
	a.tx.origins = append(a.tx.origins, origin{plans: plans, hits: hits})
	return len(a.tx.ops) - 1
}

// assemble orders the operations: rows are inserted before they are referred to, and lose their
// references before they are deleted.
func (a *assembler) assemble() {
	for _, p := range a.tx.plans {
		for _, i := range p.inserts {
			a.inserted[i.key] = a.op(libovsdb.Operation{
				Op: libovsdb.OperationInsert, Table: i.key.Table, Row: i.row, UUIDName: a.b.locate(i.key).name,
			}, false, p)
		}
		for _, u := range p.updates {
			a.op(libovsdb.Operation{Op: libovsdb.OperationUpdate, Table: u.table, Where: whereUUID(u.uuid), Row: u.row}, true, p)
		}
		for _, m := range p.mutations {
			a.op(libovsdb.Operation{Op: libovsdb.OperationMutate, Table: m.table, Where: whereUUID(m.uuid), Mutations: m.mutations}, true, p)
		}
	}
	for _, p := range a.tx.plans {
		for _, d := range p.deletes {
			a.deleted[d] = 0
		}
	}
	for _, p := range a.tx.plans {
		for _, m := range p.adds {
			a.change(p, m).adds[m.value] = struct{}{}
		}
		for _, m := range p.removes {
			a.change(p, m).delete[m.value] = struct{}{}
		}
	}
	for _, c := range a.parents {
		if i, ok := a.inserted[c.key]; ok {
			a.fill(i, c)
			continue
		}
		a.mutate(c)
	}
	for _, p := range a.tx.plans {
		for _, d := range p.deletes {
			a.delete(p, d)
		}
	}
}

func (a *assembler) change(p *plan, m memberChange) *setChange {
	c := a.mutated[m.rowRef]
	if c == nil {
		c = &parentChange{rowRef: m.rowRef, key: m.key}
		a.mutated[m.rowRef] = c
		a.parents = append(a.parents, c)
	}
	if n := len(c.plans); n == 0 || c.plans[n-1] != p {
		c.plans = append(c.plans, p)
	}
	for _, s := range c.columns {
		if s.column.name == m.column.name {
			return s
		}
	}
	s := &setChange{column: m.column, adds: map[string]struct{}{}, delete: map[string]struct{}{}}
	c.columns = append(c.columns, s)
	return s
}

// fill puts members into the row that is inserted by operation i.
func (a *assembler) fill(i int, c *parentChange) {
	for _, s := range c.columns {
		a.tx.ops[i].Row[s.column.name] = s.column.ovsSet(s.adds)
	}
	a.tx.origins[i].plans = append(a.tx.origins[i].plans, c.plans...)
}

// mutate emits the changes of one row that exists.
func (a *assembler) mutate(c *parentChange) {
	if _, gone := a.deleted[c.rowRef]; gone {
		return
	}
	op := libovsdb.Operation{Op: libovsdb.OperationMutate, Table: c.table, Where: whereUUID(c.uuid)}
	hits := false
	for _, s := range c.columns {
		for v := range s.adds {
			delete(s.delete, v)
		}
		if len(s.delete) > 0 {
			op.Mutations = append(op.Mutations, *libovsdb.NewMutation(s.column.name, libovsdb.MutateOperationDelete, s.column.ovsSet(s.delete)))
		}
		if len(s.adds) > 0 {
			hits = true
			op.Mutations = append(op.Mutations, *libovsdb.NewMutation(s.column.name, libovsdb.MutateOperationInsert, s.column.ovsSet(s.adds)))
		}
	}
	if len(op.Mutations) > 0 {
		a.op(op, hits, c.plans...)
	}
}

func (a *assembler) delete(p *plan, d rowRef) {
	if i := a.deleted[d]; i > 0 {
		a.tx.origins[i-1].join(p)
		return
	}
	a.deleted[d] = 1 + a.op(libovsdb.Operation{Op: libovsdb.OperationDelete, Table: d.table, Where: whereUUID(d.uuid)}, false, p)
}

func (o *origin) join(p *plan) {
	for _, q := range o.plans {
		if q == p {
			return
		}
	}
	o.plans = append(o.plans, p)
}

func whereUUID(uuid string) []libovsdb.Condition {
	return []libovsdb.Condition{libovsdb.NewCondition("_uuid", libovsdb.ConditionEqual, libovsdb.UUID{GoUUID: uuid})}
}

// atom is a value of a set column in the notation of the protocol.
func (c *column) atom(value string) any {
	if c.refTable != "" {
		return libovsdb.UUID{GoUUID: value}
	}
	return value
}

func (c *column) ovsSet(values map[string]struct{}) libovsdb.OvsSet {
	out := libovsdb.OvsSet{GoSet: make([]any, 0, len(values))}
	for v := range values {
		out.GoSet = append(out.GoSet, c.atom(v))
	}
	return out
}
