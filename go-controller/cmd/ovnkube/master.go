package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/health"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
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
		managed := cfg.Complete()
		restConfig, err := kube.RESTConfig(cfg.Kubeconfig, cfg.APIServer)
		if err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(restConfig)
		if err != nil {
			return fmt.Errorf("kubernetes client: %w", err)
		}
		registry := newRegistry()
		m, err := master.New(*cfg, master.Options{Registerer: registry, RESTConfig: restConfig})
		if err != nil {
			return err
		}
		registerNorthd(registry)
		registerCertificates(registry, "ovnkube_master", func() []string { return masterCertificates(cfg) })
		server := &health.Server{Address: cfg.MetricsBindAddress, Metrics: registry, Live: m.Live, Ready: m.Ready}
		return run(cmd.Context(), server, health.Debug{Socket: cfg.DebugSocket}, func(ctx context.Context) error {
			return withCertificates(ctx, cfg, client, managed, m.Run)
		})
	}
	return cmd
}

// masterCertificates are the files with certificates that the master uses, and those that it keeps for the databases on its host.
func masterCertificates(cfg *config.Master) []string {
	files := []string{cfg.Northbound.Certificate, cfg.Northbound.CACertificate, cfg.Southbound.Certificate, cfg.Southbound.CACertificate}
	if cfg.CertificateDir != "" {
		managed := cfg.ManagedTLS()
		files = append(files, managed.Certificate, managed.CACertificate)
	}
	return files
}
