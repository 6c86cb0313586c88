package selector

import (
	"maps"
	"slices"
)

// followed are the numbers that a name stands for on members, and on how many of them.
type followed struct {
	users   int
	numbers map[uint16]int
	// told are the numbers when numbersChanged was last called.
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

// Numbers are what a followed name means on the pods of a set: each number once, in order.
func (s *Set) Numbers(name PortName) []uint16 {
	if f := s.follows[name]; f != nil {
		return slices.Sorted(maps.Keys(f.numbers))
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

// tell calls numbersChanged where a pod's way from some sets to others has changed what names mean.
func (x *Index) tell(before, after []*Set) {
	for _, sets := range [][]*Set{before, after} {
		for _, set := range sets {
			for name, f := range set.follows {
				if now := slices.Sorted(maps.Keys(f.numbers)); !slices.Equal(now, f.told) {
					f.told = now
					x.numbersChanged(set, name)
				}
			}
		}
	}
}
