package nbsync

import (
	"reflect"
	"sync"

	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// events notes what happens to our rows in the database. It is called by the cache for our own changes as
// well as for others': what is noted is only looked at again, and our own changes turn out to be right.
//
// The cache may drop events; the audit does without them.
type events struct {
	catalog    catalog
	controller string
	wake       chan struct{}

	mu sync.Mutex
	noted
}

// noted is what has happened since it was looked at last.
type noted struct {
	touched map[nbstate.Key]bool // rows of ours that changed; true when they were deleted
	added   map[rowRef]struct{}  // rows of ours that appeared
	members map[memberEvent]struct{}
	freed   bool // a row of others went or changed in a table with unique values
}

// memberEvent is a value that was added to, or removed from, a set column of a row of ours.
type memberEvent struct {
	parent nbstate.Key
	column string
	value  string
	added  bool
}

func newEvents(c catalog, controller string) *events {
	e := &events{catalog: c, controller: controller, wake: make(chan struct{}, 1)}
	e.reset()
	return e
}

func (e *events) reset() {
	e.noted = noted{touched: map[nbstate.Key]bool{}, added: map[rowRef]struct{}{}, members: map[memberEvent]struct{}{}}
}

func (n *noted) empty() bool {
	return len(n.touched) == 0 && len(n.added) == 0 && len(n.members) == 0 && !n.freed
}

// take returns what was noted since the last call.
func (e *events) take() noted {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.empty() {
		return noted{}
	}
	n := e.noted
	e.reset()
	return n
}

// connected wakes Run, which sees the new connection.
func (e *events) connected(uint64) { e.signal() }

func (e *events) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// OnAdd implements cache.EventHandler. Our own transactions add what is wanted; a backup that is restored also adds
// what is not wanted any more.
func (e *events) OnAdd(tableName string, m model.Model) {
	t := e.catalog[tableName]
	if t == nil || !t.marked() {
		return
	}
	key, ours := e.key(t, m)
	if !ours {
		return
	}
	var members []memberEvent
	for name, c := range t.shared {
		members = appendMissing(members, memberEvent{parent: key, column: name, added: true}, fieldStrings(m, c), nil)
	}
	ref := rowRef{tableName, t.uuidOf(m)}
	e.note(func() {
		e.added[ref] = struct{}{}
		for _, m := range members {
			e.members[m] = struct{}{}
		}
	})
}

// OnUpdate implements cache.EventHandler.
func (e *events) OnUpdate(tableName string, old, new model.Model) {
	t := e.catalog[tableName]
	if t == nil {
		return
	}
	key, ours := e.key(t, old)
	o, n := reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem()
	if !ours {
		if t.freesName(o, n) {
			e.note(func() { e.freed = true })
		}
		return
	}
	changed := false
	for i := range t.columns {
		c := &t.columns[i]
		changed = changed || !sameValue(o.Field(c.field).Interface(), n.Field(c.field).Interface())
	}
	var members []memberEvent
	for name, c := range t.shared {
		before, after := fieldStrings(old, c), fieldStrings(new, c)
		members = appendMissing(members, memberEvent{parent: key, column: name}, before, after)
		members = appendMissing(members, memberEvent{parent: key, column: name, added: true}, after, before)
	}
	if !changed && len(members) == 0 {
		return
	}
	e.note(func() {
		if _, noted := e.touched[key]; changed && !noted {
			e.touched[key] = false
		}
		for _, m := range members {
			e.members[m] = struct{}{}
		}
	})
}

// freesName tells whether a change gave up values of an index of the server.
func (t *table) freesName(old, new reflect.Value) bool {
	for _, index := range t.unique {
		for _, c := range index {
			if !sameValue(old.Field(c.field).Interface(), new.Field(c.field).Interface()) {
				return true
			}
		}
	}
	return false
}

// appendMissing appends an event for each of a that is not in b.
func appendMissing(events []memberEvent, event memberEvent, a, b []string) []memberEvent {
	if len(a) == 0 || sameStrings(a, b) {
		return events
	}
	in := toSet(b)
	for _, value := range a {
		if _, ok := in[value]; !ok {
			event.value = value
			events = append(events, event)
		}
	}
	return events
}

// OnDelete implements cache.EventHandler.
func (e *events) OnDelete(tableName string, m model.Model) {
	t := e.catalog[tableName]
	if t == nil {
		return
	}
	key, ours := e.key(t, m)
	switch {
	case ours:
		e.note(func() { e.touched[key] = true })
	case len(t.unique) > 0:
		e.note(func() { e.freed = true })
	}
}

func (e *events) note(f func()) {
	e.mu.Lock()
	f()
	e.mu.Unlock()
	e.signal()
}

// key returns the key of a row if it may be ours.
func (e *events) key(t *table, m model.Model) (nbstate.Key, bool) {
	switch {
	case t.singleton:
		// There is one row, whatever the ID; see handleEvents.
		return nbstate.Key{Table: t.name}, true
	case !t.marked():
		return nbstate.Key{Table: t.name, ID: t.identityOf(m)}, true
	}
	ids := t.externalIDs(m)
	return nbstate.Key{Table: t.name, ID: ids[names.RowIDKey]}, ids[names.OwnerControllerKey] == e.controller
}

// handleEvents makes the owners ready whose rows or members changed.
func (s *Syncer) handleEvents() {
	n := s.events.take()
	if n.empty() {
		return
	}
	s.read(func(db *database, v nbstate.View) {
		for key, deleted := range n.touched {
			s.handleRow(v, key, deleted)
		}
		for ref := range n.added {
			s.handleAdded(db, v, ref)
		}
		ids := identities{db: db, view: v, known: map[rowRef]identity{}}
		for m := range n.members {
			s.handleMember(ids, m)
		}
	})
	if n.freed {
		for owner, w := range s.queue.works {
			if !w.retryAt.IsZero() {
				s.queue.enqueue(owner)
			}
		}
	}
}

func (s *Syncer) handleRow(v nbstate.View, key nbstate.Key, deleted bool) {
	if key.Table == nbdb.NBGlobalTable {
		key.ID = globalID
	}
	if owner, _, ok := v.Row(key); ok {
		s.queue.enqueue(owner)
	}
	if deleted {
		for _, owner := range v.ContributorsOf(key) {
			s.queue.enqueue(owner)
		}
	}
}

// handleAdded sees to rows of ours that appear although nobody wants them.
func (s *Syncer) handleAdded(db *database, v nbstate.View, ref rowRef) {
	if !v.IsSynced() {
		return // The audit that follows finds it.
	}
	if m := db.get(ref.table, ref.uuid); m != nil {
		if owner, unwanted := db.unwanted(v, s.catalog[ref.table], m); unwanted {
			s.queue.enqueue(owner).addRow(ref)
		}
	}
}

// identities remembers whose rows are which: one that has come into hundreds of sets is looked up once.
type identities struct {
	db    *database
	view  nbstate.View
	known map[rowRef]identity
}

type identity struct {
	id   string
	ours bool
}

// of returns the ID of a row, and whether it exists and is ours.
func (i identities) of(t *table, uuid string) identity {
	ref := rowRef{t.name, uuid}
	found, ok := i.known[ref]
	if !ok {
		if m := i.db.get(t.name, uuid); m != nil { // Otherwise its own deletion was noted.
			found.id, found.ours = i.db.idOf(i.view, t, m)
		}
		i.known[ref] = found
	}
	return found
}

// handleMember looks whether a member that went should be there, and the other way round.
func (s *Syncer) handleMember(ids identities, e memberEvent) {
	c := s.catalog[e.parent.Table].shared[e.column]
	m := nbstate.Member{Parent: e.parent, Column: e.column, Value: e.value}
	if c.refTable != "" {
		t := s.catalog[c.refTable]
		if t == nil {
			return
		}
		row := ids.of(t, e.value)
		if !row.ours {
			return
		}
		m.Value = row.id
	}
	if !e.added {
		for _, owner := range ids.view.Contributors(m) {
			s.queue.enqueue(owner)
		}
		return
	}
	if ids.view.Wanted(m) {
		return
	}
	if owner, ok := ids.db.claimant(ids.view, e.parent); ok {
		s.queue.enqueue(owner).addStray(stray{m, e.value})
	}
}

func (w *work) addStray(s stray) {
	if w.leftovers == nil {
		w.leftovers = &leftovers{}
	}
	if w.leftovers.members == nil {
		w.leftovers.members = map[stray]struct{}{}
	}
	w.leftovers.members[s] = struct{}{}
}

func (w *work) addRow(r rowRef) {
	if w.leftovers == nil {
		w.leftovers = &leftovers{}
	}
	if w.leftovers.rows == nil {
		w.leftovers.rows = map[rowRef]struct{}{}
	}
	w.leftovers.rows[r] = struct{}{}
}
