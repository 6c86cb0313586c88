package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ovnkube/ovnkube/go-controller/pkg/certs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/cni"
	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/health"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node"
)

func newNodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Make this host a node of the network and serve its container runtime",
		Args:  cobra.NoArgs,
	}
	cfg := config.AddNodeFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := load(cmd, cfg, &cfg.Common); err != nil {
			return err
		}
		registry := newRegistry()
		agent, err := node.New(*cfg, node.Options{
			Registerer: registry,
			PodGuard:   cni.PodGuard(),
			Serve: func(ctx context.Context, host node.Host) error {
				return serveCNI(ctx, host, registry)
			},
		})
		if err != nil {
			return err
		}
		registerController(registry)
		registerCertificates(registry, "ovnkube_node", func() []string {
			files, _ := cfg.SouthboundTLS()
			return []string{files.Certificate, files.CACertificate}
		})
		server := &health.Server{Address: cfg.MetricsBindAddress, Metrics: registry, Live: agent.Live, Ready: agent.Ready}
		return run(cmd.Context(), server, health.Debug{Socket: cfg.DebugSocket}, agent.Run)
	}
	cmd.AddCommand(newCleanupCommand())
	return cmd
}

func newCleanupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Give the physical NIC its addresses back and remove what the node agent made",
		Args:  cobra.NoArgs,
	}
	cfg := config.AddNodeFlags(cmd.Flags())
	purge := cmd.Flags().Bool("purge", false, "remove the CNI plugin and the node's certificate, too")
	wait := cmd.Flags().Bool("wait", false, "stay until told to end, ready at --metrics-bind-address: for a DaemonSet, whose pods would be started again")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := config.Load(cmd.Flags(), os.Environ()); err != nil {
			return err
		}
		if err := cleanup(cmd.Context(), cfg, *purge); err != nil || !*wait {
			return err
		}
		server := &health.Server{Address: cfg.MetricsBindAddress, Metrics: newRegistry()}
		return run(cmd.Context(), server, health.Debug{}, func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		})
	}
	return cmd
}

func cleanup(ctx context.Context, cfg *config.Node, purge bool) error {
	// First, so that no pod is started on what is being taken away.
	if err := cni.RemoveConfList(cfg.CNIConfDir); err != nil {
		return err
	}
	if err := node.Cleanup(ctx, *cfg); err != nil || !purge {
		return err
	}
	err := errors.Join(cni.RemovePlugin(cfg.CNIBinDir), certs.Remove(cfg.CertificateDir))
	for _, path := range []string{filepath.Dir(names.CNISocket), names.FlowCopy, names.NodeDebugSocket} {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// serveCNI serves the container runtime until ctx ends or something fails; it can be called again. The network
// configuration list comes last: it is what tells the runtime that the node's network is ready.
func serveCNI(ctx context.Context, host node.Host, registerer prometheus.Registerer) error {
	// A registry of its own: the next attempt's metrics take the place of this one's.
	registry := prometheus.NewRegistry()
	if plugin := host.Config.CNIPlugin; plugin != "" {
		if err := cni.InstallPlugin(plugin, host.Config.CNIBinDir); err != nil {
			return err
		}
	}
	server, err := cni.New(cni.Options{
		NodeName:   host.Config.NodeName,
		MTU:        host.Config.MTU,
		Userspace:  host.DatapathType == "netdev",
		OVSDB:      []string{host.Config.OVSDB},
		Client:     host.Kube,
		Ready:      host.Ready,
		Registerer: registry,
	})
	if err != nil {
		return err
	}
	if err := registerer.Register(registry); err != nil {
		return fmt.Errorf("metrics of the CNI server: %w", err)
	}
	defer registerer.Unregister(registry)
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(groupCtx) })
	group.Go(func() error {
		select {
		case <-server.Serving():
		case <-groupCtx.Done():
			return nil
		}
		list := cni.ConfList{Dir: host.Config.CNIConfDir, PluginDir: host.Config.CNIBinDir}
		if err := list.Keep(groupCtx); err != nil {
			return fmt.Errorf("announce the network to the container runtime: %w", err)
		}
		return nil
	})
	err = group.Wait()
	if host.Config.RemoveCNIConf && ctx.Err() != nil { // at shutdown, not for a failure that is tried again
		err = errors.Join(err, cni.RemoveConfList(host.Config.CNIConfDir))
	}
	return err
}
