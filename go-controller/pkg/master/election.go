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

// timing of the election. A leader is suspended (tenure) deadline and one retry after it has sent its last renewal. Others wait for lease from
// when they saw that renewal; the Lease has it in whole seconds (LeaseSpec.leaseDurationSeconds), so what is below one is lost on them.
type timing struct {
	lease, deadline, retry time.Duration
}

// defaultTiming lets a standby write within 5 s of a leader's end, and within 1 s when the leader has released the Lease: it looks
// every 250 to 550 ms (JitterFactor), so it sees the last renewal that much late, and the end of the lease, too: 4.1 s at most.
func defaultTiming() timing {
	return timing{lease: 3 * time.Second, deadline: 2 * time.Second, retry: 250 * time.Millisecond}
}

// hungAfter is how long no request for the Lease may end, though each has a time limit, and how long work may take to end.
const hungAfter = 20 * time.Second

var errLeaseLost = errors.New("the leader's lease was lost")

// election runs work while this replica holds the Lease. What the Lease says comes from the lock; the elector decides when to read and write it.
type election struct {
	elector *leaderelection.LeaderElector
	lock    *lock
	timing  timing
	gauge   prometheus.Gauge
	// leading gets the tenure when it begins; lost is closed when another replica has had the Lease since.
	leading chan *tenure
	lost    chan struct{}

	mu     sync.Mutex
	tenure *tenure
	// term is the tenure's; lostAt is when lost was closed.
	term   term
	lostAt time.Time
}

func newElection(leases coordinationv1.LeaseInterface, identity string, gauge prometheus.Gauge, t timing) (*election, error) {
	e := &election{
		lock:   &lock{leases: leases, identity: identity, patience: t.deadline, limits: limits{quick: t.deadline / 2, slow: t.deadline}},
		timing: t, gauge: gauge, leading: make(chan *tenure, 1), lost: make(chan struct{}),
	}
	e.lock.wrote, e.lock.read = e.held, e.seen
	e.lock.ended()
	var err error
	e.elector, err = leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name:          leaseName,
		Lock:          e.lock,
		LeaseDuration: t.lease,
		RenewDeadline: t.deadline,
		RetryPeriod:   t.retry,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) {},
			OnStoppedLeading: func() {},
			OnNewLeader:      func(leader string) { klog.InfoS("Leader", "identity", leader) },
		},
	})
	if err != nil {
		return nil, fmt.Errorf("leader election: %w", err)
	}
	return e, nil
}

// check fails when the election hangs, or the work after the Lease was lost. A Lease that cannot be renewed is no reason to be restarted.
func (e *election) check() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if age := time.Since(e.lostAt); !e.lostAt.IsZero() && age > hungAfter {
		return fmt.Errorf("the Lease was lost %s ago and the work does not end", age.Round(time.Second))
	}
	if age := time.Since(*e.lock.tried.Load()); age > hungAfter {
		return fmt.Errorf("the election hangs: the last request for the Lease ended %s ago", age.Round(time.Second))
	}
	return nil
}

// problem is for readiness: nil unless this replica leads, or led, and has not been able to renew the Lease for long.
func (e *election) problem(now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tenure == nil {
		return nil
	}
	return e.tenure.problem(now)
}

// held begins the tenure when the Lease was got, by a request sent at that time, or prolongs it when no other replica has had the Lease since.
func (e *election) held(now term, sent time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.tenure == nil:
		e.tenure, e.term = newTenure(sent, e.timing.deadline+e.timing.retry, e.gauge), now
		e.leading <- e.tenure
	case e.term == now:
		e.tenure.renew(sent)
	default:
		e.end()
	}
}

// seen ends the tenure when another replica holds the Lease, or has held it since.
func (e *election) seen(now term, holder string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tenure != nil && (e.term != now || holder != e.lock.identity) {
		e.end()
	}
}

func (e *election) end() {
	e.tenure.end()
	if e.lostAt.IsZero() {
		e.lostAt = time.Now()
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
	go func() { // What others lead is not campaigned for until the work has ended.
		select {
		case <-e.lost:
			release()
		case <-campaign.Done():
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
	defer t.end()
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
