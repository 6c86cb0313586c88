package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ovnkube/ovnkube/test/lab/cluster"
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
