package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/ovnkube/ovnkube/go-controller/pkg/launch"
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
	cmd.Flags().StringVar(&c.RunDir, "run-dir", launch.DefaultRunDir, "folder of the sockets")
	cmd.Flags().StringVar(&c.DatabaseDir, "db-dir", launch.DefaultDatabaseDir, "folder of the Open_vSwitch database")
	cmd.Flags().StringVar(&c.SchemaDir, "schema-dir", launch.DefaultSchemaDir, "folder of the schema that comes with Open vSwitch")
	return cmd
}
