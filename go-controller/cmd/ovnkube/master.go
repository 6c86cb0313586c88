package main

import (
	"github.com/spf13/cobra"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/health"
	"github.com/ovnkube/ovnkube/go-controller/pkg/master"
)

func newMasterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "master",
		Short: "Translate the cluster into the OVN northbound database",
		Args:  cobra.NoArgs,
	}
	cfg := config.AddMasterFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := load(cmd, cfg, &cfg.Common); err != nil {
			return err
		}
		registry := newRegistry()
		m, err := master.New(*cfg, master.Options{Registerer: registry})
		if err != nil {
			return err
		}
		server := &health.Server{Address: cfg.MetricsBindAddress, Metrics: registry, Live: m.Live, Ready: m.Ready}
		return run(cmd.Context(), server, m.Run)
	}
	return cmd
}
