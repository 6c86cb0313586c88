package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ovnkube/ovnkube/go-controller/pkg/launch"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

func newOVSCommand() *cobra.Command {
	c := &launch.Config{}
	cmd := &cobra.Command{
		Use:       "ovs " + strings.Join(launch.Programs(), "|"),
		Short:     "Prepare this host for a program of Open vSwitch or OVN and become it; the entry point of its container",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: launch.Programs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			argv, err := c.Prepare(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return launch.Become(argv)
		},
	}
	cmd.AddCommand(newHandOverCommand())
	cmd.Flags().StringVar(&c.RunDir, "run-dir", launch.DefaultRunDir, "folder of the sockets")
	cmd.Flags().StringVar(&c.DatabaseDir, "db-dir", launch.DefaultDatabaseDir, "folder of the Open_vSwitch database")
	cmd.Flags().StringVar(&c.SchemaDir, "schema-dir", launch.DefaultSchemaDir, "folder of the schema that comes with Open vSwitch")
	return cmd
}

// newHandOverCommand is what containers run before they end.
func newHandOverCommand() *cobra.Command {
	c := &launch.Config{}
	programs := []string{launch.OVSDBServer, launch.VSwitchd}
	var limit time.Duration
	cmd := &cobra.Command{
		Use:       "hand-over " + strings.Join(programs, "|"),
		Short:     "With the userspace datapath: wait until the program's next container, and a node agent, are there",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: programs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), limit)
			defer cancel()
			return c.HandOver(ctx, args[0])
		},
	}
	cmd.Flags().DurationVar(&limit, "limit", 30*time.Second, "how long")
	cmd.Flags().StringVar(&c.RunDir, "run-dir", launch.DefaultRunDir, "folder of the sockets")
	cmd.Flags().StringVar(&c.AgentSocket, "agent-socket", names.CNISocket, "socket at which the node agent answers when pods can be started")
	return cmd
}
