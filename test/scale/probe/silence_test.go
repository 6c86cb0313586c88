package probe

import (
	"testing"
	"time"
)

// feed gives attempts that begin every 10 ms: the outcome of each, in the order in which it became known.
func feed(s *silence, begins []int, outcome func(i int) Outcome) (fed int, done bool) {
	start := time.UnixMilli(0)
	for n, i := range begins {
		if s.add(Attempt{Begin: start.Add(time.Duration(i) * 10 * time.Millisecond), Outcome: outcome(i)}) {
			return n + 1, true
		}
	}
	return len(begins), false
}

func sequence(first, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = first + i
	}
	return out
}

func answeredUntil(last int) func(int) Outcome {
	return func(i int) Outcome {
		if i <= last {
			return Answered
		}
		return Lost
	}
}

func TestSilenceBeginsAfterTheLastAnswer(t *testing.T) {
	s := &silence{}
	if _, done := feed(s, sequence(0, 200), answeredUntil(40)); !done || s.first.Begin != time.UnixMilli(410) {
		t.Errorf("silent: %v, from %v on; want it from 410 ms on", done, s.first.Begin.UnixMilli())
	}
}

// TestAnswerThatIsKnownLateCounts: an attempt is lost after half a second only, one that began before may be known later.
func TestAnswerThatIsKnownLateCounts(t *testing.T) {
	s := &silence{}
	order := append(sequence(0, 20), append(sequence(30, 20), append([]int{60}, sequence(61, 60)...)...)...)
	if _, done := feed(s, order, func(i int) Outcome {
		if i == 60 || i < 20 {
			return Answered
		}
		return Lost
	}); !done || s.first.Begin != time.UnixMilli(610) {
		t.Errorf("silent: %v, from %v on; want it from 610 ms on", done, s.first.Begin.UnixMilli())
	}
}

func TestFewLostAttemptsAreNoSilence(t *testing.T) {
	s := &silence{}
	if n, done := feed(s, sequence(0, 100), func(i int) Outcome {
		if i%20 == 0 {
			return Answered
		}
		return Lost
	}); done {
		t.Errorf("silent after %d attempts, though every 20th is answered", n)
	}
}
