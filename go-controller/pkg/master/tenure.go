package master

import (
	"context"
	"sync"
	"sync/atomic"

	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

// tenure is the time for which a replica leads. It outlives failing renewals of the Lease: until another replica has had the Lease the
// work goes on, since the fence in the database keeps writes apart; only what goes to the API server waits.
type tenure struct {
	mu sync.Mutex
	// held ends when a renewal fails.
	held context.Context
	// again is closed when the Lease is held again.
	again chan struct{}
}

func newTenure(held context.Context) *tenure {
	return &tenure{held: held, again: make(chan struct{})}
}

// resume says that the Lease is held again, until held ends.
func (t *tenure) resume(held context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = held
	close(t.again)
	t.again = make(chan struct{})
}

func (t *tenure) state() (held context.Context, again <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held, t.again
}

// suspended: the last renewal failed, and no later one has succeeded.
func (t *tenure) suspended() bool {
	held, _ := t.state()
	return held.Err() != nil
}

// permission waits until something is allowed, and returns a context that ends when it may not be any more, or with ctx. The function is to be called
// when all is done. It fails when ctx ends first.
type permission func(ctx context.Context) (context.Context, context.CancelFunc, error)

// whileHeld waits until the Lease is held, and returns a context that ends when it may not be any more, or with ctx.
func (t *tenure) whileHeld(ctx context.Context) (context.Context, context.CancelFunc, error) {
	for {
		held, again := t.state()
		if held.Err() == nil {
			ctx, cancel := context.WithCancel(ctx)
			stop := context.AfterFunc(held, cancel)
			return ctx, func() { stop(); cancel() }, nil
		}
		select {
		case <-again:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// patcher patches only while the Lease is held.
func (t *tenure) patcher(p kube.Patcher) kube.Patcher { return tenuredPatcher{p, t} }

type tenuredPatcher struct {
	patcher kube.Patcher
	tenure  *tenure
}

// PatchPod implements kube.Patcher.
func (p tenuredPatcher) PatchPod(ctx context.Context, ref kube.Ref, annotations map[string]string) error {
	ctx, done, err := p.tenure.whileHeld(ctx)
	if err != nil {
		return err
	}
	defer done()
	return p.patcher.PatchPod(ctx, ref, annotations)
}

// PatchNode implements kube.Patcher.
func (p tenuredPatcher) PatchNode(ctx context.Context, ref kube.Ref, annotations map[string]string) error {
	ctx, done, err := p.tenure.whileHeld(ctx)
	if err != nil {
		return err
	}
	defer done()
	return p.patcher.PatchNode(ctx, ref, annotations)
}

// termLock is a lock that knows in which of its terms it was last this replica's: how often it had changed hands then.
type termLock struct {
	resourcelock.Interface
	term atomic.Int64
}

// Create implements resourcelock.Interface.
func (l *termLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.note(record, l.Interface.Create(ctx, record))
}

// Update implements resourcelock.Interface.
func (l *termLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.note(record, l.Interface.Update(ctx, record))
}

func (l *termLock) note(record resourcelock.LeaderElectionRecord, err error) error {
	if err == nil {
		l.term.Store(int64(record.LeaderTransitions))
	}
	return err
}
