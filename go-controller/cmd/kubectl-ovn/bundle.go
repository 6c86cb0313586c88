package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/bundle"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/status"
	"github.com/ovnkube/ovnkube/go-controller/pkg/telemetry"
)

func newBundle(g *globals) *cobra.Command {
	var file string
	var nodes []string
	var size int64
	cmd := &cobra.Command{
		Use:   "bundle [-o FILE]",
		Short: "One archive with everything support needs, secrets removed",
		Long: `bundle reads the cluster's objects (no Secrets), the logs and metrics of the network's pods, OVN's databases, of each node Open vSwitch, OpenFlow, the
datapath and the host's network, and the status, and writes one .tar.gz. What looks like a secret, or is called so, is removed: keys, tokens, passwords, the
values of others' annotations, and what runs in others' pods. manifest.json in it says where each file comes from, and what could not be got and why.

Look through it before you give it away: names, addresses and labels are in it.`,
		Example: `  kubectl ovn bundle
  kubectl ovn bundle -o case-17.tar.gz --nodes node1,node2`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	fs := cmd.Flags()
	fs.StringVarP(&file, "output", "o", "", "archive that is written, - for the standard output (default: ovnkube-bundle-TIME.tar.gz)")
	fs.StringSliceVar(&nodes, "nodes", nil, "nodes that are looked into (default: all)")
	fs.Int64Var(&size, "max-size", bundle.DefaultSize>>20, "how much it may hold, in MiB before compression")
	g.completeFlag(cmd, "nodes", completer.nodes)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, a, err := g.connect()
		if err != nil {
			return err
		}
		o := bundle.Options{Client: client, Access: a, Namespace: g.installed, Nodes: nodes, Size: size << 20, Version: telemetry.Version(), Now: time.Now}
		o.Status = func(ctx context.Context, to io.Writer) error {
			report, err := (&status.Reader{Client: client, Access: a, Namespace: g.installed, Now: time.Now, Passive: true, Verbose: true}).Read(ctx)
			if err != nil {
				return err
			}
			return report.Write(&output.Printer{Out: to, Format: output.Table}, true)
		}
		o.Progress = progress(cmd.ErrOrStderr())
		if file == "" {
			file = "ovnkube-bundle-" + time.Now().UTC().Format("20060102-150405") + ".tar.gz"
		}
		m, err := writeBundle(cmd, o, file)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d files, %d could not be got or are not whole (see manifest.json)\n", file, len(m.Files), len(m.Missing()))
		return nil
	}
	return cmd
}

// writeBundle writes the archive to a file, or the command's output. No half of one is left behind.
func writeBundle(cmd *cobra.Command, o bundle.Options, file string) (*bundle.Manifest, error) {
	if file == "-" {
		return bundle.Write(cmd.Context(), o, cmd.OutOrStdout())
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	m, err := bundle.Write(cmd.Context(), o, out)
	if err = errors.Join(err, out.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(file))
	}
	return m, nil
}

// progress shows how far it is: on a terminal in one line.
func progress(to io.Writer) func(done, all int, name string) {
	file, isFile := to.(*os.File)
	if isFile && term.IsTerminal(int(file.Fd())) {
		return func(done, all int, name string) {
			fmt.Fprintf(to, "\r\x1b[K%d/%d %s", done, all, name)
			if done >= all {
				fmt.Fprint(to, "\r\x1b[K")
			}
		}
	}
	return func(int, int, string) {}
}
