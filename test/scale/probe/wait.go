package probe

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// Answer waits until a connection is answered and returns that attempt. accept says which answers count; nil: all.
func Answer(ctx context.Context, netns string, to netip.AddrPort, accept func(Attempt) bool) (Attempt, error) {
	var got, last Attempt
	err := Run(ctx, Options{
		NetNS: netns, Next: func() netip.AddrPort { return to },
		Done: func(a Attempt) bool {
			if a.Outcome == Answered && (accept == nil || accept(a)) {
				got = a
				return true
			}
			last = a
			return false
		},
	})
	if err != nil {
		return got, fmt.Errorf("%s is not answered as wanted: the last attempt was %s %s: %w", to, last.Outcome, errorText(last.Err), err)
	}
	return got, nil
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return "(" + err.Error() + ")"
}

// quiet is how many attempts in a row, and over how long, must not be answered before an address counts as silent.
const (
	quietAttempts = 25
	quietTime     = 150 * time.Millisecond
)

// Silence waits until connections are no longer answered and returns the first attempt after the last that was, in the order in which
// they began.
func Silence(ctx context.Context, netns string, to netip.AddrPort) (Attempt, error) {
	return SilenceWithin(ctx, netns, to, DefaultPatience)
}

// SilenceWithin is Silence for attempts that count as lost after the given patience.
func SilenceWithin(ctx context.Context, netns string, to netip.AddrPort, patience time.Duration) (Attempt, error) {
	s := &silence{}
	err := Run(ctx, Options{NetNS: netns, Patience: patience, Next: func() netip.AddrPort { return to }, Done: s.add})
	if err != nil {
		return Attempt{}, fmt.Errorf("%s is still answered, last %v ago: %w", to, time.Since(s.lastAnswered), err)
	}
	return s.first, nil
}

// silence looks for the end of answers.
type silence struct {
	lastAnswered time.Time
	// after are the attempts begun after lastAnswered that were not answered, first is the first of them.
	after []Attempt
	first Attempt
}

func (s *silence) add(a Attempt) bool {
	if a.Outcome == Answered {
		if a.Begin.After(s.lastAnswered) {
			s.lastAnswered = a.Begin
		}
		var keep []Attempt
		for _, b := range s.after {
			if b.Begin.After(s.lastAnswered) {
				keep = append(keep, b)
			}
		}
		s.after = keep
		return false
	}
	if a.Begin.After(s.lastAnswered) {
		s.after = append(s.after, a)
	}
	if len(s.after) < quietAttempts {
		return false
	}
	s.first = s.after[0]
	newest := s.first
	for _, b := range s.after {
		if b.Begin.Before(s.first.Begin) {
			s.first = b
		}
		if b.Begin.After(newest.Begin) {
			newest = b
		}
	}
	return newest.Begin.Sub(s.first.Begin) >= quietTime
}

// All waits until each of the addresses has been answered, and returns when the last one was.
func All(ctx context.Context, netns string, to []netip.AddrPort) (time.Time, error) {
	waiting := make(map[netip.AddrPort]bool, len(to))
	for _, a := range to {
		waiting[a] = true
	}
	var end time.Time
	next := 0
	err := Run(ctx, Options{
		NetNS: netns,
		Next: func() netip.AddrPort {
			for range to {
				next++
				if a := to[next%len(to)]; waiting[a] {
					return a
				}
			}
			return netip.AddrPort{}
		},
		Done: func(a Attempt) bool {
			if a.Outcome == Answered && waiting[a.To] {
				delete(waiting, a.To)
				end = a.End
			}
			return len(waiting) == 0
		},
	})
	if err != nil {
		return end, fmt.Errorf("%d of %d addresses are not answered: %w", len(waiting), len(to), err)
	}
	return end, nil
}

// Result is what a prober in the background has found.
type Result struct {
	Attempt
	// Failure is why there is no such attempt.
	Failure error
}

// InBackground runs a prober; its one result can be received.
func InBackground(run func() (Attempt, error)) <-chan Result {
	out := make(chan Result, 1)
	go func() {
		a, err := run()
		out <- Result{a, err}
	}()
	return out
}

// Pause waits, no longer than ctx lasts.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
