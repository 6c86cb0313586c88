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
	"github.com/ovnkube/ovnkube/test/lab/image"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

func newUp(name *string) *cobra.Command {
	o := cluster.Options{Out: os.Stdout}
	var family, install string
	c := &cobra.Command{Use: "up", Short: "Bring a lab up", Args: cobra.NoArgs,
		Long: `Brings a lab up and returns when it is ready for use: with the project's
components when CoreDNS is Ready, without them when all nodes are registered.
After a failure what is there is left for inspection: status, logs, exec, down.`,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Name, o.Install = *name, plan.Install(install)
			var err error
			if o.Family, err = plan.ParseFamily(family); err != nil {
				return fmt.Errorf("--ip-family: %w", err)
			}
			_, err = cluster.Up(c.Context(), o)
			return err
		}}
	f := c.Flags()
	f.IntVar(&o.Nodes, "nodes", 3, "number of nodes")
	f.IntVar(&o.Databases, "databases", 1, "members of OVN's databases: 1, or 3 or 5 for clusters")
	f.StringVar(&family, "ip-family", string(plan.IPv4), "IP family of nodes and pods: ipv4, ipv6 or dual")
	f.StringVar(&o.OVNRoot, "ovn-root", "", "root file system to run Open vSwitch and OVN from, instead of the host's")
	f.StringVar(&install, "install", string(plan.InstallProcess), "how the project's components get in: process, helm (as pods, by the chart) or none")
	f.StringVar(&o.Helm.Image, "image", "", "with --install helm: archive with the project's image (default: one made of --bin-dir)")
	f.StringVar(&o.Helm.Chart, "chart", "", "with --install helm: folder or archive of the chart (default dist/helm/ovnkube of the repository)")
	f.StringArrayVar(&o.Helm.Set, "set", nil, "with --install helm: a value of the chart, KEY=VALUE; may be given several times")
	f.StringVar(&o.Agent.GatewayMode, "gateway-mode", "", "where pods' packets leave a node: shared or local (default: the agent's)")
	f.StringVar(&o.Agent.Netfilter, "netfilter", "", "how the nodes' rules are written: auto, nftables or iptables (default: the agent's)")
	f.StringVar(&o.BinDir, "bin-dir", "", "folder with the project's executables (default _output/bin of the repository)")
	f.BoolVar(&o.Standby, "standby", false, "also run a second replica of the master")
	f.BoolVar(&o.Conformance, "conformance", false, "also provide the images that Kubernetes' own tests use")
	return c
}

// downLimit is how long taking a lab down may take at most.
const downLimit = 20 * time.Second

func newDown(name *string) *cobra.Command {
	var all bool
	c := &cobra.Command{Use: "down", Short: "Take a lab down and leave nothing of it but logs", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			names := []string{*name}
			if all {
				var err error
				if names, err = cluster.List(); err != nil {
					return err
				}
			}
			var errs []error
			for _, n := range names {
				ctx, cancel := context.WithTimeout(c.Context(), downLimit)
				errs = append(errs, cluster.Down(ctx, n, os.Stdout))
				cancel()
			}
			return errors.Join(errs...)
		}}
	c.Flags().BoolVar(&all, "all", false, "take all labs down")
	return c
}

func newBuild() *cobra.Command {
	return &cobra.Command{Use: "build [GROUP...]", Short: "Install packages and build executables and images into the cache",
		Long: `Installs missing packages and builds what the groups need into the cache.
Groups: lab and cni (default), conformance, lint, packages (Debian packages alone), roots
(a Debian root with newer Open vSwitch and OVN, for --ovn-root; its path is printed).`,
		RunE: func(c *cobra.Command, groups []string) error { return build(c.Context(), groups) }}
}

func build(ctx context.Context, groups []string) error {
	if len(groups) == 0 {
		groups = []string{artifact.GroupLab, artifact.GroupCNI}
	}
	o := artifact.Options{Progress: func(e artifact.Event) { fmt.Println(e) }}
	var names []string
	for _, g := range groups {
		switch g {
		case "packages":
			if err := artifact.EnsurePackages(ctx, o, artifact.Packages(artifact.GroupLab)...); err != nil {
				return err
			}
		case "roots":
			dir, err := artifact.EnsureRoot(ctx, o, "trixie")
			if err != nil {
				return err
			}
			fmt.Println("root:", dir)
		case artifact.GroupLab, artifact.GroupCNI, artifact.GroupConformance, artifact.GroupLint:
			names = append(names, g)
		default:
			return fmt.Errorf("group %q: want lab, cni, conformance, lint, packages or roots", g)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return buildExecutables(ctx, o, names)
}

func buildExecutables(ctx context.Context, o artifact.Options, groups []string) error {
	if err := artifact.EnsurePackages(ctx, o, artifact.Packages(groups...)...); err != nil {
		return err
	}
	set, err := artifact.Ensure(ctx, o, artifact.Names(groups...)...)
	if err != nil {
		return err
	}
	if err := buildImages(ctx, o, set, groups); err != nil {
		return err
	}
	if err := linkTools(o, set); err != nil {
		return err
	}
	fmt.Println("executables:", set.BinDir)
	return nil
}

// linkTools gives the executables stable paths, for scripts: <cache>/tools/NAME.
func linkTools(o artifact.Options, set artifact.Set) error {
	cache, err := o.CacheDir()
	if err != nil {
		return err
	}
	return set.LinkInto(filepath.Join(cache, "tools"))
}

func buildImages(ctx context.Context, o artifact.Options, set artifact.Set, groups []string) error {
	for _, g := range groups {
		if g != artifact.GroupLab {
			continue
		}
		base, err := image.Base(ctx, o, set)
		if err != nil {
			return err
		}
		if _, err := image.EnsureStore(ctx, o, set, base); err != nil {
			return err
		}
	}
	return nil
}
