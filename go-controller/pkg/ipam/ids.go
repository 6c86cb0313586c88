package ipam

import "fmt"

// IDs allocates small positive numbers, the lowest free first.
type IDs struct {
	first, last int
	taken       map[int]struct{}
	low         int
}

// NewIDs allocates numbers from first to last, both included.
func NewIDs(first, last int) *IDs {
	return &IDs{first: first, last: last, taken: map[int]struct{}{}, low: first}
}

// Claim takes one given number. The error wraps ErrOutside or ErrTaken.
func (s *IDs) Claim(id int) error {
	if id < s.first || id > s.last {
		return fmt.Errorf("id %d: %w: not between %d and %d", id, ErrOutside, s.first, s.last)
	}
	if _, taken := s.taken[id]; taken {
		return fmt.Errorf("id %d: %w", id, ErrTaken)
	}
	s.taken[id] = struct{}{}
	return nil
}

// Allocate takes the lowest free number; ErrExhausted when there is none.
func (s *IDs) Allocate() (int, error) {
	for ; s.low <= s.last; s.low++ {
		if _, taken := s.taken[s.low]; !taken {
			s.taken[s.low] = struct{}{}
			return s.low, nil
		}
	}
	return 0, fmt.Errorf("ids %d to %d: %w", s.first, s.last, ErrExhausted)
}

// Release gives a number back. One that is not taken is left alone.
func (s *IDs) Release(id int) {
	if _, taken := s.taken[id]; taken {
		delete(s.taken, id)
		s.low = min(s.low, id)
	}
}
