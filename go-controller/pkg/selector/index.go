package selector

import (
	"cmp"
	"maps"
	"slices"
)

// Pod is what selectors look at.
type Pod struct {
	// Key names the pod.
	Key       string
	Namespace string
	Labels    map[string]string
	// Ports are those with names, each name and protocol once.
	Ports []Port
}

// Set are the pods that a selector selects now. It belongs to an Index.
type Set struct {
	Selector
	key     string
	number  int
	users   int
	members map[*podState]struct{}
	follows map[PortName]*followed
}

// Key is the selector's canonical text.
func (s *Set) Key() string { return s.key }

// Len is how many pods there are.
func (s *Set) Len() int { return len(s.members) }

// Members are the keys of the pods, in no order.
func (s *Set) Members(yield func(string) bool) {
	for p := range s.members {
		if !yield(p.Key) {
			return
		}
	}
}

// Index keeps Sets up to date. It is not safe for concurrent use.
type Index struct {
	// numbersChanged is told of each Set on which a followed name has gained a number.
	numbersChanged func(*Set, PortName)

	pods       map[string]*podState
	namespaces map[string]*namespaceState
	sets       map[string]*Set
	groups     map[string]*group
	last       int // number given to a set
}

type podState struct {
	Pod
	sets []*Set // by number
}

type namespaceState struct {
	known  bool
	labels map[string]string
	pods   map[*podState]struct{}
	// own are the sets of this namespace only; groups have those of several.
	own    bucket
	groups map[*group]struct{}
}

// group are the sets with the same selector of namespaces.
type group struct {
	labels     Labels
	sets       bucket
	namespaces map[*namespaceState]struct{}
}

// bucket holds sets by one of the labels that they need.
type bucket struct {
	byPair map[pair]map[*Set]struct{}
	rest   map[*Set]struct{}
}

// NewIndex returns an empty index; numbersChanged may be nil.
func NewIndex(numbersChanged func(*Set, PortName)) *Index {
	if numbersChanged == nil {
		numbersChanged = func(*Set, PortName) {}
	}
	return &Index{
		numbersChanged: numbersChanged,
		pods:           map[string]*podState{}, namespaces: map[string]*namespaceState{}, sets: map[string]*Set{}, groups: map[string]*group{},
	}
}

// Add returns the set of a selector, for one more user.
func (x *Index) Add(s Selector) *Set {
	key := s.String()
	if set, ok := x.sets[key]; ok {
		set.users++
		return set
	}
	x.last++
	set := &Set{Selector: s, key: key, number: x.last, users: 1, members: map[*podState]struct{}{}}
	x.sets[key] = set
	if s.Namespace != "" {
		n := x.namespace(s.Namespace)
		n.own.add(set)
		x.fill(set, n)
		return set
	}
	g := x.group(s.Namespaces)
	g.sets.add(set)
	for n := range g.namespaces {
		x.fill(set, n)
	}
	return set
}

// Get returns a selector's set, if somebody uses it.
func (x *Index) Get(s Selector) (*Set, bool) {
	set, ok := x.sets[s.String()]
	return set, ok
}

// Release takes a user away. The set of the last one is gone.
func (x *Index) Release(set *Set) {
	if set.users--; set.users > 0 {
		return
	}
	delete(x.sets, set.key)
	for p := range set.members {
		p.sets = slices.DeleteFunc(p.sets, func(s *Set) bool { return s == set })
	}
	if set.Namespace != "" {
		n := x.namespaces[set.Namespace]
		n.own.remove(set)
		x.drop(set.Namespace, n)
		return
	}
	key := set.Namespaces.String()
	g := x.groups[key]
	if g.sets.remove(set); g.sets.empty() {
		delete(x.groups, key)
		for n := range g.namespaces {
			delete(n.groups, g)
		}
	}
}

// SetPod takes a pod as it is now and tells whether it is in other sets than before.
func (x *Index) SetPod(p Pod) bool {
	state := x.pods[p.Key]
	if state == nil {
		state = &podState{}
		x.pods[p.Key] = state
		x.namespace(p.Namespace).pods[state] = struct{}{}
	} else if maps.Equal(state.Labels, p.Labels) && slices.Equal(state.Ports, p.Ports) {
		return false
	}
	before := state.sets
	x.leaveAll(state)
	state.Pod = p
	x.place(state)
	x.tell(before, state.sets)
	return !slices.Equal(before, state.sets)
}

// DeletePod takes a pod out of all sets.
func (x *Index) DeletePod(key string) {
	state := x.pods[key]
	if state == nil {
		return
	}
	before := state.sets
	x.leaveAll(state)
	x.tell(before, nil)
	delete(x.pods, key)
	n := x.namespaces[state.Namespace]
	delete(n.pods, state)
	x.drop(state.Namespace, n)
}

// SetNamespace takes a namespace's labels as they are now and returns the keys of the pods that are in other sets than before. While a namespace is not
// known, no condition on namespaces holds for it, not even that a label is absent.
func (x *Index) SetNamespace(name string, labels map[string]string) []string {
	return x.relabel(x.namespace(name), true, labels)
}

// DeleteNamespace forgets a namespace's labels.
func (x *Index) DeleteNamespace(name string) []string {
	n := x.namespaces[name]
	if n == nil {
		return nil
	}
	changed := x.relabel(n, false, nil)
	x.drop(name, n)
	return changed
}

func (x *Index) relabel(n *namespaceState, known bool, labels map[string]string) []string {
	if n.known == known && maps.Equal(n.labels, labels) {
		return nil
	}
	n.known, n.labels = known, labels
	for _, g := range x.groups {
		g.consider(n)
	}
	var changed []string
	for p := range n.pods {
		before := p.sets
		x.leaveAll(p)
		x.place(p)
		x.tell(before, p.sets)
		if !slices.Equal(before, p.sets) {
			changed = append(changed, p.Key)
		}
	}
	slices.Sort(changed)
	return changed
}

// Of returns the sets that a pod is in, the oldest first. The slice is good until the index changes.
func (x *Index) Of(pod string) []*Set {
	if p := x.pods[pod]; p != nil {
		return p.sets
	}
	return nil
}

// namespace returns a namespace's state, making it when it does not exist.
func (x *Index) namespace(name string) *namespaceState {
	n := x.namespaces[name]
	if n == nil {
		n = &namespaceState{pods: map[*podState]struct{}{}, groups: map[*group]struct{}{}}
		x.namespaces[name] = n
		for _, g := range x.groups {
			g.consider(n)
		}
	}
	return n
}

// drop forgets a namespace that nobody needs.
func (x *Index) drop(name string, n *namespaceState) {
	if n.known || len(n.pods) > 0 || !n.own.empty() {
		return
	}
	delete(x.namespaces, name)
	for g := range n.groups {
		delete(g.namespaces, n)
	}
}

func (x *Index) group(labels Labels) *group {
	key := labels.String()
	g := x.groups[key]
	if g == nil {
		g = &group{labels: labels, namespaces: map[*namespaceState]struct{}{}}
		x.groups[key] = g
		for _, n := range x.namespaces {
			g.consider(n)
		}
	}
	return g
}

func (g *group) consider(n *namespaceState) {
	if (n.known || g.labels.everything()) && g.labels.Matches(n.labels) {
		g.namespaces[n], n.groups[g] = struct{}{}, struct{}{}
		return
	}
	delete(g.namespaces, n)
	delete(n.groups, g)
}

// fill puts those pods of a namespace into a new set that it selects.
func (x *Index) fill(set *Set, n *namespaceState) {
	for p := range n.pods {
		if set.selects(p) {
			set.members[p] = struct{}{}
			p.sets = append(p.sets, set) // It has the highest number.
		}
	}
}

// place puts a pod that is in no set into those that select it.
func (x *Index) place(p *podState) {
	n := x.namespaces[p.Namespace]
	var found []*Set
	collect := func(b *bucket) {
		b.candidates(p.Labels, func(set *Set) {
			if set.selects(p) {
				found = append(found, set)
			}
		})
	}
	collect(&n.own)
	for g := range n.groups {
		collect(&g.sets)
	}
	slices.SortFunc(found, func(a, b *Set) int { return cmp.Compare(a.number, b.number) })
	p.sets = found
	for _, set := range found {
		set.members[p] = struct{}{}
		set.count(p, 1)
	}
}

func (x *Index) leaveAll(p *podState) {
	for _, set := range p.sets {
		delete(set.members, p)
		set.count(p, -1)
	}
	p.sets = nil
}

func (s *Set) selects(p *podState) bool {
	return s.Pods.Matches(p.Labels) && (s.Port == nil || slices.Contains(p.Ports, *s.Port))
}

func (b *bucket) add(set *Set) {
	if need, ok := set.Pods.needs(); ok {
		if b.byPair == nil {
			b.byPair = map[pair]map[*Set]struct{}{}
		}
		if b.byPair[need] == nil {
			b.byPair[need] = map[*Set]struct{}{}
		}
		b.byPair[need][set] = struct{}{}
		return
	}
	if b.rest == nil {
		b.rest = map[*Set]struct{}{}
	}
	b.rest[set] = struct{}{}
}

func (b *bucket) remove(set *Set) {
	if need, ok := set.Pods.needs(); ok {
		if delete(b.byPair[need], set); len(b.byPair[need]) == 0 {
			delete(b.byPair, need)
		}
		return
	}
	delete(b.rest, set)
}

func (b *bucket) empty() bool { return len(b.byPair) == 0 && len(b.rest) == 0 }

// candidates are the sets that may select pods with these labels.
func (b *bucket) candidates(labels map[string]string, do func(*Set)) {
	for set := range b.rest {
		do(set)
	}
	if len(b.byPair) == 0 {
		return
	}
	for k, v := range labels {
		for set := range b.byPair[pair{k, v}] {
			do(set)
		}
	}
}
