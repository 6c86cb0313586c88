package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/conformance"
	"github.com/ovnkube/ovnkube/test/lab/demo"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

func newDemo(name *string) *cobra.Command {
	family := string(plan.Dual)
	c := &cobra.Command{Use: "demo", Short: "Bring a lab up anew, show an application on it, and leave it up", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			began := time.Now()
			lab, err := upAnew(c.Context(), cluster.Options{Name: *name, Nodes: 3, Install: plan.InstallProcess, Out: os.Stdout}, family)
			if err != nil {
				return err
			}
			if err := demo.Show(c.Context(), lab, os.Stdout); err != nil {
				return err
			}
			fmt.Printf("\nShown after %.0f s.\n", time.Since(began).Seconds())
			return nil
		}}
	c.Flags().StringVar(&family, "ip-family", family, "IP family of nodes and pods: ipv4, ipv6 or dual")
	return c
}

// upAnew brings a lab up, after taking down one of that name.
func upAnew(ctx context.Context, o cluster.Options, family string) (*cluster.Lab, error) {
	var err error
	if o.Family, err = plan.ParseFamily(family); err != nil {
		return nil, fmt.Errorf("--ip-family: %w", err)
	}
	if err := down(ctx, o.Name); err != nil {
		return nil, err
	}
	return cluster.Up(ctx, o)
}

func down(ctx context.Context, name string) error {
	if _, err := cluster.Open(name); errors.Is(err, cluster.ErrNoLab) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, downLimit)
	defer cancel()
	return cluster.Down(ctx, name, os.Stdout)
}

func newConformance() *cobra.Command {
	o := conformance.Options{}
	lab := cluster.Options{Name: "conformance", Nodes: 3, Install: plan.InstallProcess, Conformance: true, Out: os.Stdout}
	var family string
	var keep bool
	c := &cobra.Command{Use: "conformance", Short: "Run specs of Kubernetes' own end-to-end suite in a lab of their own", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			set, err := artifact.Ensure(c.Context(), artifact.Options{}, artifact.Names(artifact.GroupLab, artifact.GroupConformance)...)
			if err != nil {
				return err
			}
			l, err := upAnew(c.Context(), lab, family)
			if !keep {
				defer func() { err = errors.Join(err, down(context.WithoutCancel(c.Context()), lab.Name)) }()
			}
			if err != nil {
				return err
			}
			if o.ReportDir, err = filepath.Abs(o.ReportDir); err != nil {
				return err
			}
			return conformance.Run(c.Context(), l, set, o, os.Stdout)
		}}
	f := c.Flags()
	f.StringVar(&o.Focus, "focus", `Granular Checks: Pods`, "regular expression: specs to run")
	f.StringVar(&o.Skip, "skip", "", "regular expression: specs to leave out")
	f.IntVar(&o.Procs, "procs", 2, "specs at a time")
	f.StringVar(&o.ReportDir, "report-dir", "_output/conformance", "folder for junit files")
	f.StringVar(&family, "ip-family", string(plan.IPv4), "IP family of nodes and pods: ipv4, ipv6 or dual")
	f.BoolVar(&keep, "keep", false, "leave the lab up")
	return c
}
