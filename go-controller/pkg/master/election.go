package master

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// The Lease that all replicas want.
const (
	leaseNamespace = names.MasterLeaseNamespace
	leaseName      = names.MasterLease
)

// timing of the election. A leader that cannot renew looks for the last time deadline and up to one retry after its last renewal, and
// is suspended (tenure). Others wait for lease from when they saw that renewal; the Lease has it in whole seconds (LeaseSpec.leaseDurationSeconds), so
// what is below one is lost on them.
type timing struct {
	lease, deadline, retry time.Duration
}

// defaultTiming lets a standby write within 5 s of a leader's end, and within 1 s when the leader has released the Lease: it looks
// every 250 to 550 ms (JitterFactor), so it sees the last renewal that much late, and the end of the lease, too: 4.1 s at most.
func defaultTiming() timing {
	return timing{lease: 3 * time.Second, deadline: 2 * time.Second, retry: 250 * time.Millisecond}
}

// hungAfter: a leader whose lease has expired for so long is hung, not unlucky.
const hungAfter = 20 * time.Second

var errLeaseLost = errors.New("the leader's lease was lost")

// election runs work while this replica holds the Lease.
type election struct {
	elector *leaderelection.LeaderElector
	lock    *termLock
	timing  timing
	gauge   prometheus.Gauge
	// leading gets the tenure when it begins; lost is closed when another replica has had the Lease since.
	leading chan *tenure
	lost    chan struct{}

	mu     sync.Mutex
	tenure *tenure
	// term is the Lease's when the tenure began.
	term  int64
	ended bool
}

func newElection(client coordinationv1.LeasesGetter, identity string, gauge prometheus.Gauge, t timing) (*election, error) {
	e := &election{
		lock: &termLock{Interface: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: leaseNamespace, Name: leaseName},
			Client:     client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		}},
		timing: t, gauge: gauge, leading: make(chan *tenure, 1), lost: make(chan struct{}),
	}
	var err error
	e.elector, err = leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name:          leaseName,
		Lock:          e.lock,
		LeaseDuration: t.lease,
		RenewDeadline: t.deadline,
		RetryPeriod:   t.retry,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: e.held,
			OnStoppedLeading: func() {},
			OnNewLeader:      func(leader string) { e.leads(leader, identity) },
		},
	})
	if err != nil {
		return nil, fmt.Errorf("leader election: %w", err)
	}
	return e, nil
}

// check fails when the election hangs; where no renewal succeeds it does not.
func (e *election) check() error {
	e.mu.Lock()
	t := e.tenure
	e.mu.Unlock()
	if t != nil && t.suspended() {
		return nil
	}
	return e.elector.Check(hungAfter)
}

// held begins the tenure when the Lease was got, or resumes it when no other replica has had the Lease since. ctx ends when a renewal fails.
func (e *election) held(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	term := e.lock.term.Load()
	switch {
	case e.tenure == nil:
		e.tenure, e.term = newTenure(ctx), term
		e.leading <- e.tenure
	case e.term == term:
		klog.InfoS("The Lease is held again")
		e.tenure.resume(ctx)
	default:
		e.end()
	}
}

// leads is told who holds the Lease.
func (e *election) leads(leader, self string) {
	klog.InfoS("Leader", "identity", leader)
	e.mu.Lock()
	defer e.mu.Unlock()
	if leader != self && e.tenure != nil {
		e.end()
	}
}

func (e *election) end() {
	if !e.ended {
		e.ended = true
		close(e.lost)
	}
}

// run campaigns, and calls work when this replica leads. The lease is released after work has ended, so that the
// next leader never meets this one's late writes. When another replica has had the Lease meanwhile, the error is errLeaseLost.
func (e *election) run(ctx context.Context, work func(context.Context, *tenure) error) error {
	campaign, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	over := make(chan struct{})
	go func() {
		defer close(over)
		for campaign.Err() == nil {
			e.elector.Run(campaign)
		}
	}()
	err := e.workAsLeader(ctx, work)
	release()
	<-over
	if e.elector.IsLeader() {
		e.release(context.WithoutCancel(ctx))
	}
	return err
}

// release gives the Lease back, if it is still this replica's. The elector's own way (ReleaseOnCancel) is none: when a renewal has failed
// it tries that before it ends the leadership, and with an API server that does not answer takes as long as others wait.
func (e *election) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.timing.deadline)
	defer cancel()
	record, _, err := e.lock.Get(ctx)
	if err == nil && record.HolderIdentity == e.lock.Identity() {
		now := metav1.Now()
		err = e.lock.Update(ctx, resourcelock.LeaderElectionRecord{
			LeaderTransitions: record.LeaderTransitions, LeaseDurationSeconds: 1, RenewTime: now, AcquireTime: now,
		})
	}
	if err != nil {
		klog.InfoS("The Lease was not released: others wait until it has expired", "err", err.Error())
	}
}

func (e *election) workAsLeader(ctx context.Context, work func(context.Context, *tenure) error) error {
	var t *tenure
	select {
	case t = <-e.leading:
	case <-ctx.Done():
		return nil
	}
	klog.InfoS("Leading")
	e.gauge.Set(1)
	defer e.gauge.Set(0)
	leadership, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-e.lost:
			stop()
		case <-leadership.Done():
		}
	}()
	err := work(leadership, t)
	switch {
	case ctx.Err() != nil:
		return nil
	case leadership.Err() != nil:
		return errLeaseLost
	}
	return err
}
