package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/load"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

// rows counts those of both databases, and measures a translation of all of them anew.
func (r *wholeRun) rows(ctx context.Context) error {
	for _, t := range []struct {
		in    *harness.Database
		table string
	}{
		{r.cluster.nb, "Logical_Switch_Port"}, {r.cluster.nb, "Load_Balancer"}, {r.cluster.nb, "ACL"},
		{r.cluster.sb, "Port_Binding"}, {r.cluster.sb, "Logical_Flow"},
	} {
		rows, err := t.in.Rows(ctx, t.table, "_uuid")
		if err != nil {
			return err
		}
		r.result.Add("rows of "+t.table, float64(len(rows)), report.Count)
	}
	before, err := r.cluster.northd.Usage()
	if err != nil {
		return err
	}
	if err := harness.RecomputeNorthd(ctx); err != nil {
		return err
	}
	if err := harness.SyncNorthd(ctx, r.cluster.nb); err != nil {
		return err
	}
	after, err := r.cluster.northd.Usage()
	if err != nil {
		return err
	}
	r.result.Add("ovn-northd: CPU of a translation of everything", (after.CPU - before.CPU).Seconds(), report.Seconds)
	return nil
}

// single creates objects one after the other.
func (r *wholeRun) single(ctx context.Context) error {
	for _, kind := range []struct {
		name   string
		create func(i int) (load.Span, time.Time, error)
	}{
		{"pod", func(i int) (load.Span, time.Time, error) { return r.somePods(ctx, r.Pods+i, 1) }},
		{"service", func(i int) (load.Span, time.Time, error) { return r.someServices(ctx, r.Services+i, 1) }},
		{"policy", func(i int) (load.Span, time.Time, error) { return r.somePolicies(ctx, r.Policies+i, 1) }},
	} {
		var north, south []time.Duration
		for i := range wholeSingle {
			span, end, err := kind.create(i)
			if err != nil {
				return fmt.Errorf("one more %s: %w", kind.name, err)
			}
			if err := harness.SyncNorthd(ctx, r.cluster.nb); err != nil {
				return fmt.Errorf("wait for ovn-northd: %w", err)
			}
			north, south = append(north, max(0, end.Sub(span.End))), append(south, time.Since(span.End))
		}
		r.result.Add(fmt.Sprintf("one more %s → northbound, p50", kind.name), report.InMillis(report.Percentile(north, 50)), report.Millis)
		r.result.Add(fmt.Sprintf("one more %s → southbound, p50", kind.name), report.InMillis(report.Percentile(south, 50)), report.Millis)
	}
	return nil
}

// restart stops the master and starts it over the unchanged cluster.
func (r *wholeRun) restart(ctx context.Context) error {
	before, err := r.cluster.master.Usage()
	if err != nil {
		return err
	}
	r.result.Add("master: highest RSS", report.InMiB(before.PeakRSS), report.MiB).Say("RSS %.0f MiB", report.InMiB(before.RSS))
	changes := r.nodes.Changes() + r.pods.Changes()
	if err := r.cluster.restartMaster(ctx, r.result); err != nil {
		return err
	}
	if r.Restart > 0 {
		r.result.Figures[len(r.result.Figures)-1].AtMost(r.Restart.Seconds())
	}
	after, err := r.cluster.master.Usage()
	if err != nil {
		return err
	}
	r.result.Add("restart: nodes and pods written to", float64(r.nodes.Changes()+r.pods.Changes()-changes), report.Count).AtMost(0)
	r.result.Add("restart: CPU", after.CPU.Seconds(), report.Seconds)
	r.result.Add("restart: highest RSS", report.InMiB(after.PeakRSS), report.MiB)
	return nil
}

// successor kills the leader while another master stands by, and waits for that one's first write.
func (r *wholeRun) successor(ctx context.Context) error {
	options := r.cluster.options
	options.Identity, options.Metrics = "successor", "127.0.0.1:9509"
	standby, err := harness.StartMaster(ctx, options)
	if err != nil {
		return err
	}
	before, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	leader := r.cluster.master
	r.cluster.master = standby
	killed := time.Now()
	leader.Kill()
	_, end, err := r.somePods(ctx, r.Pods+wholeSingle, 1)
	if err != nil {
		return fmt.Errorf("a pod after the leader was killed: %w", err)
	}
	after, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	r.result.Add("leader killed → a new pod has its network from the standby", end.Sub(killed).Seconds(), report.Seconds).
		Say("%d northbound transactions, the pod's one of them", after.Sub(before).Master)
	return nil
}

// sizes are those of the databases and of who serves them.
func (r *wholeRun) sizes(ctx context.Context) error {
	for _, d := range []struct {
		name string
		*harness.Database
	}{{"northbound", r.cluster.nb}, {"southbound", r.cluster.sb}} {
		usage, err := d.Usage()
		if err != nil {
			return err
		}
		size, err := d.CompactedSize(ctx)
		if err != nil {
			return err
		}
		r.result.Add(d.name+" database: size", report.InMiB(size), report.MiB).Say("compacted; its server's RSS %.0f MiB, the highest %.0f", report.InMiB(usage.RSS), report.InMiB(usage.PeakRSS))
	}
	usage, err := r.cluster.northd.Usage()
	if err != nil {
		return err
	}
	r.result.Add("ovn-northd: highest RSS", report.InMiB(usage.PeakRSS), report.MiB)
	return nil
}
