package cni

import (
	"context"
	"sync"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
)

// sandboxes lets one request at a time work on a sandbox. A DEL ends what else goes on there.
type sandboxes struct {
	mu   sync.Mutex
	byID map[string]*sandbox
}

type sandbox struct {
	// token is held by the request at work.
	token chan struct{}
	// requests are those at work or waiting, by their cancel functions.
	requests map[*context.CancelCauseFunc]struct{}
}

func newSandboxes() *sandboxes { return &sandboxes{byID: map[string]*sandbox{}} }

// acquire waits until the caller may work on the sandbox. The returned context also ends when a DEL for the sandbox
// comes. release must be called when done.
func (s *sandboxes) acquire(ctx context.Context, id, command string) (_ context.Context, release func(), _ error) {
	ctx, cancel := context.WithCancelCause(ctx)
	box := s.enter(id, command, &cancel)
	leave := func() {
		cancel(nil)
		s.leave(id, &cancel)
	}
	select {
	case box.token <- struct{}{}:
		return ctx, func() {
			<-box.token
			leave()
		}, nil
	case <-ctx.Done():
		err := context.Cause(ctx)
		leave()
		return nil, nil, err
	}
}

func (s *sandboxes) enter(id, command string, cancel *context.CancelCauseFunc) *sandbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	box := s.byID[id]
	if box == nil {
		box = &sandbox{token: make(chan struct{}, 1), requests: map[*context.CancelCauseFunc]struct{}{}}
		s.byID[id] = box
	}
	if command == protocol.Del {
		for other := range box.requests {
			(*other)(errSuperseded)
		}
	}
	box.requests[cancel] = struct{}{}
	return box
}

func (s *sandboxes) leave(id string, cancel *context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	box := s.byID[id]
	delete(box.requests, cancel)
	if len(box.requests) == 0 {
		delete(s.byID, id)
	}
}

// busy tells whether a request for the sandbox is under way.
func (s *sandboxes) busy(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id] != nil
}
