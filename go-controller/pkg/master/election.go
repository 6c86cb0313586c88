package master

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// The Lease that all replicas want.
const (
	leaseNamespace = "kube-system"
	leaseName      = "ovn-kubernetes-master"
)

// timing of the election. A leader that cannot renew stops after deadline, well before another can take over.
type timing struct {
	lease, deadline, retry time.Duration
}

// defaultTiming lets a standby write within 5 s of a leader's end, and within 1 s when the leader has released the Lease: it looks
// after 250 to 550 ms (JitterFactor), may have seen the last renewal that much late, and waits for the whole lease.
func defaultTiming() timing {
	return timing{lease: 3800 * time.Millisecond, deadline: 3 * time.Second, retry: 250 * time.Millisecond}
}

// hungAfter: a leader whose lease has expired for so long is hung, not unlucky.
const hungAfter = 20 * time.Second

var errLeaseLost = errors.New("the leader's lease was lost")

// election runs work while this replica holds the Lease.
type election struct {
	elector *leaderelection.LeaderElector
	gauge   prometheus.Gauge
	// leading gets the context of the leadership.
	leading chan context.Context
}

func newElection(client coordinationv1.LeasesGetter, identity string, gauge prometheus.Gauge, t timing) (*election, error) {
	e := &election{gauge: gauge, leading: make(chan context.Context, 1)}
	var err error
	e.elector, err = leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: leaseName,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: leaseNamespace, Name: leaseName},
			Client:     client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		},
		LeaseDuration:   t.lease,
		RenewDeadline:   t.deadline,
		RetryPeriod:     t.retry,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { e.leading <- ctx },
			OnStoppedLeading: func() {},
			OnNewLeader:      func(leader string) { klog.InfoS("Leader", "identity", leader) },
		},
	})
	if err != nil {
		return nil, fmt.Errorf("leader election: %w", err)
	}
	return e, nil
}

// check fails when the election hangs.
func (e *election) check() error { return e.elector.Check(hungAfter) }

// run campaigns, and calls work when this replica leads. The lease is released after work has ended, so that the
// next leader never meets this one's late writes. Without work having ended by itself or by the end
// of ctx, the error is errLeaseLost.
func (e *election) run(ctx context.Context, work func(context.Context) error) error {
	campaign, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	over := make(chan struct{})
	go func() {
		defer close(over)
		e.elector.Run(campaign)
	}()
	err := e.workAsLeader(ctx, over, work)
	release()
	<-over
	return err
}

func (e *election) workAsLeader(ctx context.Context, over <-chan struct{}, work func(context.Context) error) error {
	var leadership context.Context
	select {
	case leadership = <-e.leading:
	case <-over:
		return errLeaseLost
	case <-ctx.Done():
		return nil
	}
	klog.InfoS("Leading")
	e.gauge.Set(1)
	defer e.gauge.Set(0)
	leadership, stop := context.WithCancel(leadership)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	err := work(leadership)
	switch {
	case ctx.Err() != nil:
		return nil
	case leadership.Err() != nil:
		return errLeaseLost
	}
	return err
}
