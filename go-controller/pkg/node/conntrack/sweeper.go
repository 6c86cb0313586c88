package conntrack

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

// Options are a Sweeper's surroundings.
type Options struct {
	Services *kube.Mirror[*kube.Service]
	Slices   *kube.Mirror[*kube.EndpointSlice]
	// Index finds slices by service; its handler comes before the Sweeper's.
	Index *kube.ServiceSlices
	// Flush is Table.Flush, with its errors. It is called from one goroutine.
	Flush func(ctx context.Context, stale func(Entry) bool) ([]Entry, error)
}

// Sweeper follows services and ends the connections of UDP that their clients have with endpoints that have left.
type Sweeper struct {
	Options
	wake chan struct{}

	mu sync.Mutex
	// known are the ways of each service that has a port of UDP and endpoints, by its key.
	known map[string]map[way]struct{}
	// gone are ways that were known.
	gone map[way]*look

	// complaint is the last look's error, of Run's goroutine.
	complaint string
}

// way is what a client's connection may be: the address and port that it uses, and the endpoint that answers. The address is
// unspecified for node ports: any.
type way struct{ frontend, endpoint netip.AddrPort }

// look says when a way is looked for next.
type look struct {
	at time.Time
	// done is how often it was in vain.
	done int
}

// result is that of a look for one way.
type result int

const (
	nothing result = iota
	// unknown: connections could not be read, or one could not be ended.
	unknown
	ended
)

// pauses are before each look. They sum up to more than a node's flows should need; the last is repeated as long as something is found.
func pauses() []time.Duration {
	return []time.Duration{firstPause, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}
}

const firstPause = 250 * time.Millisecond

// patience is how many times as many looks there are where they fail: with an error that lasts the ways must not become ever more.
const patience = 2

// rest is how many times as long as a look took there is none after it: where there are many connections and endpoints leave all the
// time, looks take a tenth of one processor at most.
const rest = 9

// New makes a Sweeper, which follows the mirrors at once. It ends nothing before Run.
func New(o Options) *Sweeper {
	s := &Sweeper{Options: o, wake: make(chan struct{}, 1), known: map[string]map[way]struct{}{}, gone: map[way]*look{}}
	o.Services.OnChange(func(key string, _, _ *kube.Service) { s.changed(key) })
	o.Slices.OnChange(func(_ string, before, after *kube.EndpointSlice) {
		for _, slice := range []*kube.EndpointSlice{before, after} {
			if slice != nil && slice.Service != "" {
				s.changed(slice.ServiceKey())
			}
		}
	})
	return s
}

// changed finds out which ways of a service have gone.
func (s *Sweeper) changed(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := map[way]struct{}{}
	if service, ok := s.Services.Get(key); ok {
		now = ways(service, s.Index.Of(key))
	}
	for w := range now {
		delete(s.gone, w)
	}
	for w := range s.known[key] {
		if _, ok := now[w]; !ok {
			s.gone[w] = &look{at: time.Now().Add(firstPause)}
		}
	}
	if len(now) > 0 {
		s.known[key] = now
	} else {
		delete(s.known, key)
	}
	if len(s.gone) > 0 {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// ways are those by which clients reach a service's endpoints over UDP.
func ways(s *kube.Service, slices []*kube.EndpointSlice) map[way]struct{} {
	usable := kube.UsableAnywhere
	if s.InternalLocal || s.ExternalLocal { // each node chooses among its own
		usable = kube.UsableOnSomeNode
	}
	out := map[way]struct{}{}
	for _, p := range s.Ports {
		if p.Protocol != corev1.ProtocolUDP {
			continue
		}
		for _, v4 := range []bool{true, false} {
			frontends := frontends(s, p, v4)
			for _, endpoint := range usable(slices, p, v4) {
				for _, f := range frontends {
					out[way{f, endpoint}] = struct{}{}
				}
			}
		}
	}
	return out
}

func frontends(s *kube.Service, p kube.ServicePort, v4 bool) []netip.AddrPort {
	var out []netip.AddrPort
	for _, list := range [][]netip.Addr{s.ClusterIPs, s.ExternalIPs, s.LoadBalancerIPs} {
		for _, a := range list {
			if a.Is4() == v4 {
				out = append(out, netip.AddrPortFrom(a, p.Port))
			}
		}
	}
	if p.NodePort != 0 {
		out = append(out, netip.AddrPortFrom(unspecified(v4), p.NodePort))
	}
	return out
}

func unspecified(v4 bool) netip.Addr {
	if v4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// Run works until ctx ends.
func (s *Sweeper) Run(ctx context.Context) {
	var earliest time.Time
	for {
		var due <-chan time.Time
		if wait, any := s.next(); any {
			due = time.After(max(wait, time.Until(earliest)))
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-due:
			began := time.Now()
			s.sweep(ctx)
			earliest = time.Now().Add(rest * time.Since(began))
		}
	}
}

// next tells in which time something is to be looked for.
func (s *Sweeper) next() (wait time.Duration, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.gone {
		if until := time.Until(l.at); !any || until < wait {
			wait, any = until, true
		}
	}
	return wait, any
}

// sweep looks for all ways that are due, or nearly so: a look at all connections finds many as well as one.
func (s *Sweeper) sweep(ctx context.Context) {
	s.mu.Lock()
	due := map[way]result{}
	for w, l := range s.gone {
		if time.Until(l.at) <= firstPause/2 {
			due[w] = nothing
		}
	}
	s.mu.Unlock()
	gone, err := s.Flush(ctx, func(e Entry) bool {
		w, ok := wayOf(e, due)
		if ok && due[w] == nothing {
			due[w] = unknown
		}
		return ok
	})
	for _, e := range gone {
		if w, ok := wayOf(e, due); ok {
			due[w] = ended
		}
	}
	s.report(ctx, len(gone), err)
	s.mu.Lock()
	defer s.mu.Unlock()
	for w, r := range due {
		if r == nothing && errors.Is(err, ErrNotRead) {
			r = unknown
		}
		if l := s.gone[w]; l != nil {
			s.after(w, l, r)
		}
	}
}

// report logs what a look has done; an error that lasts, once.
func (s *Sweeper) report(ctx context.Context, count int, err error) {
	if count > 0 {
		klog.V(2).InfoS("Ended UDP connections to endpoints that have left", "count", count)
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != s.complaint && ctx.Err() == nil {
		klog.InfoS("Cannot look for connections to endpoints that have left; it is tried again", "err", text)
	}
	s.complaint = text
}

// after decides whether a way is looked for again. The caller holds the lock.
func (s *Sweeper) after(w way, l *look, r result) {
	pauses := pauses()
	l.done++
	limit := len(pauses)
	switch r {
	case ended: // and then a last one at least
		l.done = min(l.done, limit-1)
	case unknown:
		limit *= patience
	}
	if l.done >= limit {
		delete(s.gone, w)
		return
	}
	l.at = time.Now().Add(pauses[min(l.done, len(pauses)-1)])
}

// wayOf is the way among those given that a connection is of.
func wayOf(e Entry, among map[way]result) (way, bool) {
	anywhere := netip.AddrPortFrom(unspecified(e.Destination.Addr().Is4()), e.Destination.Port())
	for _, frontend := range []netip.AddrPort{e.Destination, anywhere} {
		w := way{frontend, e.Answers}
		if _, ok := among[w]; ok && e.Answers != e.Destination {
			return w, true
		}
	}
	return way{}, false
}
