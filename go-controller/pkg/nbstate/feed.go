package nbstate

import (
	"iter"

	"github.com/ovn-org/libovsdb/model"
)

// Wake is signalled when owners have changed or the store has become synced. There is one signal for any
// number of changes, for one reader: the reconciler.
func (s *Store) Wake() <-chan struct{} { return s.wake }

// TakeDirty returns the owners that have changed since it was called last, or whose references have come
// or gone, oldest change first. The caller has to see to them.
func (s *Store) TakeDirty() []Owner {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Owner, len(s.queue))
	for i, o := range s.queue {
		o.dirty = false
		out[i] = o.owner
	}
	s.queue = nil
	return out
}

// Done says that the database holds generation of the owner and that what was gone by then is gone from
// the database. current is false, and all is remembered, when the owner has changed since; first tells
// whether this was not known before.
func (s *Store) Done(owner Owner, generation uint64) (current, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.owners[owner]
	if !ok || o.generation != generation {
		return false, false
	}
	first = o.done != generation
	o.done = generation
	o.goneRows, o.goneMembers = nil, nil
	if o.deleted && !o.dirty {
		delete(s.owners, owner)
	}
	return true, first
}

// View is the store at one instant. It is valid within Read only; what it returns must not be changed.
type View struct{ s *Store }

// Read calls f with the store held still: changes wait until it returns.
func (s *Store) Read(f func(View)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f(View{s})
}

// OwnerView is one owner at one instant.
type OwnerView struct {
	Owner      Owner
	Generation uint64
	// Deleted says that the owner wants nothing any more.
	Deleted bool
	Desired Desired
	// GoneRows and GoneMembers were wanted once and may still be in the database. They may be wanted
	// again, by this owner or another.
	GoneRows    map[Key]struct{}
	GoneMembers map[Member]struct{}
}

// IsSynced tells whether deletions are allowed.
func (v View) IsSynced() bool { return v.s.synced }

// Owner returns what an owner wants; false when it is unknown.
func (v View) Owner(owner Owner) (OwnerView, bool) {
	o, ok := v.s.owners[owner]
	if !ok {
		return OwnerView{}, false
	}
	return OwnerView{
		Owner: o.owner, Generation: o.generation, Deleted: o.deleted,
		Desired: o.desired, GoneRows: o.goneRows, GoneMembers: o.goneMembers,
	}, true
}

// Owners lists all owners, also those whose deletion is not in the database yet.
func (v View) Owners() iter.Seq[Owner] {
	return func(yield func(Owner) bool) {
		for o := range v.s.owners {
			if !yield(o) {
				return
			}
		}
	}
}

// Row returns the model wanted under a key and who wants it.
func (v View) Row(key Key) (Owner, model.Model, bool) {
	n, ok := v.s.nodes[key]
	if !ok || n.owner == nil {
		return Owner{}, nil, false
	}
	return n.owner.owner, n.model, true
}

// Wanted tells whether any owner contributes the member.
func (v View) Wanted(m Member) bool { return v.s.lookup(m) != nil }

// Contributors lists those who contribute the member.
func (v View) Contributors(m Member) []Owner {
	e := v.s.lookup(m)
	if e == nil {
		return nil
	}
	return e.owners()
}

// ContributorsOf lists those who contribute the row itself to a column of another row.
func (v View) ContributorsOf(key Key) []Owner {
	n, ok := v.s.nodes[key]
	if !ok {
		return nil
	}
	var out []Owner
	for _, e := range n.named {
		out = append(out, e.owners()...)
	}
	return out
}

// ContributorsTo lists those who contribute to any column of a row.
func (v View) ContributorsTo(parent Key) iter.Seq[Owner] {
	return func(yield func(Owner) bool) {
		n, ok := v.s.nodes[parent]
		if !ok {
			return
		}
		for _, set := range n.sets {
			for _, e := range set.members {
				if !yield(e.by.first.owner) {
					return
				}
				for _, o := range e.by.more {
					if !yield(o.owner) {
						return
					}
				}
			}
		}
	}
}

// Members lists the values contributed to a column of a row.
func (v View) Members(parent Key, column string) iter.Seq[string] {
	return func(yield func(string) bool) {
		n, ok := v.s.nodes[parent]
		if !ok {
			return
		}
		set, ok := n.sets[column]
		if !ok {
			return
		}
		for value := range set.members {
			if !yield(value) {
				return
			}
		}
	}
}

func (e *member) owners() []Owner {
	var out []Owner
	e.by.each(func(o *ownerState) { out = append(out, o.owner) })
	return out
}
