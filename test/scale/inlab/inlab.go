// Package inlab runs scenarios in a lab of their own: it brings the lab up and down, runs phases one after the other and names the one
// that failed, and makes pods whose networks the scenario uses.
package inlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

const (
	labName = "bench"
	// phaseTimeout only has to be longer than any useful figure.
	phaseTimeout = 5 * time.Minute
	downTimeout  = time.Minute
)

// Options say what runs where.
type Options struct {
	ID, Title string
	// Root is the repository, BinDir has the product's executables.
	Root, BinDir string
	// OVNRoot is a folder with another Debian release's OVN and OVS; empty: the machine's own. Debian names the release, whose folder
	// is made when it is not there.
	OVNRoot, Debian string
	// Nodes is their number; 0 means 3.
	Nodes int
}

// Bench is a scenario in progress.
type Bench struct {
	Options
	Lab    *cluster.Lab
	Client kubernetes.Interface
	// Result takes the figures.
	Result *report.Result
}

// Phase is a step of a scenario.
type Phase struct {
	Name string
	Do   func(context.Context) error
}

// Run brings a lab up, runs the phases that begin returns, and takes the lab down. The context of begin ends before the lab does.
func Run(ctx context.Context, o Options, begin func(context.Context, *Bench) ([]Phase, error)) (result *report.Result, err error) {
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
	lab, err := cluster.Up(ctx, cluster.Options{
		Name: labName, Nodes: o.Nodes, OVNRoot: o.OVNRoot, BinDir: o.BinDir, Artifacts: artifacts, Out: os.Stderr,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.ID, err)
	}
	b := &Bench{Options: o, Lab: lab, Result: &report.Result{ID: o.ID, Title: o.Title, Time: time.Now(), Machine: report.ThisMachine(o.Root)}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := b.run(ctx, begin); err != nil {
		return nil, fmt.Errorf("%s: %w", o.ID, err)
	}
	return b.Result, nil
}

func (b *Bench) run(ctx context.Context, begin func(context.Context, *Bench) ([]Phase, error)) error {
	status := b.Lab.Status(ctx)
	b.Result.Machine.OVN, b.Result.Machine.OVS = status.OVN, status.OVS
	var err error
	if b.Client, err = b.Lab.Client(); err != nil {
		return err
	}
	version, err := b.Client.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	b.Result.Machine.Kubernetes = version.GitVersion
	phases, err := begin(ctx, b)
	if err != nil {
		return err
	}
	for _, p := range phases {
		fmt.Fprintf(os.Stderr, "%s  %s: %s\n", time.Now().Format("15:04:05.000"), b.ID, p.Name)
		if err := phase(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

func phase(ctx context.Context, p Phase) error {
	ctx, cancel := context.WithTimeoutCause(ctx, phaseTimeout, fmt.Errorf("it took more than %v", phaseTimeout))
	defer cancel()
	return p.Do(ctx)
}

// Usage reads the cost of a component from its machine's own /proc.
func (b *Bench) Usage(ctx context.Context, component, machine string) (harness.Usage, error) {
	components, err := b.Lab.Components(ctx, machine)
	if err != nil {
		return harness.Usage{}, err
	}
	dir, err := b.Lab.Path(machine, "/proc")
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
