package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/check"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/check/connectivity"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/check/preflight"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// exitCheckFailed is the exit code when a check fails.
const exitCheckFailed = 2

// What check checks.
const (
	checkPreflight    = "preflight"
	checkConnectivity = "connectivity"
)

// checkFlags are those of check.
type checkFlags struct {
	connectivity.Options
	subnets, services []string
	junit             string
	timeout           time.Duration
}

func newCheck(g *globals) *cobra.Command {
	f := &checkFlags{}
	cmd := &cobra.Command{
		Use:   "check [preflight|connectivity]",
		Short: "Can the network be installed here? Does it do what it is there for?",
		Long: `check preflight looks at a cluster without the network: versions, nodes, other networks, kube-proxy, addresses that overlap, your rights.
It changes nothing.

check connectivity makes pods on the nodes, in a namespace of its own that it removes in the end, also when it fails or is interrupted. They reach
each other, nodes, services, names and what is outside, in all address families, and a network policy keeps them from it.

Without a word it is connectivity where a node is part of the network, else preflight. Progress goes to the standard error.
Exit codes: 0, nothing fails; 2, something does; 1, it could not be checked.`,
		Example: `  kubectl ovn check
  kubectl ovn check preflight --cluster-subnets 10.244.0.0/16
  kubectl ovn check connectivity --nodes 3 --outside 192.0.2.1:443 --junit check.xml`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{checkPreflight, checkConnectivity},
	}
	defaults := config.AddMasterFlags(pflag.NewFlagSet("", pflag.ContinueOnError))
	for _, s := range defaults.ClusterSubnets {
		f.subnets = append(f.subnets, s.Prefix.String())
	}
	fs := cmd.Flags()
	fs.StringVar(&f.Image, "image", connectivity.DefaultImage, "connectivity: image of the pods, which has agnhost")
	fs.IntVar(&f.Nodes, "nodes", 0, "connectivity: on how many nodes pods are made; 0 is all")
	fs.StringSliceVar(&f.Outside, "outside", nil, "connectivity: ADDRESS:PORT of TCP servers outside the cluster that pods should reach")
	fs.DurationVar(&f.Patience, "patience", connectivity.DefaultPatience, "connectivity: how long each connection may take to succeed")
	fs.BoolVar(&f.Keep, "keep", false, "connectivity: leave namespace and pods")
	fs.StringSliceVar(&f.subnets, "cluster-subnets", f.subnets, "preflight: networks that pods would have")
	fs.StringSliceVar(&f.services, "k8s-service-cidrs", nil, "preflight: networks of services (default: what the cluster says)")
	fs.StringVar(&f.junit, "junit", "", "file that gets the results as JUnit's XML")
	fs.DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long all may take")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return g.check(cmd, f, strings.Join(args, "")) }
	return cmd
}

func (g *globals) check(cmd *cobra.Command, f *checkFlags, what string) error {
	printer, err := g.printer(cmd)
	if err != nil {
		return err
	}
	cfg, client, err := g.cluster()
	if err != nil {
		return err
	}
	f.Client = client
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	if what == "" {
		if what, err = suits(ctx, client); err != nil {
			return err
		}
	}
	var report *check.Report
	if what == checkPreflight {
		var o preflight.Options
		if o, err = f.preflight(); err == nil {
			report, err = preflight.Run(ctx, o)
		}
	} else {
		e := access.Exec{Config: cfg, Client: client.CoreV1()}
		f.Exec = func(ctx context.Context, in access.Container, argv ...string) (string, error) {
			return access.OutputIn(ctx, &e, in, argv...)
		}
		f.Progress = func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) }
		report, err = connectivity.Run(ctx, f.Options)
	}
	if report == nil {
		return err
	}
	if f.junit != "" {
		err = errors.Join(err, writeJUnit(report, f.junit))
	}
	if err := errors.Join(err, report.Write(printer)); err != nil {
		return err
	}
	if report.Count(check.Fail) > 0 {
		return &toldError{exitCheckFailed}
	}
	return nil
}

// suits is what can be checked: connections where a node is part of the network.
func suits(ctx context.Context, client kubernetes.Interface) (string, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return "", fmt.Errorf("list nodes: %w", err)
	}
	for i := range list.Items {
		if list.Items[i].Annotations[names.NodeChassisIDAnnotation] != "" {
			return checkConnectivity, nil
		}
	}
	return checkPreflight, nil
}

// preflight is the network as it would be installed.
func (f *checkFlags) preflight() (preflight.Options, error) {
	defaults := config.AddMasterFlags(pflag.NewFlagSet("", pflag.ContinueOnError))
	o := preflight.Options{Client: f.Client, Join: defaults.JoinSubnets, MTU: defaults.MTU}
	for flag, texts := range map[string][]string{"cluster-subnets": f.subnets, "k8s-service-cidrs": f.services} {
		for _, text := range texts {
			if parts := strings.Split(text, "/"); len(parts) == 3 { // --cluster-subnets of the master has each node's length behind.
				text = parts[0] + "/" + parts[1]
			}
			p, err := netip.ParsePrefix(text)
			switch {
			case err != nil:
				return o, fmt.Errorf("--%s %q: want ADDRESS/LENGTH", flag, text)
			case flag == "cluster-subnets":
				o.Pods = append(o.Pods, p.Masked())
			default:
				o.Services = append(o.Services, p.Masked())
			}
		}
	}
	return o, nil
}

func writeJUnit(r *check.Report, file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(r.JUnit(out), out.Close())
}
