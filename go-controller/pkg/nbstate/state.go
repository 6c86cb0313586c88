package nbstate

import (
	"slices"

	"github.com/ovn-org/libovsdb/model"
)

// node is what is known of a key: the row wanted under it, the members that name it, and the members of
// its own set columns. It exists as long as any of these does.
type node struct {
	key   Key
	owner *ownerState // nil when nobody wants the row
	model model.Model
	named []*member             // members of other rows whose value is this key
	sets  map[string]*memberSet // by column
}

// memberSet is the union of what all owners contribute to one column of one row.
type memberSet struct {
	parent  *node
	column  string
	members map[string]*member // by value
}

// member is one value and who contributes it.
type member struct {
	set    *memberSet
	value  string
	target *node // the row that the value names; nil for plain strings
	by     contributors
}

// contributors is a list of owners that needs no allocation for the usual single one.
type contributors struct {
	first *ownerState
	more  []*ownerState
}

func (c *contributors) empty() bool { return c.first == nil }

func (c *contributors) has(o *ownerState) bool {
	return c.first == o || slices.Contains(c.more, o)
}

func (c *contributors) add(o *ownerState) {
	if c.first == nil {
		c.first = o
		return
	}
	c.more = append(c.more, o)
}

func (c *contributors) remove(o *ownerState) {
	if i := slices.Index(c.more, o); i >= 0 {
		c.more = slices.Delete(c.more, i, i+1)
		return
	}
	if c.first != o {
		return
	}
	c.first = nil
	if n := len(c.more); n > 0 {
		c.first, c.more = c.more[n-1], c.more[:n-1]
	}
}

func (c *contributors) each(f func(*ownerState)) {
	if c.first == nil {
		return
	}
	f(c.first)
	for _, o := range c.more {
		f(o)
	}
}

// ownerState is what one owner wants, and what it wanted before and may still be in the database.
type ownerState struct {
	owner       Owner
	generation  uint64
	done        uint64 // the newest generation that the database is known to hold
	desired     Desired
	deleted     bool
	dirty       bool
	goneRows    map[Key]struct{}
	goneMembers map[Member]struct{}
}

// node returns the node of a key, making it when it does not exist.
func (s *Store) node(key Key) *node {
	n, ok := s.nodes[key]
	if !ok {
		n = &node{key: key}
		s.nodes[key] = n
	}
	return n
}

// release forgets a node that nothing needs any more.
func (s *Store) release(n *node) {
	if n != nil && n.owner == nil && len(n.named) == 0 && len(n.sets) == 0 {
		delete(s.nodes, n.key)
	}
}

// lookup returns the member, or nil.
func (s *Store) lookup(m Member) *member {
	n, ok := s.nodes[m.Parent]
	if !ok {
		return nil
	}
	set, ok := n.sets[m.Column]
	if !ok {
		return nil
	}
	return set.members[m.Value]
}

// contribute adds o to the contributors of m.
func (s *Store) contribute(o *ownerState, m Member) {
	parent := s.node(m.Parent)
	set, ok := parent.sets[m.Column]
	if !ok {
		if parent.sets == nil {
			parent.sets = map[string]*memberSet{}
		}
		set = &memberSet{parent: parent, column: m.Column, members: map[string]*member{}}
		parent.sets[m.Column] = set
	}
	e, ok := set.members[m.Value]
	if !ok {
		e = &member{set: set, value: m.Value}
		set.members[m.Value] = e
		if table := sharedColumns[m.Parent.Table][m.Column]; table != "" {
			e.target = s.node(Key{Table: table, ID: m.Value})
			e.target.named = append(e.target.named, e)
		}
	}
	if !e.by.has(o) {
		e.by.add(o)
	}
}

// withdraw removes o from the contributors of m.
func (s *Store) withdraw(o *ownerState, m Member) {
	e := s.lookup(m)
	if e == nil {
		return
	}
	e.by.remove(o)
	if !e.by.empty() {
		return
	}
	delete(e.set.members, e.value)
	if len(e.set.members) == 0 {
		delete(e.set.parent.sets, e.set.column)
		s.release(e.set.parent)
	}
	if t := e.target; t != nil {
		if i := slices.Index(t.named, e); i >= 0 {
			t.named = slices.Delete(t.named, i, i+1)
		}
		s.release(t)
	}
}

// claim makes o the owner of a row, or takes a new model for one that it owns.
func (s *Store) claim(o *ownerState, key Key, m model.Model) {
	n := s.node(key)
	fresh := n.owner == nil
	n.owner, n.model = o, m
	if fresh {
		s.dirtyAround(n)
	}
}

// abandon ends o's ownership of a row.
func (s *Store) abandon(o *ownerState, key Key) {
	n := s.nodes[key]
	n.owner, n.model = nil, nil
	s.dirtyAround(n)
	s.release(n)
}

// dirtyAround wakes those who contribute the row somewhere or contribute to it: what they want can be
// done now, or cannot be done any more.
func (s *Store) dirtyAround(n *node) {
	for _, e := range n.named {
		e.by.each(s.markDirty)
	}
	for _, set := range n.sets {
		for _, e := range set.members {
			e.by.each(s.markDirty)
		}
	}
}
