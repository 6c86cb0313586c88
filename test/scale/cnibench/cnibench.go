// Package cnibench measures in a lab what kubelet and users wait for when pods come and go, beside the floor that
// OVN and OVS set in the same run.
//
// ADD and DEL are measured at the plugin's executable, by a recorder in its place (command cnirec). kubelet's and
// containerd's own histograms have buckets too wide for a percentile, and their logs do not tell a plugin's time from
// that of the rest of a sandbox.
package cnibench

import (
	"context"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/scale/inlab"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

const (
	node = "node1"
	// idle is how long nothing happens before memory is read.
	idle = 15 * time.Second
)

// Options say what to measure.
type Options struct {
	inlab.Options
	// Serial pods one at a time; AtOnce pods at once, in Rounds.
	Serial, AtOnce, Rounds int
}

// bench is a measurement in progress.
type bench struct {
	Options
	*inlab.Bench
	recorder *recorder
	pods     *pods
}

// Run measures in a lab of its own.
func Run(ctx context.Context, o Options) (*report.Result, error) {
	return inlab.Run(ctx, o.Options, func(ctx context.Context, in *inlab.Bench) ([]inlab.Phase, error) {
		b := &bench{Options: o, Bench: in}
		var err error
		if b.recorder, err = installRecorder(ctx, b.Lab, o.Root, node); err != nil {
			return nil, err
		}
		if err := b.MakeNamespace(ctx); err != nil {
			return nil, err
		}
		if b.pods, err = newPods(ctx, b.Client, node); err != nil {
			return nil, err
		}
		return []inlab.Phase{{Name: "warm up", Do: b.warmUp}, {Name: "memory", Do: b.memory}, {Name: "one at a time", Do: b.oneAtATime}, {Name: "at once", Do: b.allAtOnce}}, nil
	})
}

// warmUp makes the first pods, which find cold caches everywhere.
func (b *bench) warmUp(ctx context.Context) error {
	if _, err := b.pods.runAll(ctx, "warm", 5); err != nil {
		return err
	}
	if err := b.pods.remove(ctx, "warm", 5); err != nil {
		return err
	}
	_, err := measureFloor(ctx, b.Lab, node, 3, false)
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
		usage, err := b.Usage(ctx, c.component, c.machine)
		if err != nil {
			return err
		}
		b.Result.Add(c.name+": RSS, idle", report.InMiB(usage.RSS), report.MiB).AtMost(c.limit).Ref(c.reference).
			Say("PSS %.0f MiB", report.InMiB(usage.PSS))
	}
	return nil
}
