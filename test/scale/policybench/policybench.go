// Package policybench measures in a lab how long new connections to a pod pass after a policy that forbids them was created, and how long they
// do not after it was deleted, with few objects and among the rows of many pods and policies.
//
// Connections are tried from a pod's network without a pause. The many pods are objects on nodes that do not exist: their rows are as real as all others for the
// master, for ovn-northd and for each node's ovn-controller.
package policybench

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/scale/inlab"
	"github.com/ovnkube/ovnkube/test/scale/probe"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

// Options say how much to measure.
type Options struct {
	inlab.Options
	// Samples are how many policies are measured each time.
	Samples int
	// Pods and Policies are how many others there are the second time.
	Pods, Policies int
}

const (
	clientNode = "node1"
	serverNode = "node2"
	serverPort = 8080
	// settle is between two changes.
	settle = 50 * time.Millisecond
	// patience is how long a connection may take to be answered, over a path that takes a millisecond.
	patience = 200 * time.Millisecond
	// sampleTimeout is for one change.
	sampleTimeout = 30 * time.Second
)

// What is promised, in milliseconds.
const (
	limitFew  = 25
	limitMany = 300
)

// bench is a measurement in progress.
type bench struct {
	Options
	*inlab.Bench
	client, server traffic.Place
	at             netip.AddrPort
}

// Run measures in a lab of its own.
func Run(ctx context.Context, o Options) (*report.Result, error) {
	o.Nodes = 2
	return inlab.Run(ctx, o.Options, func(ctx context.Context, in *inlab.Bench) ([]inlab.Phase, error) {
		b := &bench{Options: o, Bench: in}
		few := round{name: "few objects", limit: limitFew, blocked: "p50 16.5, p99 24.5 ms", open: "13.2 ms"}
		many := round{name: fmt.Sprintf("%d pods and %d policies more", o.Pods, o.Policies), limit: limitMany}
		return []inlab.Phase{
			{Name: few.name, Do: func(ctx context.Context) error { return b.measure(ctx, few) }},
			{Name: "more objects", Do: b.fill},
			{Name: many.name, Do: func(ctx context.Context) error { return b.measure(ctx, many) }},
		}, b.prepare(ctx)
	})
}

// prepare makes the pods. The server listens until the process ends.
func (b *bench) prepare(ctx context.Context) error {
	if err := b.MakeNamespace(ctx); err != nil {
		return err
	}
	var err error
	if b.client, err = b.StartPod(ctx, "client", clientNode); err != nil {
		return err
	}
	if b.server, err = b.StartPod(ctx, serverName, serverNode); err != nil {
		return err
	}
	b.at = netip.AddrPortFrom(b.server.Address(true), serverPort)
	_, err = probe.Greet(b.server, b.at, 1)
	return err
}

// round is what is measured with the objects that there are.
type round struct {
	name  string
	limit float64 // of both p99, in milliseconds
	// blocked and open are OVN-Kubernetes' figures.
	blocked, open string
}

// samples are from before the request to create or delete a policy: until the first connection begins that is not answered, and until the first one is
// answered. created are from the API server's answer.
type samples struct{ blocked, created, open []time.Duration }

func (b *bench) measure(ctx context.Context, r round) error {
	// The first ones find cold caches, or a control plane that is still busy.
	for range 3 {
		if err := b.one(ctx, &samples{}); err != nil {
			return err
		}
	}
	before, err := b.cost(ctx)
	if err != nil {
		return err
	}
	var s samples
	for i := range b.Samples {
		if err := b.one(ctx, &s); err != nil {
			return fmt.Errorf("policy %d of %d: %w", i+1, b.Samples, err)
		}
	}
	after, err := b.cost(ctx)
	if err != nil {
		return err
	}
	b.report(r, s, after.less(before))
	return nil
}

func (b *bench) report(r round, s samples, spent cost) {
	p50, p99 := b.Result.AddLatency(r.name+": policy created → first connection blocked", s.blocked)
	p50.Ref(r.blocked)
	p99.AtMost(r.limit).Say("of %d policies; from the request to create", len(s.blocked))
	b.Result.AddLatency(r.name+": API server's answer → first connection blocked", s.created)
	p50, p99 = b.Result.AddLatency(r.name+": policy deleted → first connection", s.open)
	p50.Ref(r.open)
	p99.AtMost(r.limit).Say("of %d policies; from the request to delete", len(s.open))
	n := float64(b.Samples)
	b.Result.Add(r.name+": CPU of the master for a policy", report.InMillis(spent.master)/n, report.Millis).Say("created and deleted")
	b.Result.Add(r.name+": CPU of ovn-northd for a policy", report.InMillis(spent.northd)/n, report.Millis)
	b.Result.Add(r.name+": CPU of ovn-controller on the pod's node for a policy", report.InMillis(spent.controller)/n, report.Millis)
}

// one creates a policy that lets nobody in, waits until connections are blocked, deletes it and waits until one is answered.
func (b *bench) one(ctx context.Context, s *samples) error {
	ctx, cancel := context.WithTimeoutCause(ctx, sampleTimeout, fmt.Errorf("waited %v", sampleTimeout))
	defer cancel()
	if _, err := probe.Answer(ctx, b.client.NetNS, b.at, nil); err != nil {
		return err
	}
	last := probe.InBackground(func() (probe.Attempt, error) { return probe.SilenceWithin(ctx, b.client.NetNS, b.at, patience) })
	if err := probe.Pause(ctx, settle); err != nil {
		return err
	}
	requested := time.Now()
	if err := b.createDeny(ctx); err != nil {
		return err
	}
	created := time.Now()
	a := <-last
	if a.Failure != nil {
		return a.Failure
	}
	s.blocked = append(s.blocked, a.Begin.Sub(requested))
	s.created = append(s.created, max(0, a.Begin.Sub(created)))

	first := probe.InBackground(func() (probe.Attempt, error) { return probe.Answer(ctx, b.client.NetNS, b.at, nil) })
	if err := probe.Pause(ctx, settle); err != nil {
		return err
	}
	requested = time.Now()
	if err := b.deleteDeny(ctx); err != nil {
		return err
	}
	if a = <-first; a.Failure != nil {
		return a.Failure
	}
	if a.End.Before(requested) {
		return fmt.Errorf("a connection was answered while policy %s forbade it", denyName)
	}
	s.open = append(s.open, a.End.Sub(requested))
	return nil
}

// cost is the CPU time of what brings a policy into effect.
type cost struct{ master, northd, controller time.Duration }

func (c cost) less(d cost) cost {
	return cost{c.master - d.master, c.northd - d.northd, c.controller - d.controller}
}

func (b *bench) cost(ctx context.Context) (cost, error) {
	var c cost
	for _, p := range []struct {
		component, machine string
		time               *time.Duration
	}{
		{plan.Master, plan.ControlPlane, &c.master}, {plan.Northd, plan.ControlPlane, &c.northd}, {plan.OVNController, serverNode, &c.controller},
	} {
		usage, err := b.Usage(ctx, p.component, p.machine)
		if err != nil {
			return c, err
		}
		*p.time = usage.CPU
	}
	return c, nil
}
