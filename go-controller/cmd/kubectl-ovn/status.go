package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/status"
	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

// Exit codes of status.
const (
	exitDegraded = 2
	exitFailed   = 3
)

// Pauses between two looks of --wait: several databases and the API server are asked, none of which tells of the others' changes.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 5 * time.Second
)

func newStatus(g *globals) *cobra.Command {
	var wait, verbose, passive bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Is the network well? If not, what is it, and what is the next step?",
		Long: `status looks at master, databases, northd, nodes, pods and policies, and says what is degraded and what to do next.
It has northd and all nodes confirm that they have done all that was asked for, which raises the number nb_cfg in the northbound
database; with --passive nothing is written.

Exit codes: 0, all is well; 2, degraded: what there is works, something is lacking; 3, failed: changes do not reach the
network, or packets their destinations; 1, it cannot be told.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "look again until all is well")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long --wait waits")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "look into each node; also show databases' members, nodes, versions, tunnels, and which features are on and why")
	cmd.Flags().BoolVar(&passive, "passive", false, "do not have northd and nodes confirm")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		printer, err := g.printer(cmd)
		if err != nil {
			return err
		}
		client, a, err := g.connect()
		if err != nil {
			return err
		}
		reader := &status.Reader{Client: client, Access: a, Namespace: g.installed, Now: time.Now, Passive: passive, Verbose: verbose}
		ctx := cmd.Context()
		if wait {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		report, err := look(ctx, reader, wait)
		if err != nil {
			return err
		}
		if err := report.Write(printer, verbose); err != nil {
			return err
		}
		return outcome(report.State)
	}
	return cmd
}

// look reads the status, with wait until it is well or ctx ends: then it is the last one that could be read.
func look(ctx context.Context, reader *status.Reader, wait bool) (*status.Report, error) {
	var last *status.Report
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		report, err := reader.Read(ctx)
		if ctx.Err() == nil && err == nil {
			last = report
		}
		switch {
		case !wait:
			return report, err
		case last != nil && last.State == status.OK:
			return last, nil
		case retry.Sleep(ctx, pause):
		case last != nil:
			return last, nil
		default:
			return nil, fmt.Errorf("no status could be read: %w", errors.Join(ctx.Err(), err))
		}
	}
}

func outcome(s status.State) error {
	switch s {
	case status.OK:
		return nil
	case status.Degraded:
		return &toldError{exitDegraded}
	case status.Unknown:
		return &toldError{exitUnknown}
	}
	return &toldError{exitFailed}
}
