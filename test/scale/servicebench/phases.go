package servicebench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/probe"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

// What is promised, in milliseconds.
const (
	limitP50    = 35
	limitP99    = 80
	limitChange = 500
)

// reference are OVN-Kubernetes' figures by the number of other services.
type reference struct{ p50, p99, deleted string }

func references() map[int]reference {
	return map[int]reference{0: {"45 ms", "64 ms", "39 ms"}, 500: {"70 ms", "85 ms", ""}}
}

// proxyGap is the longest pause between services that kube-proxy is measured with. It writes its rules at most once a second: services that come
// right after each other would always find it in the same moment of that second.
const proxyGap = time.Second

func (b *bench) ours(ctx context.Context) error {
	before, err := b.cost(ctx)
	if err != nil {
		return err
	}
	m, err := b.take(ctx, b.client, b.Created, b.Deleted, 0)
	if err != nil {
		return err
	}
	after, err := b.cost(ctx)
	if err != nil {
		return err
	}
	p50, p99, name := b.report("ovnkube", m)
	if ref, ok := references()[b.others]; ok {
		p50.AtMost(limitP50).Ref(ref.p50)
		p99.AtMost(limitP99).Ref(ref.p99)
		b.reportSilence(name, m).Ref(ref.deleted)
	} else {
		b.reportSilence(name, m)
	}
	n := float64(b.Created + 1)
	b.Result.Add(name+": CPU of the master for a service", report.InMillis(after.master-before.master)/n, report.Millis).Say("created and deleted")
	b.Result.Add(name+": CPU of ovn-northd for a service", report.InMillis(after.northd-before.northd)/n, report.Millis)
	b.Result.Add(name+": CPU of the databases and of ovn-controller on one node", report.InMillis(after.rest-before.rest)/n, report.Millis)
	return nil
}

// report adds what was measured from creation to answer.
func (b *bench) report(who string, m measured) (p50, p99 *report.Figure, name string) {
	name = fmt.Sprintf("%s, %d other services", who, b.others)
	b.Result.Add(name+": API server's answer → connection answered, p50", report.InMillis(report.Percentile(m.answered, 50)), report.Millis)
	p50, p99 = b.Result.AddLatency(name+": service created → connection answered", m.requested)
	p99.Say("of %d services; from the request to create", len(m.requested))
	b.p50[who] = append(b.p50[who], p50.Value)
	return p50, p99, name
}

func (b *bench) reportSilence(name string, m measured) *report.Figure {
	what, took := "refused", m.refused
	if len(m.silent) > len(took) {
		what, took = "no longer answered", m.silent
	}
	f := b.Result.Add(name+": service deleted → "+what+", p50", report.InMillis(report.Percentile(took, 50)), report.Millis)
	return f.Say("of %d services; refused at once: %d", len(m.refused)+len(m.silent), len(m.refused))
}

// cost is the CPU time of what makes a service ours.
type cost struct{ master, northd, rest time.Duration }

func (b *bench) cost(ctx context.Context) (cost, error) {
	var c cost
	for _, p := range []struct {
		component, machine string
		sum                *time.Duration
	}{
		{plan.Master, plan.ControlPlane, &c.master},
		{plan.Northd, plan.ControlPlane, &c.northd}, {plan.NBDB, plan.ControlPlane, &c.rest}, {plan.SBDB, plan.ControlPlane, &c.rest},
		{plan.OVNController, clientNode, &c.rest},
	} {
		usage, err := b.Usage(ctx, p.component, p.machine)
		if err != nil {
			return c, err
		}
		*p.sum += usage.CPU
	}
	return c, nil
}

// changes replaces the only endpoint of a service by another one, again and again.
func (b *bench) changes(ctx context.Context) error {
	to := sampleAddress(b.samples)
	b.samples++
	if err := b.createChanging(ctx, to); err != nil {
		return err
	}
	if _, err := probe.Answer(ctx, b.client.NetNS, to, nil); err != nil {
		return err
	}
	var took []time.Duration
	for i := range b.Changes {
		if err := probe.Pause(ctx, settle); err != nil {
			return err
		}
		next := (i + 1) % len(b.backends)
		first := probe.InBackground(func() (probe.Attempt, error) {
			return probe.Answer(ctx, b.client.NetNS, to, func(a probe.Attempt) bool { return int(a.Greeting) == next })
		})
		requested := time.Now()
		if err := b.change(ctx, next); err != nil {
			return err
		}
		a := <-first
		if a.Failure != nil {
			return fmt.Errorf("change %d: %w", i+1, a.Failure)
		}
		took = append(took, a.End.Sub(requested))
	}
	p50, p99 := b.Result.AddLatency(fmt.Sprintf("ovnkube, %d other services: endpoint replaced → the new one answers", b.others), took)
	p50.Say("from the request to change the EndpointSlice")
	p99.AtMost(limitChange)
	return b.deleteService(ctx, changing)
}

// proxied measures kube-proxy. The master is stopped, so that nothing else follows the same services.
func (b *bench) proxied(ctx context.Context) error {
	err := b.masterStopped(ctx, func() error { return b.withProxy(ctx) })
	if err != nil {
		return err
	}
	// Ours catches up with what happened meanwhile; a fresh service tells when it has.
	return b.one(ctx, b.client, false, &measured{})
}

func (b *bench) withProxy(ctx context.Context) (err error) {
	p, err := b.startProxy(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nlast lines of kube-proxy's log:\n%s", err, p.tail())
		}
		err = errors.Join(err, b.stopProxy(p))
	}()
	// Beyond the first service it has written all rules.
	if err := b.one(ctx, b.shielded, true, &measured{}); err != nil {
		return err
	}
	before, err := harness.ReadUsage("/proc", p.PID())
	if err != nil {
		return err
	}
	m, err := b.take(ctx, b.shielded, b.ProxyCreated, b.ProxyDeleted, proxyGap)
	if err != nil {
		return err
	}
	after, err := harness.ReadUsage("/proc", p.PID())
	if err != nil {
		return err
	}
	_, _, name := b.report(kubeProxy, m)
	b.reportSilence(name, m)
	spent := after.CPU + after.Children - before.CPU - before.Children
	b.Result.Add(name+": CPU for a service", report.InMillis(spent)/float64(b.ProxyCreated+1), report.Millis).Say("with the nft commands it runs")
	return nil
}

// compare says how both stand with the most other services.
func (b *bench) compare(context.Context) error {
	ours, theirs := b.p50["ovnkube"], b.p50[kubeProxy]
	last := len(b.Others) - 1
	if len(theirs) > last {
		b.Result.Add(fmt.Sprintf("ovnkube ÷ kube-proxy, %d other services, created → answered, p50", b.Others[last]), ours[last]/theirs[last], report.Ratio).AtMost(1)
	}
	b.Result.Add(fmt.Sprintf("ovnkube: p50 with %d ÷ with %d other services", b.Others[last], b.Others[0]), ours[last]/ours[0], report.Ratio)
	return nil
}
