package master

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/leaderelection"
)

func testTiming() timing {
	return timing{lease: 20 * time.Second, deadline: 2 * time.Second, retry: 20 * time.Millisecond}
}

// Two must never lead at a time: a leader without an API server stops before others, who know the lease in whole seconds, take over.
func TestLeaderStopsBeforeAnotherTakesOver(t *testing.T) {
	d := defaultTiming()
	const slack = 500 * time.Millisecond // for a machine that is busy when the leader is to stop
	if stops, takes := d.deadline+d.retry, d.lease.Truncate(time.Second); stops+slack > takes {
		t.Errorf("a leader may lead for %s after its last renewal, another after %s", stops, takes)
	}
	const jitter = 1 + leaderelection.JitterFactor
	looks := time.Duration(jitter * float64(d.retry))
	if takes := d.lease + 2*looks; takes > 4500*time.Millisecond {
		t.Errorf("a killed leader is replaced after %s; writes are to go on within 5 s", takes)
	}
}

// replica campaigns; what it did can be asked.
type replica struct {
	working chan struct{}
	ended   chan error
	stop    context.CancelFunc
}

func campaign(t *testing.T, api *fake.Clientset, identity string, atEnd func()) *replica {
	t.Helper()
	e, err := newElection(api.CoordinationV1(), identity, newMetrics(nil).leader, testTiming())
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{working: make(chan struct{}), ended: make(chan error, 1)}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() {
		r.ended <- e.run(ctx, func(ctx context.Context) error {
			close(r.working)
			<-ctx.Done()
			atEnd()
			return ctx.Err()
		})
	}()
	return r
}

func holder(t *testing.T, api *fake.Clientset) string {
	t.Helper()
	lease, err := api.Tracker().Get(coordinationv1.SchemeGroupVersion.WithResource("leases"), leaseNamespace, leaseName)
	if err != nil {
		t.Fatal(err)
	}
	if h := lease.(*coordinationv1.Lease).Spec.HolderIdentity; h != nil {
		return *h
	}
	return ""
}

func TestLeaderEndsItsWorkBeforeItReleasesTheLease(t *testing.T) {
	api := fake.NewClientset()
	var during string
	first := campaign(t, api, "first", func() {
		time.Sleep(200 * time.Millisecond) // A release that comes too early has the time to.
		during = holder(t, api)
	})
	<-first.working
	second := campaign(t, api, "second", func() {})
	select {
	case <-second.working:
		t.Fatal("two leaders at a time")
	case <-time.After(100 * time.Millisecond):
	}
	since := time.Now()
	first.stop()
	if err := <-first.ended; err != nil {
		t.Errorf("a wanted end is no error: %v", err)
	}
	if during != "first" {
		t.Errorf("the lease was held by %q while the first was still ending its work", during)
	}
	<-second.working
	if waited := time.Since(since); waited >= testTiming().lease {
		t.Errorf("the next leader waited %s: the lease was not released", waited)
	}
	second.stop()
	<-second.ended
	if got := holder(t, api); got != "" {
		t.Errorf("lease is held by %q after the last replica ended", got)
	}
}

func TestStandbyEndsWithoutWork(t *testing.T) {
	api := fake.NewClientset()
	first := campaign(t, api, "first", func() {})
	<-first.working
	second := campaign(t, api, "second", func() {})
	second.stop()
	if err := <-second.ended; err != nil {
		t.Errorf("standby: %v", err)
	}
	if got := holder(t, api); got != "first" {
		t.Errorf("lease is held by %q, want the leader undisturbed", got)
	}
	first.stop()
	<-first.ended
}

func TestLosingTheLeaseIsAnError(t *testing.T) {
	api := fake.NewClientset()
	var broken atomic.Bool
	api.PrependReactor("update", "leases", func(k8stesting.Action) (bool, runtime.Object, error) {
		if broken.Load() {
			return true, nil, errors.New("the API server is away")
		}
		return false, nil, nil
	})
	first := campaign(t, api, "first", func() {})
	<-first.working
	broken.Store(true)
	if err := <-first.ended; !errors.Is(err, errLeaseLost) {
		t.Errorf("err = %v, want %v", err, errLeaseLost)
	}
}

// A leader that cannot renew ends its work first, and does nothing before that which an API server without an answer could hold up.
func TestLeaderThatCannotRenewEndsItsWorkAtOnce(t *testing.T) {
	api := fake.NewClientset()
	var broken, ended, early atomic.Bool
	api.PrependReactor("update", "leases", func(a k8stesting.Action) (bool, runtime.Object, error) {
		lease := a.(k8stesting.UpdateAction).GetObject().(*coordinationv1.Lease)
		if h := lease.Spec.HolderIdentity; h == nil || *h == "" {
			early.CompareAndSwap(false, !ended.Load())
			return false, nil, nil
		}
		return broken.Load(), nil, errors.New("the API server is away")
	})
	first := campaign(t, api, "first", func() { ended.Store(true) })
	<-first.working
	broken.Store(true)
	if err := <-first.ended; !errors.Is(err, errLeaseLost) {
		t.Errorf("err = %v, want %v", err, errLeaseLost)
	}
	if early.Load() {
		t.Error("the lease was given back before the work had ended")
	}
	if got := holder(t, api); got != "" {
		t.Errorf("lease is held by %q afterwards", got)
	}
}

func TestRestartedLeaderNeedNotWaitForItsOwnLease(t *testing.T) {
	api := fake.NewClientset()
	now := metav1.NewMicroTime(time.Now())
	seconds, identity := int32(3600), "first"
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: leaseNamespace, Name: leaseName},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &identity, LeaseDurationSeconds: &seconds, RenewTime: &now, AcquireTime: &now},
	}
	if err := api.Tracker().Add(lease); err != nil {
		t.Fatal(err)
	}
	first := campaign(t, api, "first", func() {})
	select {
	case <-first.working:
	case <-time.After(2 * time.Second):
		t.Fatal("a replica that was killed waits for its own lease")
	}
	first.stop()
	<-first.ended
}
