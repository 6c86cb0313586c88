package master

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/leaderelection"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

func testTiming() timing {
	return timing{lease: 20 * time.Second, deadline: 2 * time.Second, retry: 20 * time.Millisecond}
}

// Two must never change annotations at a time: a leader without an API server is suspended before others, who know the lease in whole seconds, take over.
func TestLeaderIsSuspendedBeforeAnotherTakesOver(t *testing.T) {
	d := defaultTiming()
	const slack = 500 * time.Millisecond // for a machine that is busy when the leader is to stop
	if stops, takes := d.deadline+d.retry, d.lease.Truncate(time.Second); stops+slack > takes {
		t.Errorf("a leader may patch for %s after its last renewal, another after %s", stops, takes)
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
	// tenure and election are there when working is closed.
	tenure   *tenure
	election *election
}

func campaign(t *testing.T, api *fake.Clientset, identity string, atEnd func()) *replica {
	t.Helper()
	e, err := newElection(api.CoordinationV1(), identity, newMetrics(nil).leader, testTiming())
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{working: make(chan struct{}), ended: make(chan error, 1), election: e}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() {
		r.ended <- e.run(ctx, func(ctx context.Context, held *tenure) error {
			r.tenure = held
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

// leaseServer is in the way of all requests for Leases.
type leaseServer struct {
	// away: requests fail. stale: the Lease was changed since it was last read, which an API server notices.
	away, stale atomic.Bool
}

func serveLeases(api *fake.Clientset) *leaseServer {
	s := &leaseServer{}
	api.PrependReactor("*", "leases", func(a k8stesting.Action) (bool, runtime.Object, error) {
		switch {
		case s.away.Load():
			return true, nil, errors.New("the API server is away")
		case a.GetVerb() == "get":
			s.stale.Store(false)
		case s.stale.Load():
			return true, nil, apierrors.NewConflict(coordinationv1.Resource("leases"), leaseName, nil)
		}
		return false, nil, nil
	})
	return s
}

// awaitSuspended waits until the tenure is, or is not, suspended.
func (r *replica) awaitSuspended(t *testing.T, want bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); r.tenure.suspended() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("suspended is %v for 30 s", !want)
		}
	}
}

// change edits the Lease as another replica might.
func change(t *testing.T, api *fake.Clientset, holder string, transitions int32) {
	t.Helper()
	resource := coordinationv1.SchemeGroupVersion.WithResource("leases")
	object, err := api.Tracker().Get(resource, leaseNamespace, leaseName)
	if err != nil {
		t.Fatal(err)
	}
	lease := object.(*coordinationv1.Lease).DeepCopy()
	now := metav1.NewMicroTime(time.Now())
	lease.Spec.HolderIdentity, lease.Spec.LeaseTransitions, lease.Spec.RenewTime = &holder, &transitions, &now
	if err := api.Tracker().Update(resource, lease, leaseNamespace); err != nil {
		t.Fatal(err)
	}
}

// The API server's absence costs a leader nothing but the time for which it cannot change annotations.
func TestLeaderOutlivesTheAPIServersAbsence(t *testing.T) {
	api := fake.NewClientset()
	server := serveLeases(api)
	first := campaign(t, api, "first", func() {})
	<-first.working
	patches := &patchRecorder{done: make(chan struct{}, 1)}
	patcher := first.tenure.patcher(patches)
	server.away.Store(true)
	first.awaitSuspended(t, true)
	if err := first.election.check(); err != nil {
		t.Errorf("a replica that others cannot help is to be restarted: %v", err)
	}
	go func() { _ = patcher.PatchPod(t.Context(), kube.Ref{}, nil) }()
	select {
	case <-patches.done:
		t.Error("a pod was patched while another replica might lead")
	case err := <-first.ended:
		t.Fatalf("the work ended: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	server.away.Store(false)
	select {
	case <-patches.done:
	case err := <-first.ended:
		t.Fatalf("the work ended: %v", err)
	case <-time.After(30 * time.Second):
		t.Error("patches do not go on")
	}
	first.stop()
	if err := <-first.ended; err != nil {
		t.Error(err)
	}
	if got := holder(t, api); got != "" {
		t.Errorf("lease is held by %q afterwards", got)
	}
}

// patchRecorder tells when a patch is made.
type patchRecorder struct{ done chan struct{} }

func (p *patchRecorder) PatchPod(context.Context, kube.Ref, map[string]string) error {
	p.done <- struct{}{}
	return nil
}
func (p *patchRecorder) PatchNode(context.Context, kube.Ref, map[string]string) error { return nil }

// A patch that is under way when the Lease may become another's ends.
func TestPatchUnderWayEndsWithTheLease(t *testing.T) {
	held, lose := context.WithCancel(t.Context())
	ctx, done, err := newTenure(held).whileHeld(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	lose()
	select {
	case <-ctx.Done():
	case <-time.After(30 * time.Second):
		t.Error("it goes on")
	}
}

func TestAnotherLeaderEndsTheTenure(t *testing.T) {
	for _, test := range []struct {
		name   string
		holder string
		// transitions are added to those of the first's term.
		transitions int32
	}{
		{"it leads", "second", 1},
		{"it has led and has released the Lease", "", 1},
		{"it has led, and the first was elected again", "first", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			api := fake.NewClientset()
			server := serveLeases(api)
			first := campaign(t, api, "first", func() {})
			<-first.working
			server.away.Store(true)
			first.awaitSuspended(t, true)
			change(t, api, test.holder, test.transitions)
			server.stale.Store(true)
			server.away.Store(false)
			select {
			case err := <-first.ended:
				if !errors.Is(err, errLeaseLost) {
					t.Errorf("err = %v, want %v", err, errLeaseLost)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("the work goes on")
			}
			if got := holder(t, api); test.holder == "second" && got != "second" {
				t.Errorf("lease is held by %q", got)
			}
		})
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
