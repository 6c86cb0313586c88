package nbstate

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// Store holds what all owners want. It is safe for concurrent use; Set and Delete cost time in
// proportion to what the owner wants, not to what the store holds.
type Store struct {
	types map[reflect.Type]tableType
	wake  chan struct{}

	mu         sync.RWMutex
	owners     map[Owner]*ownerState
	nodes      map[Key]*node
	queue      []*ownerState // dirty owners, oldest first
	generation uint64
	synced     bool
}

// tableType is what is known of a generated model.
type tableType struct {
	table  string
	shared []int // fields that must stay empty
	uuid   int
}

// ConflictError says that an owner wants a row that another already wants.
type ConflictError struct {
	Key Key
	// Owner is the one that was refused, Holder the one that has the row.
	Owner, Holder Owner
}

// Error names the row and both owners.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s wants row %s, which %s already wants", e.Owner, e.Key, e.Holder)
}

// NewStore returns an empty store for the northbound database.
func NewStore() *Store {
	return &Store{
		types:  tableTypes(),
		wake:   make(chan struct{}, 1),
		owners: map[Owner]*ownerState{},
		nodes:  map[Key]*node{},
	}
}

func tableTypes() map[reflect.Type]tableType {
	full, err := nbdb.FullDatabaseModel()
	if err != nil {
		panic(fmt.Sprintf("the generated northbound model is broken: %v", err))
	}
	types := map[reflect.Type]tableType{}
	for table, t := range model.NewPartialDatabaseModel(full).Types() {
		tt := tableType{table: table}
		for i := range t.Elem().NumField() {
			column := t.Elem().Field(i).Tag.Get("ovsdb")
			if column == "_uuid" {
				tt.uuid = i
			}
			if _, ok := sharedColumns[table][column]; ok {
				tt.shared = append(tt.shared, i)
			}
		}
		types[t] = tt
	}
	return types
}

// TableOf returns the table of a generated northbound model.
func (s *Store) TableOf(m model.Model) (string, bool) {
	t, ok := s.types[reflect.TypeOf(m)]
	return t.table, ok
}

// Set replaces all that the owner wants. The same content again is no change and wakes nobody. The store
// keeps what it is given: neither the slices nor the models may be changed afterwards.
//
// An error leaves the store as it was: *ConflictError when another owner wants one of the rows, others
// for what can never be done (a model of an unknown type or with a UUID, an empty ID, a row twice, a
// value in a shared column, a member of a column that is not shared).
func (s *Store) Set(owner Owner, d Desired) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys, err := s.check(owner, d)
	if err != nil {
		return err
	}
	o, ok := s.owners[owner]
	if !ok {
		o = &ownerState{owner: owner, deleted: true}
		s.owners[owner] = o
	}
	if !o.deleted && s.same(o, d, keys) {
		return nil
	}
	s.replace(o, d, keys)
	o.deleted = false
	s.changed(o)
	return nil
}

// Delete makes the owner want nothing. It is no change when it wants nothing already.
func (s *Store) Delete(owner Owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.owners[owner]
	if !ok || o.deleted {
		return
	}
	s.replace(o, Desired{}, nil)
	o.deleted = true
	s.changed(o)
}

// Synced says that all owners have been set: from now on rows and members of ours that nobody wants may
// be deleted. Before, nothing is deleted.
func (s *Store) Synced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.synced {
		return
	}
	s.synced = true
	s.signal()
}

// Generation is the number of the owner's newest change: numbers grow over all owners. It is zero when
// nothing was ever set, or when the deletion has been carried out.
func (s *Store) Generation(owner Owner) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o, ok := s.owners[owner]; ok {
		return o.generation
	}
	return 0
}

// check validates d and returns the keys of its rows.
func (s *Store) check(owner Owner, d Desired) ([]Key, error) {
	keys := make([]Key, len(d.Rows))
	var seen map[Key]struct{}
	if len(d.Rows) > 1 {
		seen = make(map[Key]struct{}, len(d.Rows))
	}
	for i, r := range d.Rows {
		key, err := s.checkRow(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", owner, err)
		}
		if n, ok := s.nodes[key]; ok && n.owner != nil && n.owner.owner != owner {
			return nil, &ConflictError{Key: key, Owner: owner, Holder: n.owner.owner}
		}
		if _, twice := seen[key]; twice {
			return nil, fmt.Errorf("%s wants row %s twice", owner, key)
		}
		if seen != nil {
			seen[key] = struct{}{}
		}
		keys[i] = key
	}
	for _, m := range d.Members {
		if _, ok := sharedColumns[m.Parent.Table][m.Column]; !ok {
			return nil, fmt.Errorf("%s contributes to %s of %s, which is not a shared column", owner, m.Column, m.Parent)
		}
		if m.Parent.ID == "" || m.Value == "" {
			return nil, fmt.Errorf("%s contributes %q to %s of %s: neither may be empty", owner, m.Value, m.Column, m.Parent)
		}
	}
	return keys, nil
}

func (s *Store) checkRow(r Row) (Key, error) {
	t, ok := s.types[reflect.TypeOf(r.Model)]
	if !ok {
		return Key{}, fmt.Errorf("row %q has a model of type %T, which is not a northbound table", r.ID, r.Model)
	}
	key := Key{Table: t.table, ID: r.ID}
	if r.ID == "" {
		return key, fmt.Errorf("a row of %s has no ID", t.table)
	}
	v := reflect.ValueOf(r.Model)
	if v.IsNil() {
		return key, fmt.Errorf("row %s has no model", key)
	}
	if v.Elem().Field(t.uuid).Len() > 0 {
		return key, fmt.Errorf("row %s has a UUID: the database gives those", key)
	}
	for _, i := range t.shared {
		if v.Elem().Field(i).Len() > 0 {
			return key, fmt.Errorf("row %s: column %s is shared: contribute members instead", key, v.Elem().Type().Field(i).Tag.Get("ovsdb"))
		}
	}
	return key, nil
}

// same tells whether d is what o wants already.
func (s *Store) same(o *ownerState, d Desired, keys []Key) bool {
	if len(d.Rows) != len(o.desired.Rows) || len(d.Members) != len(o.desired.Members) {
		return false
	}
	for i, r := range d.Rows {
		n := s.nodes[keys[i]]
		if n == nil || n.owner != o || !model.Equal(n.model, r.Model) {
			return false
		}
	}
	equal := true
	for i, m := range d.Members {
		equal = equal && m == o.desired.Members[i]
	}
	return equal || sameSet(d.Members, o.desired.Members)
}

func sameSet(a, b []Member) bool {
	in := make(map[Member]struct{}, len(a))
	for _, m := range a {
		in[m] = struct{}{}
	}
	back := make(map[Member]struct{}, len(b))
	for _, m := range b {
		if _, ok := in[m]; !ok {
			return false
		}
		back[m] = struct{}{}
	}
	return len(back) == len(in)
}

// replace puts d in the place of what o wanted and remembers what is gone.
func (s *Store) replace(o *ownerState, d Desired, keys []Key) {
	old := o.desired
	o.desired = d
	rows := make(map[Key]struct{}, len(keys))
	for _, key := range keys {
		rows[key] = struct{}{}
	}
	members := make(map[Member]struct{}, len(d.Members))
	for _, m := range d.Members {
		members[m] = struct{}{}
	}
	for _, r := range old.Rows {
		key := Key{Table: s.types[reflect.TypeOf(r.Model)].table, ID: r.ID}
		if _, kept := rows[key]; !kept {
			o.gone(key)
			s.abandon(o, key)
		}
	}
	for _, m := range old.Members {
		if _, kept := members[m]; !kept {
			o.goneMember(m)
			s.withdraw(o, m)
		}
	}
	for i, r := range d.Rows {
		s.claim(o, keys[i], r.Model)
	}
	for m := range members {
		s.contribute(o, m)
	}
}

func (o *ownerState) gone(key Key) {
	if o.goneRows == nil {
		o.goneRows = map[Key]struct{}{}
	}
	o.goneRows[key] = struct{}{}
}

func (o *ownerState) goneMember(m Member) {
	if o.goneMembers == nil {
		o.goneMembers = map[Member]struct{}{}
	}
	o.goneMembers[m] = struct{}{}
}

func (s *Store) changed(o *ownerState) {
	s.generation++
	o.generation = s.generation
	s.markDirty(o)
}

func (s *Store) markDirty(o *ownerState) {
	if !o.dirty {
		o.dirty = true
		s.queue = append(s.queue, o)
	}
	s.signal()
}

func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
