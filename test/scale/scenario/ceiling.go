package scenario

import (
	"context"
	"time"

	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/load"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

// ceiling is what the API server and the load do on this machine without a master.
type ceiling struct {
	// created is the rate of creation with nobody who watches but the load's own watch.
	created float64
	// stubCreated and stubAnnotated are the rates with a stub that annotates each pod and does nothing else;
	// stub are its latencies.
	stubCreated, stubAnnotated float64
	stub                       []time.Duration
}

func (s Scale) ceiling(ctx context.Context, env Env) (ceiling, error) {
	var c ceiling
	progress("%s: creating %d pods without a master", s.ID, s.Pods)
	create, _, err := s.withoutMaster(ctx, env, false)
	if err != nil {
		return c, err
	}
	c.created = create
	progress("%s: creating %d pods with a stub that only annotates", s.ID, s.Pods)
	create, seen, err := s.withoutMaster(ctx, env, true)
	if err != nil {
		return c, err
	}
	c.stubCreated, c.stub, c.stubAnnotated = create, seen.latencies, seen.rate
	return c, nil
}

type annotated struct {
	rate      float64
	latencies []time.Duration
}

// withoutMaster creates the pods on a control plane of their own and returns the rate of creation.
func (s Scale) withoutMaster(ctx context.Context, env Env, stub bool) (float64, annotated, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	control, err := harness.StartControlPlane(ctx, env.Control)
	if err != nil {
		return 0, annotated{}, err
	}
	defer control.Stop()
	generator, err := load.NewGenerator(control.LoadConfig())
	if err != nil {
		return 0, annotated{}, err
	}
	if err := generator.Prepare(ctx); err != nil {
		return 0, annotated{}, err
	}
	if _, err := generator.CreateNodes(ctx, s.Nodes); err != nil {
		return 0, annotated{}, err
	}
	watcher, err := load.WatchPods(ctx, control.LoadConfig())
	if err != nil {
		return 0, annotated{}, err
	}
	defer watcher.Stop()
	if stub {
		annotator, err := load.StartStub(ctx, control.LoadConfig())
		if err != nil {
			return 0, annotated{}, err
		}
		defer annotator.Stop()
	}
	span, err := generator.CreatePods(ctx, s.Pods, s.Nodes)
	if err != nil || !stub {
		return rate(s.Pods, span.Duration()), annotated{}, err
	}
	end, err := watcher.Wait(ctx, s.Pods)
	return rate(s.Pods, span.Duration()), annotated{rate(s.Pods, end.Sub(span.Start)), watcher.Latencies()}, err
}

func rate(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

func (c ceiling) report(r *report.Result) {
	r.Add("ceiling: pods created, no master", c.created, report.PerSecond).Say("the API server and the load alone")
	r.Add("ceiling: pods created while a stub annotates", c.stubCreated, report.PerSecond).Say("a stub in the master's place writes a constant annotation, no OVN")
	r.Add("ceiling: pods annotated by the stub", c.stubAnnotated, report.PerSecond)
	r.AddLatency("ceiling: created → annotated by the stub", c.stub)
}
