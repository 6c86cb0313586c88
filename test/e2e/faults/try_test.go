//go:build e2e

package faults

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/test/e2e/places"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// tries is how often a fault that must cost nothing is brought about while something is lost.
const tries = 3

// fault is something that breaks.
type fault struct {
	name string
	// inject breaks it. What heal returns, if it is not nil, mends it; else it mends itself.
	inject func(ctx context.Context, h *harness) (heal func(context.Context) error, err error)
	// prepare is called before, and what it returns afterwards.
	prepare func(ctx context.Context, h *harness) (undo func(context.Context) error, err error)
	// hold is how long it lasts before it is mended.
	hold time.Duration
	// outage is the longest time without an answer that is allowed; 0: nothing may be lost.
	outage time.Duration
	// spared are the paths for which that is so; none are all.
	spared []string
	// usable is how long it may take until a new pod can be used; 0: it is not judged. It is counted from the fault, or, with
	// fromHeal, from its end.
	usable   time.Duration
	fromHeal bool
	// noise says that it is no fault: what is lost then is lost without one, and says what can be judged.
	noise bool
}

// row is a line of the table.
type row struct {
	name                       string
	sent, lost, failed, broken int
	outage, stall, usable      time.Duration
	// trials are how often it was tried, losses how often something was lost.
	trials, losses int
	fromHeal       bool
}

// tryAll brings one fault after the other about.
func (h *harness) tryAll(t *testing.T, faults []fault) (rows []row) {
	for _, f := range faults {
		if h.ctx.Err() != nil {
			continue
		}
		t.Run(f.name, func(t *testing.T) { rows = append(rows, h.try(t, f)) })
	}
	return rows
}

// try brings a fault about under traffic, and then once more without, to see how long a new pod takes.
func (h *harness) try(t *testing.T, f fault) row {
	ctx := h.ctx
	if f.prepare != nil {
		undo, err := f.prepare(ctx, h)
		must(t, err)
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reserve)
			defer cancel()
			if err := undo(ctx); err != nil {
				t.Error(err)
			}
		}()
	}
	r := row{name: f.name, fromHeal: f.fromHeal}
	for r.trials < tries {
		r.trials++
		findings := h.underTraffic(t, f)
		r.add(findings)
		complaints := f.judge(findings, h.noise)
		if len(complaints) == 0 {
			break
		}
		r.losses++
		for _, c := range complaints {
			t.Logf("try %d: %s", r.trials, c)
		}
		if f.noise {
			h.noise = max(h.noise, r.outage)
		} else if r.trials == tries {
			t.Errorf("costs traffic, and must not, in %d of %d tries; the last: %v", r.losses, tries, complaints)
		}
	}
	var err error
	r.usable, err = h.untilUsable(f)
	must(t, err)
	if f.usable > 0 && r.usable > f.usable {
		t.Errorf("a new pod can be used after %v, want %v at most", r.usable, f.usable)
	}
	t.Logf("MEASURED: %s", r)
	return r
}

func (h *harness) underTraffic(t *testing.T, f fault) []finding {
	t.Helper()
	must(t, h.healthy(h.ctx))
	stop, err := h.probe()
	must(t, err)
	time.Sleep(time.Second)
	heal, err := f.inject(h.ctx, h)
	must(t, err)
	time.Sleep(f.hold)
	if heal != nil {
		must(t, heal(h.ctx))
	}
	err = h.healthy(h.ctx)
	time.Sleep(2 * time.Second)
	findings := stop()
	must(t, err)
	return findings
}

// judge says what is wrong with what the probes found. Where packets are lost without a fault, gaps up to twice as long as those
// are not held against one.
func (f fault) judge(findings []finding, noise time.Duration) []string {
	var out []string
	for _, x := range findings {
		if len(f.spared) > 0 && !slices.Contains(f.spared, x.path) {
			continue
		}
		switch {
		case f.outage == 0 && (x.Lost > 0 || x.Err != nil) && x.Outage > 2*noise:
			out = append(out, fmt.Sprintf("%s, %s", x.path, x.Report))
		case f.outage > 0 && x.kind != streams && x.Outage > f.outage: // a stream goes on when TCP sends again
			out = append(out, fmt.Sprintf("%s: longer than %v: %s", x.path, f.outage, x.Report))
		}
	}
	return out
}

// add sums up what the probes of a try found, in place of what the try before found.
func (r *row) add(findings []finding) {
	r.sent, r.lost, r.failed, r.broken, r.outage, r.stall = 0, 0, 0, 0, 0, 0
	for _, x := range findings {
		r.sent += x.Sent
		switch x.kind {
		case datagrams:
			r.lost += x.Lost
		case streams:
			if x.Err != nil {
				r.broken++
			}
		default:
			r.failed += x.Lost
		}
		if x.kind != streams && x.Lost > 0 { // how long a stream stands still is TCP's choice
			r.outage = max(r.outage, x.Outage)
		}
		r.stall = max(r.stall, x.Slowest)
	}
}

// untilUsable brings the fault about again and returns how long it takes until a pod that is created at once can be reached
// from the other node.
func (h *harness) untilUsable(f fault) (time.Duration, error) {
	ctx := h.ctx
	began := time.Now()
	heal, err := f.inject(ctx, h)
	if err != nil {
		return 0, err
	}
	if f.fromHeal {
		time.Sleep(f.hold)
		began = time.Now()
		if heal != nil {
			if err := heal(ctx); err != nil {
				return 0, err
			}
		}
	}
	h.fresh++
	name := fmt.Sprintf("fresh-%d", h.fresh)
	if err := eventually(ctx, patience, func() error {
		_, err := h.client.CoreV1().Pods(namespace).Create(ctx, newPod(name, h.Nodes()[1], nil), metav1.CreateOptions{})
		return err
	}); err != nil {
		return 0, err
	}
	pod, err := h.ready(ctx, name)
	if err != nil {
		return 0, err
	}
	address := places.PodAddresses(pod)[0]
	if err := eventually(ctx, patience, func() error { return h.ping(ctx, h.ends[0], address) }); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if heal != nil && !f.fromHeal {
		if err := heal(ctx); err != nil {
			return took, err
		}
	}
	if err := h.healthy(ctx); err != nil {
		return took, err
	}
	return took, h.client.CoreV1().Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{})
}

func (h *harness) ping(ctx context.Context, from traffic.Place, to netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return traffic.Ping(ctx, from, to, traffic.PingOptions{})
}
