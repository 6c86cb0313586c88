// Package cnibench measures in a lab what kubelet and users wait for when pods come and go, beside the floor that
// OVN and OVS set in the same run.
//
// ADD and DEL are measured at the plugin's executable, by a recorder in its place (command cnirec). kubelet's and
// containerd's own histograms have buckets too wide for a percentile, and their logs do not tell a plugin's time from
// that of the rest of a sandbox.
package cnibench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

const (
	labName = "bench"
	node    = "node1"
	// idle is how long nothing happens before memory is read.
	idle = 15 * time.Second
	// phaseTimeout only has to be longer than any useful figure.
	phaseTimeout = 5 * time.Minute
	downTimeout  = time.Minute
)

// Options say what to measure.
type Options struct {
	ID, Title string
	// Root is the repository.
	Root string
	// OVNRoot is a folder with another Debian release's OVN and OVS; empty: the machine's own. Debian names the
	// release, whose folder is made when it is not there.
	OVNRoot, Debian string
	// Serial pods one at a time; AtOnce pods at once, in Rounds.
	Serial, AtOnce, Rounds int
	// BinDir has the product's executables.
	BinDir string
}

// bench is a measurement in progress.
type bench struct {
	Options
	lab      *cluster.Lab
	recorder *recorder
	pods     *pods
	result   *report.Result
}

// Run measures in a lab of its own.
func Run(ctx context.Context, o Options) (result *report.Result, err error) {
	artifacts := artifact.Options{Root: o.Root}
	if o.Debian != "" && o.OVNRoot == "" {
		if o.OVNRoot, err = artifact.EnsureRoot(ctx, artifacts, o.Debian); err != nil {
			return nil, fmt.Errorf("%s: %w", o.ID, err)
		}
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downTimeout)
		defer cancel()
		err = errors.Join(err, cluster.Down(ctx, labName, os.Stderr))
	}()
	lab, err := cluster.Up(ctx, cluster.Options{Name: labName, OVNRoot: o.OVNRoot, BinDir: o.BinDir, Artifacts: artifacts, Out: os.Stderr})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.ID, err)
	}
	b := &bench{Options: o, lab: lab, result: &report.Result{ID: o.ID, Title: o.Title, Time: time.Now(), Machine: report.ThisMachine(o.Root)}}
	status := lab.Status(ctx)
	b.result.Machine.OVN, b.result.Machine.OVS = status.OVN, status.OVS
	if err := b.run(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", o.ID, err)
	}
	return b.result, nil
}

func (b *bench) run(ctx context.Context) error {
	// The watch ends before the lab does.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := b.lab.Client()
	if err != nil {
		return err
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	b.result.Machine.Kubernetes = version.GitVersion
	if b.recorder, err = installRecorder(ctx, b.lab, b.Root, node); err != nil {
		return err
	}
	if b.pods, err = newPods(ctx, client, node); err != nil {
		return err
	}
	for _, phase := range []struct {
		name string
		do   func(context.Context) error
	}{{"warm up", b.warmUp}, {"memory", b.memory}, {"one at a time", b.oneAtATime}, {"at once", b.allAtOnce}} {
		fmt.Fprintf(os.Stderr, "%s  %s: %s\n", time.Now().Format("15:04:05.000"), b.ID, phase.name)
		if err := b.phase(ctx, phase.do); err != nil {
			return fmt.Errorf("%s: %w", phase.name, err)
		}
	}
	return nil
}

func (b *bench) phase(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, phaseTimeout)
	defer cancel()
	return do(ctx)
}

// warmUp makes the first pods, which find cold caches everywhere.
func (b *bench) warmUp(ctx context.Context) error {
	if _, err := b.pods.runAll(ctx, "warm", 5); err != nil {
		return err
	}
	if err := b.pods.remove(ctx, "warm", 5); err != nil {
		return err
	}
	_, err := measureFloor(ctx, b.lab, node, 3, false)
	return err
}

func (b *bench) memory(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(idle):
	}
	for _, c := range []struct {
		name, component, machine, reference string
		limit                               float64
	}{
		{"master", plan.Master, plan.ControlPlane, "65 (30) MiB", 50},
		{"node agent", plan.NodeAgent, node, "59 (24) MiB", 40},
	} {
		usage, err := b.usage(ctx, c.component, c.machine)
		if err != nil {
			return err
		}
		b.result.Add(c.name+": RSS, idle", report.InMiB(usage.RSS), report.MiB).AtMost(c.limit).Ref(c.reference).
			Say("PSS %.0f MiB", report.InMiB(usage.PSS))
	}
	return nil
}

// usage reads the cost of a component from its machine's own /proc.
func (b *bench) usage(ctx context.Context, component, machine string) (harness.Usage, error) {
	components, err := b.lab.Components(ctx, machine)
	if err != nil {
		return harness.Usage{}, err
	}
	dir, err := b.lab.Path(machine, "/proc")
	if err != nil {
		return harness.Usage{}, err
	}
	for _, c := range components {
		if c.Name == component {
			return harness.ReadUsage(dir, c.PID)
		}
	}
	return harness.Usage{}, fmt.Errorf("machine %s has no component %s", machine, component)
}
