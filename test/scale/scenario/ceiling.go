package scenario

import (
	"context"
	"errors"
	"time"

	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/load"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

// ceiling is what the API server and the load do on this machine without a master.
type ceiling struct {
	// created is the rate of creation with nobody who watches but the load's own watch.
	created float64
	// createCPU and stubCPU are what API server and etcd needed, without and with the stub.
	createCPU, stubCPU time.Duration
	// stubCreated and stubAnnotated are the rates with a stub that annotates each pod and does nothing else;
	// stub are its latencies.
	stubCreated, stubAnnotated float64
	stub                       []time.Duration
}

func (s Scale) ceiling(ctx context.Context, env Env) (ceiling, error) {
	var c ceiling
	progress("%s: creating %d pods without a master", s.ID, s.Pods)
	outcome, err := s.withoutMaster(ctx, env, false)
	if err != nil {
		return c, err
	}
	c.created, c.createCPU = outcome.created, outcome.cpu
	progress("%s: creating %d pods with a stub that only annotates", s.ID, s.Pods)
	if outcome, err = s.withoutMaster(ctx, env, true); err != nil {
		return c, err
	}
	c.stubCreated, c.stub, c.stubAnnotated, c.stubCPU = outcome.created, outcome.latencies, outcome.annotated, outcome.cpu
	progress("%s: %.0f pods/s without a master (%.1f s CPU); with the stub %.0f pods/s created, %.0f/s annotated, p99 %v (%.1f s CPU)",
		s.ID, c.created, c.createCPU.Seconds(), c.stubCreated, c.stubAnnotated, report.Percentile(c.stub, 99), c.stubCPU.Seconds())
	return c, nil
}

// outcome is what one run without a master showed: rates in pods a second.
type outcome struct {
	created, annotated float64
	latencies          []time.Duration
	cpu                time.Duration
}

// withoutMaster creates the pods on a control plane of their own.
func (s Scale) withoutMaster(ctx context.Context, env Env, stub bool) (o outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	control, err := harness.StartControlPlane(ctx, env.Control)
	if err != nil {
		return outcome{}, err
	}
	defer control.Stop()
	generator, err := load.NewGenerator(control.LoadConfig())
	if err != nil {
		return outcome{}, err
	}
	if err := generator.Prepare(ctx); err != nil {
		return outcome{}, err
	}
	if _, err := generator.CreateNodes(ctx, s.Nodes); err != nil {
		return outcome{}, err
	}
	watcher, err := load.WatchPods(ctx, control.LoadConfig())
	if err != nil {
		return outcome{}, err
	}
	defer watcher.Stop()
	if stub {
		annotator, err := load.StartStub(ctx, control.MasterConfig())
		if err != nil {
			return outcome{}, err
		}
		defer func() { err = errors.Join(err, annotator.Stop()) }()
	}
	before, err := control.Usage()
	if err != nil {
		return outcome{}, err
	}
	if o, err = s.load(ctx, generator, watcher, stub); err != nil {
		return o, err
	}
	after, err := control.Usage()
	o.cpu = after.CPU - before.CPU
	return o, err
}

func (s Scale) load(ctx context.Context, generator *load.Generator, watcher *load.Watcher, stub bool) (outcome, error) {
	span, err := generator.CreatePods(ctx, s.Pods, s.Nodes)
	o := outcome{created: rate(s.Pods, span.Duration())}
	if err != nil || !stub {
		return o, err
	}
	end, err := watcher.Wait(ctx, s.Pods)
	o.annotated, o.latencies = rate(s.Pods, end.Sub(span.Start)), watcher.Latencies()
	return o, err
}

func rate(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

func (c ceiling) report(r *report.Result) {
	r.Add("ceiling: pods created, no master", c.created, report.PerSecond).Say("the API server and the load alone; %.1f s CPU of API server and etcd", c.createCPU.Seconds())
	r.Add("ceiling: pods created while a stub annotates", c.stubCreated, report.PerSecond).Say("a stub in the master's place writes a constant annotation, no OVN")
	r.Add("ceiling: pods annotated by the stub", c.stubAnnotated, report.PerSecond).Say("%.1f s CPU of API server and etcd", c.stubCPU.Seconds())
	r.AddLatency("ceiling: created → annotated by the stub", c.stub)
}
