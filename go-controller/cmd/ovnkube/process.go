package main

import (
	"context"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/health"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/telemetry"
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
	return health.SetVerbosity(common.LogLevel)
}

func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registerProcess(registry)
	return registry
}

// registerProcess registers what every process says about itself.
func registerProcess(r prometheus.Registerer) {
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), telemetry.BuildInfo())
}

func registerCertificates(r prometheus.Registerer, prefix string, files func() []string) {
	r.MustRegister(telemetry.Certificates(prefix, files))
}

// registerNorthd registers the gauge of the ovn-northd beside a master.
func registerNorthd(r prometheus.Registerer) {
	r.MustRegister(telemetry.Program(telemetry.ProgramOptions{
		Metric: "ovnkube_master_ovn_northd",
		Help:   "Whether the ovn-northd beside this master runs (1) or not (0), and whether it is the active one: of several one is.",
		State:  "active", InState: func(answer string) bool { return strings.TrimSpace(answer) == "Status: active" },
		Ask: func(ctx context.Context) (string, error) {
			return ovndb.AskProgram(ctx, ovndb.DefaultRunDir, "ovn-northd", "status")
		},
	}))
}

// registerController registers the gauge of a node's ovn-controller.
func registerController(r prometheus.Registerer) {
	r.MustRegister(telemetry.Program(telemetry.ProgramOptions{
		Metric: "ovnkube_node_ovn_controller",
		Help:   "Whether the node's ovn-controller runs (1) or not (0), and whether it is connected to the southbound database.",
		State:  "connected", InState: func(answer string) bool { return strings.TrimSpace(answer) == "connected" },
		Ask: func(ctx context.Context) (string, error) {
			return ovndb.AskProgram(ctx, ovndb.DefaultRunDir, "ovn-controller", "connection-status")
		},
	}))
}

// run runs the health server beside the process proper; the end of either ends both. debug may be its zero value.
func run(ctx context.Context, server *health.Server, debug health.Debug, process func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error { debug.Run(ctx); return nil })
	group.Go(func() error {
		defer cancel()
		return process(ctx)
	})
	return group.Wait()
}
