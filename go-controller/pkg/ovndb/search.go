package ovndb

import (
	"context"
	"sync"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

const (
	// An election tells nobody of its end who is not connected, so the members are asked again and again, with growing pauses.
	findPause     = 50 * time.Millisecond
	findPauseLast = 400 * time.Millisecond
)

// search finds the leader once for all who wait for one.
type search struct {
	find func(context.Context) (string, error)

	mu  sync.Mutex
	now *round // nil when nobody waits
}

// round is a search that goes on until a leader is found or nobody waits any more.
type round struct {
	waiting int // belongs to search.mu
	cancel  context.CancelFunc
	found   chan struct{}
	leader  string // readable once found is closed
}

// wait returns a leader's endpoint, or false when ctx ended first.
func (s *search) wait(ctx context.Context) (string, bool) {
	r := s.join()
	defer s.leave(r)
	select {
	case <-r.found:
		return r.leader, true
	case <-ctx.Done():
		return "", false
	}
}

func (s *search) join() *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		// It is everybody's, and ends with the last one's context.
		ctx, cancel := context.WithCancel(context.Background())
		s.now = &round{cancel: cancel, found: make(chan struct{})}
		go s.run(ctx, s.now)
	}
	s.now.waiting++
	return s.now
}

func (s *search) leave(r *round) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.waiting--; r.waiting == 0 {
		r.cancel()
		s.end(r)
	}
}

// end lets the next one who comes begin a new round.
func (s *search) end(r *round) {
	if s.now == r {
		s.now = nil
	}
}

func (s *search) run(ctx context.Context, r *round) {
	for pause := findPause; ; pause = min(2*pause, findPauseLast) {
		leader, err := s.find(ctx)
		if err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.end(r)
			r.leader = leader
			close(r.found)
			return
		}
		if !retry.Sleep(ctx, pause) {
			return
		}
	}
}
