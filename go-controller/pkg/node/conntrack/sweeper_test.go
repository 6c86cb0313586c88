package conntrack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

// world is a cluster, and a node whose Open vSwitch knows connections.
type world struct {
	services *kube.Mirror[*kube.Service]
	slices   *kube.Mirror[*kube.EndpointSlice]
	sweeper  *Sweeper

	mu   sync.Mutex
	have []Entry
	// looks is when connections were looked at, since begun.
	begun time.Time
	looks []time.Duration
	// again is called after each look.
	again func()
	err   error
	// stuck says that connections cannot be ended.
	stuck bool
}

func newWorld(t *testing.T) *world {
	w := &world{services: kube.NewServiceMirror(), slices: kube.NewEndpointSliceMirror(), again: func() {}}
	w.sweeper = New(Options{Services: w.services, Slices: w.slices, Index: kube.NewServiceSlices(w.slices), Flush: w.flush})
	w.services.Put(&kube.Service{
		Namespace: "ns", Name: "dns", ClusterIPs: []netip.Addr{netip.MustParseAddr("172.30.0.10"), netip.MustParseAddr("fd02::a")},
		ExternalIPs: []netip.Addr{netip.MustParseAddr("203.0.113.9")},
		Ports: []kube.ServicePort{
			{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53, NodePort: 30053}, {Name: "dns-tcp", Protocol: corev1.ProtocolTCP, Port: 54},
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.sweeper.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return w
}

func (w *world) flush(_ context.Context, stale func(Entry) bool) (ended []Entry, err error) {
	defer w.again()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks = append(w.looks, time.Since(w.begun))
	if errors.Is(w.err, ErrNotRead) {
		return nil, w.err
	}
	w.have = slices.DeleteFunc(w.have, func(e Entry) bool {
		yes := stale(e) && !w.stuck
		if yes {
			ended = append(ended, e)
		}
		return yes
	})
	return ended, w.err
}

func (w *world) looked() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.looks)
}

// endpoints are those of a slice of the service, ready, not ready ("!") or draining ("~").
func (w *world) endpoints(slice string, addresses ...string) {
	s := &kube.EndpointSlice{Namespace: "ns", Name: slice, Service: "dns", Ports: []kube.EndpointPort{
		{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 5353}, {Name: "dns-tcp", Protocol: corev1.ProtocolTCP, Port: 5454},
	}}
	for _, a := range addresses {
		ready := a[0] != '!'
		draining := a[0] == '~'
		if !ready || draining {
			a = a[1:]
		}
		e := kube.Endpoint{Address: netip.MustParseAddr(a), Ready: ready && !draining, Serving: ready, Terminating: draining}
		e.Node = e.Address.Prev().String() // one each
		s.Endpoints = append(s.Endpoints, e)
	}
	w.slices.Put(s)
}

// pass lets time pass, and everything be done that is due by then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func entry(zone uint16, to, answers string) Entry {
	return Entry{zone, netip.MustParseAddrPort("10.128.0.3:40000"), netip.MustParseAddrPort(to), netip.MustParseAddrPort(answers)}
}

func (w *world) want(t *testing.T, what string, left ...Entry) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.have, left) {
		t.Errorf("%s: there is %v, want %v", what, w.have, left)
	}
}

func TestStaleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.endpoints("a", "10.128.0.5", "10.128.2.6")
		w.endpoints("b", "fd01::5")
		stay := []Entry{
			entry(1, "172.30.0.10:53", "10.128.2.6:5353"),  // an endpoint that stays
			entry(1, "10.128.0.5:5353", "10.128.0.5:5353"), // the pod itself
			entry(1, "172.30.0.11:53", "10.128.0.5:5353"),  // another service
			entry(1, "172.30.0.10:54", "10.128.0.5:5454"),  // not of UDP for the service
			entry(1, "[fd02::a]:53", "[fd01::5]:5353"),
		}
		gone := []Entry{
			entry(1, "172.30.0.10:53", "10.128.0.5:5353"), entry(2, "172.30.0.10:53", "10.128.0.5:5353"),
			entry(1, "203.0.113.9:53", "10.128.0.5:5353"), entry(3, "172.18.0.11:30053", "10.128.0.5:5353"),
		}
		w.have = append(slices.Clone(gone), stay...)
		pass(time.Minute)
		if looks := w.looked(); len(looks) > 0 {
			t.Errorf("looked at connections although nothing has left: %v", looks)
		}
		w.endpoints("a", "!10.128.0.5", "10.128.2.6")
		pass(time.Second)
		w.want(t, "one is not ready any more", stay...)

		w.slices.Remove("ns/b")
		w.services.Remove("ns/dns")
		pass(time.Second)
		w.want(t, "the service is gone", stay[1:4]...)
		pass(time.Minute)
		before := len(w.looked())
		pass(time.Hour)
		if len(w.looked()) != before {
			t.Error("still looked for after an hour")
		}
	})
}

// What a client makes anew by flows that are not yet gone ends, too, however long that takes; and it is looked for no longer than needed.
func TestStaleConnectionsComeAgain(t *testing.T) {
	for name, c := range map[string]struct {
		until time.Duration // Open vSwitch has the former flows so long
		err   error
		stuck bool
		looks []time.Duration
	}{
		"never":           {0, nil, false, []time.Duration{250, 750, 1750, 3750, 7750, 15750}},
		"once":            {500, nil, false, []time.Duration{250, 750, 1750, 3750, 7750, 15750}},
		"a while":         {20_000, nil, false, []time.Duration{250, 750, 1750, 3750, 7750, 15750, 23750, 31750}},
		"nobody can look": {0, ErrNotRead, false, []time.Duration{250, 750, 1750, 3750, 7750, 15750, 23750, 31750, 39750, 47750, 55750, 63750}},
		"it does not end": {0, errors.New("refused"), true, []time.Duration{250, 750, 1750, 3750, 7750, 15750, 23750, 31750, 39750, 47750, 55750, 63750}},
		"a line unread":   {0, errors.New("a line"), false, []time.Duration{250, 750, 1750, 3750, 7750, 15750}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.endpoints("a", "10.128.0.5", "10.128.2.6")
				stale := entry(1, "172.30.0.10:53", "10.128.0.5:5353")
				w.have, w.begun, w.err, w.stuck = []Entry{stale}, time.Now(), c.err, c.stuck
				w.again = func() {
					w.mu.Lock()
					defer w.mu.Unlock()
					if time.Since(w.begun) < c.until*time.Millisecond {
						w.have = []Entry{stale}
					}
				}
				w.endpoints("a", "10.128.2.6")
				pass(time.Hour)
				if !c.stuck && !errors.Is(c.err, ErrNotRead) {
					w.want(t, "at last")
				}
				if len(w.sweeper.gone) > 0 {
					t.Errorf("after an hour %d ways are still looked for", len(w.sweeper.gone))
				}
				for i := range c.looks {
					c.looks[i] *= time.Millisecond
				}
				if looks := w.looked(); !slices.Equal(looks, c.looks) {
					t.Errorf("looked at %v, want %v", looks, c.looks)
				}
			})
		})
	}
}

// Where a look takes long and endpoints leave all the time, there are few looks.
func TestLooksAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.again = func() { time.Sleep(500 * time.Millisecond) }
		for i := range 600 {
			w.endpoints("a", fmt.Sprintf("10.128.%d.%d", i/200, 3+i%200))
			pass(100 * time.Millisecond)
		}
		if n := len(w.looked()); n < 10 || n > 12 {
			t.Errorf("%d looks of half a second in a minute, want one in five seconds", n)
		}
	})
}

// An endpoint that moves from one slice to another, or comes back, keeps its clients.
func TestEndpointsThatReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.endpoints("a", "10.128.0.5", "10.128.2.6")
		w.have = []Entry{entry(1, "172.30.0.10:53", "10.128.0.5:5353")}
		keep := slices.Clone(w.have)
		w.endpoints("a", "10.128.2.6")
		w.endpoints("b", "10.128.0.5")
		pass(time.Minute)
		w.want(t, "moved", keep...)
		if looks := w.looked(); len(looks) > 0 {
			t.Errorf("looked at %v", looks)
		}
	})
}

// Where each node has to serve its clients itself, those of an endpoint that drains stay until it has left, though others are ready
// elsewhere; without such a policy there is somewhere else to go.
func TestDrainingWithPolicyLocal(t *testing.T) {
	for name, c := range map[string]struct {
		internal, external, stays bool
	}{"Cluster": {false, false, false}, "internal Local": {true, false, true}, "external Local": {false, true, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				service, _ := w.services.Get("ns/dns")
				local := *service
				local.InternalLocal, local.ExternalLocal = c.internal, c.external
				w.services.Put(&local)
				w.endpoints("a", "10.128.0.5", "10.128.2.6")
				w.have = []Entry{entry(1, "172.30.0.10:53", "10.128.0.5:5353")}
				var left []Entry
				if c.stays {
					left = slices.Clone(w.have)
				}
				w.endpoints("a", "~10.128.0.5", "10.128.2.6")
				pass(time.Minute)
				w.want(t, "draining", left...)
				w.endpoints("a", "!10.128.0.5", "10.128.2.6")
				pass(time.Minute)
				w.want(t, "gone")
			})
		})
	}
}
