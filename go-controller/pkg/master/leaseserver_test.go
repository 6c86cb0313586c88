package master

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// leaseServer is an API server with one Lease at most: who has not seen its last change cannot change it.
type leaseServer struct {
	mu      sync.Mutex
	lease   *coordination.Lease
	version int
	away    bool
}

// link is a replica's way to the server.
type link struct {
	coordinationv1.LeaseInterface
	server *leaseServer

	mu sync.Mutex
	// cut: requests fail. refuse: writes do. slow is how long answers take.
	cut, refuse bool
	slow        time.Duration
	// asked, if any, is called with each request, and tells whether it gets through.
	asked func(verb string) bool
}

func (s *leaseServer) link() *link { return &link{server: s} }

func (s *leaseServer) setAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (l *link) set(change func(*link)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// holder is who holds the Lease.
func (s *leaseServer) holder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil {
		return "nobody"
	}
	return *s.lease.Spec.HolderIdentity
}

// change edits the Lease as another replica might.
func (s *leaseServer) change(edit func(*coordination.Lease)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit(s.lease)
	s.put(s.lease)
}

func (s *leaseServer) put(lease *coordination.Lease) *coordination.Lease {
	s.version++
	s.lease = lease.DeepCopy()
	s.lease.ResourceVersion = strconv.Itoa(s.version)
	if s.lease.UID == "" {
		s.lease.UID = types.UID("uid-" + s.lease.ResourceVersion)
	}
	return s.lease.DeepCopy()
}

func (s *leaseServer) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease = nil
}

var (
	errAway    = errors.New("the API server is away")
	errRefused = apierrors.NewForbidden(coordination.Resource("leases"), leaseName, errors.New("a test"))
)

// do carries a request out, and waits for as long as its answer takes.
func (l *link) do(ctx context.Context, verb string, request func(*leaseServer) (*coordination.Lease, error)) (*coordination.Lease, error) {
	l.mu.Lock()
	cut, refuse, slow, asked := l.cut, l.refuse, l.slow, l.asked
	l.mu.Unlock()
	cut = cut || asked != nil && !asked(verb)
	answer, err := l.server.answer(func(s *leaseServer) (*coordination.Lease, error) {
		switch {
		case cut || s.away:
			return nil, errAway
		case refuse && verb != "get":
			return nil, errRefused
		case s.lease == nil && verb != "create":
			return nil, apierrors.NewNotFound(coordination.Resource("leases"), leaseName)
		}
		return request(s)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(slow):
		return answer, err
	}
}

func (s *leaseServer) answer(request func(*leaseServer) (*coordination.Lease, error)) (*coordination.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return request(s)
}

func (l *link) Get(ctx context.Context, _ string, _ metav1.GetOptions) (*coordination.Lease, error) {
	return l.do(ctx, "get", func(s *leaseServer) (*coordination.Lease, error) { return s.lease.DeepCopy(), nil })
}

func (l *link) Create(ctx context.Context, lease *coordination.Lease, _ metav1.CreateOptions) (*coordination.Lease, error) {
	return l.do(ctx, "create", func(s *leaseServer) (*coordination.Lease, error) {
		if s.lease != nil {
			return nil, apierrors.NewAlreadyExists(coordination.Resource("leases"), leaseName)
		}
		return s.put(lease), nil
	})
}

func (l *link) Update(ctx context.Context, lease *coordination.Lease, _ metav1.UpdateOptions) (*coordination.Lease, error) {
	return l.do(ctx, "update", func(s *leaseServer) (*coordination.Lease, error) {
		if lease.ResourceVersion != s.lease.ResourceVersion || lease.UID != s.lease.UID {
			return nil, apierrors.NewConflict(coordination.Resource("leases"), leaseName, nil)
		}
		return s.put(lease), nil
	})
}

// replica campaigns; what it did can be asked.
type replica struct {
	*link
	working chan struct{}
	ended   chan error
	stop    context.CancelFunc
	// tenure is there when working is closed.
	tenure   *tenure
	election *election
	metrics  *metrics
}

// campaign starts a replica; atEnd, if any, is called when its work is to end.
func campaign(t *testing.T, s *leaseServer, identity string, timing timing, atEnd func()) *replica {
	t.Helper()
	r := &replica{link: s.link(), working: make(chan struct{}), ended: make(chan error, 1), metrics: newMetrics(nil)}
	var err error
	if r.election, err = newElection(r.link, identity, r.metrics.leader, timing); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() {
		r.ended <- r.election.run(ctx, func(ctx context.Context, held *tenure) error {
			r.tenure = held
			close(r.working)
			<-ctx.Done()
			if atEnd != nil {
				atEnd()
			}
			return ctx.Err()
		})
	}()
	return r
}

// leaderAndStandby campaign; the first leads. atEnd, if any, is called when its work is to end.
func leaderAndStandby(t *testing.T, s *leaseServer, atEnd func()) (first, second *replica) {
	t.Helper()
	first = campaign(t, s, "first", defaultTiming(), atEnd)
	<-first.working
	return first, campaign(t, s, "second", defaultTiming(), nil)
}

// kill ends the replica as far as others can see.
func (r *replica) kill() { r.set(func(l *link) { l.cut = true }) }

// leads tells whether the replica may do what only the holder of the Lease may.
func (r *replica) leads() bool {
	select {
	case <-r.working:
		return !r.tenure.suspended()
	default:
		return false
	}
}
