package main

import (
	"context"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
)

// lists are what can be listed.
var lists = []struct {
	name, short string
	of          func(*inspect.View) output.Result
}{
	{"endpoints", "Pods with their addresses, and whether they are connected", (*inspect.View).Endpoints},
	{"services", "Frontends of services and the backends behind each", (*inspect.View).Services},
	{"policies", "Network policies, the pods they are in effect on, and their ACLs", (*inspect.View).Policies},
	{"nodes", "Nodes with their subnets and gateways, and what they lack", (*inspect.View).Nodes},
	{"addresses", "All addresses that OVN knows, and whose they are", (*inspect.View).Addresses},
}

func newList(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "The network's own view, in terms of the cluster's objects", Args: cobra.NoArgs}
	for _, l := range lists {
		cmd.AddCommand(&cobra.Command{Use: l.name, Short: l.short, Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
			RunE: func(cmd *cobra.Command, _ []string) error {
				printer, err := g.printer(cmd)
				if err != nil {
					return err
				}
				v, err := g.view(cmd.Context())
				if err != nil {
					return err
				}
				v.Namespace = g.namespace
				return printer.Print(l.of(v))
			}})
	}
	return cmd
}

// view reads the cluster's objects and the northbound database.
func (g *globals) view(ctx context.Context) (*inspect.View, error) {
	client, a, err := g.connect()
	if err != nil {
		return nil, err
	}
	var v inspect.View
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		v.Objects, err = inspect.ReadObjects(ctx, client)
		return err
	})
	group.Go(func() (err error) {
		v.NB, err = database.Northbound(ctx, a)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return &v, nil
}
