package netfilter

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fcache "k8s.io/client-go/tools/cache/testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/reconcile"
)

// recorded is a renderer that only notes what it is told.
type recorded struct {
	mu      sync.Mutex
	calls   []string
	failing error
	notify  func()
}

func (r *recorded) note(call string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
	return r.failing
}

func (r *recorded) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = err
}

func (r *recorded) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.calls
	r.calls = nil
	return out
}

func (r *recorded) Name() string { return "recorded" }

func (r *recorded) Sync(_ context.Context, f Facts, l *Ledger, touched []Key) ([]Change, error) {
	return nil, r.note(fmt.Sprintf("sync %s: %d rules, %d touched", f.Node, len(l.Keys()), len(touched)))
}

func (r *recorded) Remove(context.Context) error { return r.note("remove") }

func (r *recorded) Watch(ctx context.Context, notify func()) error {
	r.mu.Lock()
	r.notify = notify
	r.mu.Unlock()
	<-ctx.Done()
	return nil
}

type controlled struct {
	t         *testing.T
	services  *kube.Mirror[*kube.Service]
	slices    *kube.Mirror[*kube.EndpointSlice]
	c         *Controller
	r         recorded
	other     recorded
	mu        sync.Mutex
	facts     Facts
	factsErr  error
	chooseErr error
}

func newControlled(t *testing.T) *controlled {
	f := &controlled{t: t, services: kube.NewServiceMirror(), slices: kube.NewEndpointSliceMirror(), facts: testFacts()}
	f.c = New(Options{
		Services: f.services, Slices: f.slices, Index: kube.NewServiceSlices(f.slices),
		Facts: func() (Facts, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.facts, f.factsErr
		},
		Choose: func(context.Context) (Renderer, []Renderer, string, error) {
			return &f.r, []Renderer{&f.other}, "test", f.chooseErr
		},
	})
	f.c.ensureRoutes = func(context.Context, Facts) error { return nil }
	return f
}

// sync lets the mirrors learn that there is one service with a node port in both families.
func (f *controlled) sync() {
	f.t.Helper()
	services := fcache.NewFakeControllerSource()
	services.Add(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeNodePort, ClusterIPs: []string{"172.30.44.86", "fd02::5"}, ClusterIP: "172.30.44.86",
		Ports: []corev1.ServicePort{{Name: "http", Port: 80, NodePort: 31785}},
	}})
	go f.services.Run(f.t.Context(), services)
	go f.slices.Run(f.t.Context(), fcache.NewFakeControllerSource())
	<-f.services.Synced()
	<-f.slices.Synced()
}

func (f *controlled) reconcile(want error, calls ...string) {
	f.t.Helper()
	if err := f.c.reconcile(f.t.Context()); fmt.Sprint(err) != fmt.Sprint(want) {
		f.t.Errorf("error %v, want %v", err, want)
	}
	if got := f.r.take(); !slices.Equal(got, calls) {
		f.t.Errorf("calls %q, want %q", got, calls)
	}
}

func TestControllerKeepsWhatThereIsUntilItKnowsServices(t *testing.T) {
	f := newControlled(t)
	f.reconcile(reconcile.Waiting("the API server has not told the services yet"))
	f.sync()
	f.factsErr = reconcile.Waiting("no subnets")
	f.reconcile(f.factsErr)
	if got := f.other.take(); !slices.Equal(got, []string{"remove"}) {
		t.Errorf("the other renderer: %q", got)
	}
	f.factsErr = nil
	f.reconcile(nil, "sync node1: 2 rules, 2 touched")
	f.reconcile(nil)
}

func TestControllerTriesAgain(t *testing.T) {
	f := newControlled(t)
	f.sync()
	f.chooseErr = errors.New("no nft")
	f.reconcile(f.chooseErr)
	f.chooseErr = nil
	f.r.fail(errors.New("busy"))
	f.reconcile(errors.New("busy"), "sync node1: 2 rules, 2 touched")
	f.r.fail(nil)
	f.reconcile(nil, "sync node1: 2 rules, 0 touched")
	f.reconcile(nil)
}

func TestControllerLooksOnlyWhenItMatters(t *testing.T) {
	f := newControlled(t)
	f.sync()
	f.reconcile(nil, "sync node1: 2 rules, 2 touched")
	f.slices.Put(endpoints("10.128.2.7@node1", "172.18.0.11@node1")[0])
	f.services.Put(service(func(s *kube.Service) { s.Name = "plain"; s.Ports[0].NodePort = 0 }))
	f.reconcile(nil) // pods and plain services are not netfilter's concern
	f.services.Put(service(func(s *kube.Service) { s.ExternalLocal = true }))
	f.reconcile(nil, "sync node1: 4 rules, 4 touched")
	f.slices.Remove("ns/web-1")
	f.reconcile(nil, "sync node1: 4 rules, 4 touched") // from the host to its pods
	f.facts.Subnets = []netip.Prefix{netip.MustParsePrefix("10.128.4.0/23")}
	f.c.Wake()
	f.reconcile(nil, "sync node1: 2 rules, 4 touched")
	f.services.Remove("ns/web")
	f.reconcile(nil, "sync node1: 0 rules, 2 touched")
}

func TestControllerRuns(t *testing.T) {
	f := newControlled(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.c.Run(ctx); close(done) }()
	f.sync()
	eventually := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	eventually("no first run", func() bool { return slices.Contains(f.r.take(), "sync node1: 2 rules, 2 touched") })
	var notify func()
	eventually("no watch", func() bool {
		f.r.mu.Lock()
		defer f.r.mu.Unlock()
		notify = f.r.notify
		return notify != nil
	})
	notify()
	eventually("drift is not looked at", func() bool { return slices.Contains(f.r.take(), "sync node1: 2 rules, 0 touched") })
	f.r.fail(errors.New("busy"))
	f.r.take()
	notify()
	time.Sleep(250 * time.Millisecond)
	if n := len(f.r.take()); n == 0 || n > 3 { // at once, after 100 ms, after another 200 ms
		t.Errorf("%d tries", n)
	}
	cancel()
	<-done
}

// Packets from outside must not meet new rules before the bridge's flows lead them elsewhere.
func TestControllerChangesNothingBeforeFirst(t *testing.T) {
	f := newControlled(t)
	f.c.o.First = func(context.Context) { _ = f.r.note("first") }
	f.sync()
	f.reconcile(nil, "first", "sync node1: 2 rules, 2 touched")
	f.c.lookAt(&f.c.look)
	f.reconcile(nil, "sync node1: 2 rules, 0 touched")
}

// What another renderer has left goes when it can; that it cannot now keeps no service from being served.
func TestControllerRemovesLater(t *testing.T) {
	f := newControlled(t)
	f.sync()
	f.other.fail(errors.New("busy"))
	failure := errors.New("remove rules of recorded: busy")
	f.reconcile(failure, "sync node1: 2 rules, 2 touched")
	f.reconcile(failure)
	f.other.fail(nil)
	f.reconcile(nil)
	f.reconcile(nil)
	if got := f.other.take(); len(got) != 3 {
		t.Errorf("the other renderer: %q", got)
	}
}
