// Package servicebench measures in a lab how long it takes until a service answers after it was created, and until it is refused after it
// was deleted, with no, some and many other services; and the same with kube-proxy beside, for the same services.
//
// Connections are tried from a pod's network without a pause, so that a figure is what a client sees who waits for the service.
package servicebench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/scale/inlab"
	"github.com/ovnkube/ovnkube/test/scale/probe"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

// Options say how much to measure.
type Options struct {
	inlab.Options
	// Others are the numbers of other services that are there, ascending.
	Others []int
	// Created and Deleted are how many services are measured at each of them.
	Created, Deleted int
	// ProxyCreated and ProxyDeleted are the same for kube-proxy, which takes longer. Zero: it is not measured.
	ProxyCreated, ProxyDeleted int
	// Changes is how many times an endpoint is replaced by another one with the most other services.
	Changes int
}

// Nodes that the pods are on.
const (
	clientNode  = "node1"
	backendNode = "node2"
)

// bench is a measurement in progress.
type bench struct {
	Options
	*inlab.Bench
	// proxyBinary is kube-proxy's.
	proxyBinary string
	// client tries connections through our services, shielded through those of kube-proxy.
	client, shielded traffic.Place
	// backends are two pods that greet with their index.
	backends [2]traffic.Place
	others   int
	samples  int
	// p50 are the medians from creation to answer, by name of the implementation, in the order of Others.
	p50 map[string][]float64
}

// Run measures in a lab of its own.
func Run(ctx context.Context, o Options) (*report.Result, error) {
	set, err := artifact.Ensure(ctx, artifact.Options{Root: o.Root}, kubeProxy)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.ID, err)
	}
	o.Nodes = 2
	return inlab.Run(ctx, o.Options, func(ctx context.Context, in *inlab.Bench) ([]inlab.Phase, error) {
		b := &bench{Options: o, Bench: in, proxyBinary: set.Path(kubeProxy), p50: map[string][]float64{}}
		return b.phases(), b.prepare(ctx)
	})
}

// prepare makes the pods. Their servers listen until the process ends.
func (b *bench) prepare(ctx context.Context) error {
	if err := b.MakeNamespace(ctx); err != nil {
		return err
	}
	for _, p := range []struct {
		place      *traffic.Place
		name, node string
	}{
		{&b.client, "client", clientNode}, {&b.shielded, "shielded", clientNode},
		{&b.backends[0], backendName(0), backendNode}, {&b.backends[1], backendName(1), backendNode},
	} {
		var err error
		if *p.place, err = b.StartPod(ctx, p.name, p.node); err != nil {
			return err
		}
	}
	for i, p := range b.backends {
		if _, err := probe.Greet(p, netip.AddrPortFrom(p.Address(true), targetPort), byte(i)); err != nil {
			return err
		}
	}
	if err := b.installProxy(); err != nil {
		return err
	}
	return b.shield(ctx)
}

func (b *bench) phases() []inlab.Phase {
	var out []inlab.Phase
	for i, n := range b.Others {
		name := fmt.Sprintf("%d other services", n)
		out = append(out,
			inlab.Phase{Name: name, Do: func(ctx context.Context) error { return b.fill(ctx, n) }},
			inlab.Phase{Name: name + ", ours", Do: b.ours})
		if i == len(b.Others)-1 && b.Changes > 0 {
			out = append(out, inlab.Phase{Name: name + ", endpoint changes", Do: b.changes})
		}
		if b.ProxyCreated > 0 {
			out = append(out, inlab.Phase{Name: name + ", kube-proxy", Do: b.proxied})
		}
	}
	return append(out, inlab.Phase{Name: "compare", Do: b.compare})
}

// fill creates services until there are n others, and waits until all of them answer.
func (b *bench) fill(ctx context.Context, n int) error {
	more := n - b.others
	if more == 0 {
		return nil
	}
	began := time.Now()
	var all []netip.AddrPort
	for i := b.others; i < n; i++ {
		all = append(all, otherAddress(i))
	}
	answered := make(chan error, 1)
	var end time.Time
	go func() {
		var err error
		end, err = probe.All(ctx, b.client.NetNS, all)
		answered <- err
	}()
	if err := b.createOthers(ctx, b.others, more); err != nil {
		return err
	}
	if err := <-answered; err != nil {
		return err
	}
	f := b.Result.Add(fmt.Sprintf("%d services created at once → all answer", more), end.Sub(began).Seconds(), report.Seconds)
	f.Say("besides %d others; from the first request to create one", b.others)
	if b.others == 0 {
		f.Ref("23.6 s")
	}
	b.others = n
	return nil
}

// measured are samples of one implementation.
type measured struct {
	// requested and answered are from before the request to create a service, and from the API server's answer, until a connection is
	// answered; refused is from before the request to delete it until a connection is refused, silent until one begins that is neither
	// answered nor refused.
	requested, answered, refused, silent []time.Duration
}

// take measures services one after the other from a place; gap, if not zero, is the longest of random pauses between them.
func (b *bench) take(ctx context.Context, from traffic.Place, created, deleted int, gap time.Duration) (measured, error) {
	var m measured
	// The first one finds cold caches, or a control plane that is still busy.
	if err := b.one(ctx, from, true, &measured{}); err != nil {
		return m, err
	}
	for i := range created {
		if err := probe.Pause(ctx, settle+rand.N(gap+1)); err != nil {
			return m, err
		}
		if err := b.one(ctx, from, i < deleted, &m); err != nil {
			return m, fmt.Errorf("service %d of %d: %w", i+1, created, err)
		}
	}
	return m, nil
}

// settle is between two services, so that the deletion of one is no part of the next one's figure.
const settle = 100 * time.Millisecond

// sampleTimeout is for one service; kube-proxy's slowest take seconds.
const sampleTimeout = 30 * time.Second

// one creates a service, waits for an answer and deletes it, and with silence waits for that too.
func (b *bench) one(ctx context.Context, from traffic.Place, silence bool, m *measured) error {
	ctx, cancel := context.WithTimeoutCause(ctx, sampleTimeout, fmt.Errorf("waited %v", sampleTimeout))
	defer cancel()
	name, to := sampleName(b.samples), sampleAddress(b.samples)
	b.samples++
	first := probe.InBackground(func() (probe.Attempt, error) { return probe.Answer(ctx, from.NetNS, to, nil) })
	requested := time.Now()
	if err := b.createService(ctx, name, to.Addr()); err != nil {
		return err
	}
	answered := time.Now()
	a := <-first
	if a.Failure != nil {
		return a.Failure
	}
	m.requested = append(m.requested, a.End.Sub(requested))
	m.answered = append(m.answered, max(0, a.End.Sub(answered)))
	if !silence {
		return b.deleteService(ctx, name)
	}
	last := probe.InBackground(func() (probe.Attempt, error) { return probe.Silence(ctx, from.NetNS, to) })
	if err := probe.Pause(ctx, settle); err != nil {
		return err
	}
	requested = time.Now()
	if err := b.deleteService(ctx, name); err != nil {
		return err
	}
	if a = <-last; a.Failure != nil {
		return a.Failure
	}
	if a.Outcome == probe.Refused {
		m.refused = append(m.refused, a.End.Sub(requested))
	} else {
		m.silent = append(m.silent, a.Begin.Sub(requested))
	}
	return nil
}

// sampleName and sampleAddress are of the i-th service that is measured. An address is never used twice.
func sampleName(i int) string { return fmt.Sprintf("sample-%05d", i) }

func sampleAddress(i int) netip.AddrPort { return at(netip.MustParseAddr("172.30.128.0"), i+1) }

func otherAddress(i int) netip.AddrPort { return at(netip.MustParseAddr("172.30.1.0"), i+1) }

func at(base netip.Addr, n int) netip.AddrPort {
	raw := base.As4()
	low := int(raw[2])<<8 + int(raw[3]) + n
	raw[2], raw[3] = byte(low>>8), byte(low) //nolint:gosec // within the service network
	return netip.AddrPortFrom(netip.AddrFrom4(raw), servicePort)
}

// masterStopped runs do while the master is stopped.
func (b *bench) masterStopped(ctx context.Context, do func() error) (err error) {
	if err := b.Lab.StopComponent(ctx, plan.Master, plan.ControlPlane); err != nil {
		return err
	}
	defer func() {
		// The phase's own time may be up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if startErr := b.Lab.StartComponent(ctx, plan.Master, plan.ControlPlane); err == nil {
			err = startErr
		}
	}()
	return do()
}
