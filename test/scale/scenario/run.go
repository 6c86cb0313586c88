package scenario

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/load"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

const (
	// still is for how long a database must not change to count as settled.
	still = 2 * time.Second
	// idle is how long the master is left alone before its idle memory is read.
	idle = 10 * time.Second
)

// run is one Scale in progress.
type run struct {
	Scale
	cluster     *cluster
	env         Env
	result      *report.Result
	alone       ceiling
	nodes, pods *load.Watcher
}

func (r *run) all(ctx context.Context) (err error) {
	config := r.cluster.control.LoadConfig()
	if r.nodes, err = load.WatchNodes(ctx, config); err != nil {
		return err
	}
	defer r.nodes.Stop()
	if r.pods, err = load.WatchPods(ctx, config); err != nil {
		return err
	}
	defer r.pods.Stop()
	for _, phase := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"nodes", r.createNodes}, {"pods", r.createPods}, {"check", r.check}, {"idle", r.idle},
		{"restart", r.restart}, {"check after the restart", r.check}, {"delete", r.deletePods},
	} {
		progress("%s: %s", r.ID, phase.name)
		if err := r.phase(ctx, phase.do); err != nil {
			return fmt.Errorf("%s: %w\nlast lines of the master's log:\n%s", phase.name, err, r.cluster.master.Tail())
		}
	}
	return nil
}

func (r *run) phase(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout())
	defer cancel()
	if err := do(ctx); err != nil {
		return err
	}
	return r.cluster.alive()
}

func (r *run) createNodes(ctx context.Context) error {
	before, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	span, err := r.cluster.generator.CreateNodes(ctx, r.Nodes)
	if err != nil {
		return err
	}
	end, err := r.nodes.Wait(ctx, r.Nodes)
	if err != nil {
		return err
	}
	after, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	r.result.Add("nodes: northbound transactions", float64(after.Sub(before).Master), report.Count).Ref(r.Reference.NodeTransactions)
	r.result.Add("nodes: first created → last has its subnet", end.Sub(span.Start).Seconds(), report.Seconds)
	return nil
}

// costs are the CPU times of all who share the machine.
type costs struct{ master, control, northd, load time.Duration }

func (r *run) costs() (costs, harness.Usage, error) {
	var c costs
	m, err := r.cluster.master.Usage()
	if err != nil {
		return c, m, err
	}
	control, err := r.cluster.control.Usage()
	if err != nil {
		return c, m, err
	}
	own, err := harness.ReadUsage("/proc", os.Getpid())
	if err != nil {
		return c, m, err
	}
	if r.cluster.northd != nil {
		northd, err := r.cluster.northd.Usage()
		if err != nil {
			return c, m, err
		}
		c.northd = northd.CPU
	}
	c.master, c.control, c.load = m.CPU, control.CPU, own.CPU
	return c, m, nil
}

func (r *run) createPods(ctx context.Context) error {
	before, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	costBefore, _, err := r.costs()
	if err != nil {
		return err
	}
	span, err := r.cluster.generator.CreatePods(ctx, r.Pods, r.Nodes)
	if err != nil {
		return err
	}
	end, err := r.pods.Wait(ctx, r.Pods)
	if err != nil {
		return err
	}
	_, memory, err := r.costs()
	if err != nil {
		return err
	}
	r.reportSpeed(span, end)
	if err := r.syncNorthd(ctx, end); err != nil {
		return err
	}
	after, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	cost, _, err := r.costs()
	if err != nil {
		return err
	}
	r.reportTransactions(after.Sub(before))
	r.reportCost(costBefore, cost, memory)
	return nil
}

func (r *run) reportSpeed(span load.Span, end time.Time) {
	created, annotated := rate(r.Pods, span.Duration()), rate(r.Pods, end.Sub(span.Start))
	r.result.Add("pods created", created, report.PerSecond).Say("as fast as the API server took them, while the master worked")
	f := r.result.Add("pods annotated", annotated, report.PerSecond).Ref(r.Reference.Rate)
	if r.Limits.Rate > 0 {
		f.AtLeast(min(r.Limits.Rate, 0.95*created))
	}
	behind := r.result.Add("last pod created → last pod annotated", end.Sub(span.End).Seconds(), report.Seconds)
	if r.Limits.Behind > 0 {
		behind.AtMost(r.Limits.Behind.Seconds())
	}
	p50, p99 := r.result.AddLatency("created → annotated", r.pods.Latencies())
	p50.Ref(r.Reference.P50)
	p99.Ref(r.Reference.P99)
	if r.Limits.P99 > 0 {
		p99.AtMost(report.InMillis(r.Limits.P99))
	}
	if r.Ceiling {
		r.alone.report(r.result)
	}
}

func (r *run) syncNorthd(ctx context.Context, since time.Time) error {
	if r.cluster.northd == nil {
		return nil
	}
	if err := harness.SyncNorthd(ctx, r.cluster.nb); err != nil {
		return fmt.Errorf("wait for ovn-northd: %w", err)
	}
	r.result.Add("last pod annotated → ovn-northd has caught up", time.Since(since).Seconds(), report.Seconds)
	return nil
}

func (r *run) reportTransactions(t harness.Transactions) {
	f := r.result.Add("pods: northbound transactions", float64(t.Master), report.Count).Ref(r.Reference.Transactions)
	if r.Limits.Transactions > 0 {
		f.AtMost(r.Limits.Transactions)
	}
	r.result.Add("pods: written to the northbound log", report.InMiB(t.Bytes), report.MiB)
}

func (r *run) reportCost(before, after costs, memory harness.Usage) {
	cpu := r.result.Add("master: CPU since its start", after.master.Seconds(), report.Seconds).Ref(r.Reference.CPU)
	cpu.Say("of it %.2f s for the pods", (after.master - before.master).Seconds())
	if r.Limits.CPU > 0 {
		cpu.AtMost(r.Limits.CPU.Seconds())
	}
	rss := r.result.Add("master: RSS with all pods annotated", report.InMiB(memory.RSS), report.MiB).Ref(r.Reference.RSS)
	rss.Say("PSS %.0f MiB, highest RSS until then %.0f MiB", report.InMiB(memory.PSS), report.InMiB(memory.PeakRSS))
	if r.Limits.RSS > 0 {
		rss.AtMost(r.Limits.RSS)
	}
	r.result.Add("API server and etcd: CPU for the pods", (after.control - before.control).Seconds(), report.Seconds)
	r.result.Add("load: CPU for the pods", (after.load - before.load).Seconds(), report.Seconds)
	if r.cluster.northd != nil {
		r.result.Add("ovn-northd: CPU for the pods", (after.northd - before.northd).Seconds(), report.Seconds)
	}
}

func (r *run) idle(ctx context.Context) error {
	before, err := r.cluster.master.Usage()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(idle):
	}
	after, err := r.cluster.master.Usage()
	if err != nil {
		return err
	}
	r.result.Add("master: RSS after 10 s without work", report.InMiB(after.RSS), report.MiB).Say("PSS %.0f MiB", report.InMiB(after.PSS))
	r.result.Add("master: CPU while idle", 100*(after.CPU-before.CPU).Seconds()/idle.Seconds(), "% of a core")
	return nil
}

// restart stops the master and starts it over the unchanged cluster.
func (r *run) restart(ctx context.Context) error {
	before, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	changes := r.nodes.Changes() + r.pods.Changes()
	stopped := r.cluster.master.Stop(masterGrace)
	if err := r.cluster.startMaster(ctx); err != nil {
		return err
	}
	after, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	usage, err := r.cluster.master.Usage()
	if err != nil {
		return err
	}
	r.result.Add("restart: SIGTERM → ended", report.InMillis(stopped), report.Millis)
	r.result.Add("restart: northbound transactions", float64(after.Sub(before).Master), report.Count).AtMost(0).Ref(r.Reference.Restart)
	r.result.Add("restart: nodes and pods written to", float64(r.nodes.Changes()+r.pods.Changes()-changes), report.Count).AtMost(0)
	r.result.Add("restart: started → ready", r.cluster.master.TimeToReady.Seconds(), report.Seconds)
	r.result.Add("restart: CPU", usage.CPU.Seconds(), report.Seconds)
	r.result.Add("restart: highest RSS", report.InMiB(usage.PeakRSS), report.MiB).Say("RSS %.0f MiB, PSS %.0f MiB", report.InMiB(usage.RSS), report.InMiB(usage.PSS))
	return nil
}

// deletePods deletes all pods and waits for their ports to go.
func (r *run) deletePods(ctx context.Context) error {
	before, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := r.cluster.generator.DeletePods(ctx); err != nil {
		return err
	}
	deleted := time.Now()
	if err := r.portsGone(ctx); err != nil {
		return err
	}
	gone := time.Now()
	after, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	r.result.Add("pods deleted", rate(r.Pods, deleted.Sub(start)), report.PerSecond)
	r.result.Add("last pod deleted → last port gone", gone.Sub(deleted).Seconds(), report.Seconds)
	r.result.Add("delete: northbound transactions", float64(after.Sub(before).Master), report.Count)
	return nil
}
