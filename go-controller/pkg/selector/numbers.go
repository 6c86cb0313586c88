package selector

import (
	"maps"
	"slices"
)

// followed are the numbers that a name stands for on members, and on how many of them.
type followed struct {
	users   int
	numbers map[uint16]int
	// told are the numbers when the last one was gained, in order: those that there are, and those that were lost since.
	told []uint16
}

// Follow keeps account of what a name for a port means on the pods of a set, until Unfollow was called as often.
func (x *Index) Follow(set *Set, name PortName) {
	if f := set.follows[name]; f != nil {
		f.users++
		return
	}
	f := &followed{users: 1, numbers: map[uint16]int{}}
	for p := range set.members {
		if n, ok := p.number(name); ok {
			f.numbers[n]++
		}
	}
	f.told = slices.Sorted(maps.Keys(f.numbers))
	if set.follows == nil {
		set.follows = map[PortName]*followed{}
	}
	set.follows[name] = f
}

// Unfollow ends a Follow.
func (x *Index) Unfollow(set *Set, name PortName) {
	if f := set.follows[name]; f != nil {
		if f.users--; f.users == 0 {
			delete(set.follows, name)
		}
	}
}

// Numbers are what a followed name means on the pods of a set: each number once, in order. One that no pod has any more stays until another is gained, so that a
// pod that goes and comes again is no change.
func (s *Set) Numbers(name PortName) []uint16 {
	if f := s.follows[name]; f != nil {
		return f.told
	}
	return nil
}

func (p *podState) number(name PortName) (uint16, bool) {
	for _, port := range p.Ports {
		if port.PortName == name {
			return port.Number, true
		}
	}
	return 0, false
}

// count adds a pod to, or takes it from, the numbers of followed names.
func (s *Set) count(p *podState, by int) {
	for name, f := range s.follows {
		if n, ok := p.number(name); ok {
			if f.numbers[n] += by; f.numbers[n] == 0 {
				delete(f.numbers, n)
			}
		}
	}
}

// gained tells whether there is a number that was not told.
func (f *followed) gained() bool {
	for n := range f.numbers {
		if !slices.Contains(f.told, n) {
			return true
		}
	}
	return false
}

// tell calls numbersChanged where a pod's way from some sets to others has given names more meanings.
func (x *Index) tell(before, after []*Set) {
	for _, sets := range [][]*Set{before, after} {
		for _, set := range sets {
			for name, f := range set.follows {
				if f.gained() {
					f.told = slices.Sorted(maps.Keys(f.numbers))
					x.numbersChanged(set, name)
				}
			}
		}
	}
}
