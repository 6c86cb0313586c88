package main

import (
	"context"
	"flag"
	"os"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/health"
)

// configuration is what config.Master and config.Node have in common for starting a process.
type configuration interface{ Validate() error }

// load completes the flags of cmd from environment and file, validates, and sets the verbosity.
func load(cmd *cobra.Command, cfg configuration, common *config.Common) error {
	if err := config.Load(cmd.Flags(), os.Environ()); err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	var klogFlags flag.FlagSet
	klog.InitFlags(&klogFlags)
	return klogFlags.Set("v", strconv.Itoa(common.LogLevel))
}

func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// run runs the health server beside the process proper; the end of either ends both.
func run(ctx context.Context, server *health.Server, process func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error {
		defer cancel()
		return process(ctx)
	})
	return group.Wait()
}
