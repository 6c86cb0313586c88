package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// terminal are this program's own standard files.
func terminal() cluster.IO {
	return cluster.IO{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
}

// passThrough makes a command hand everything behind its name to another
// program. The lab's name may come first: ovnlab kubectl --name other get pods.
func passThrough(c *cobra.Command, name *string, run func(ctx context.Context, l *cluster.Lab, args []string) error) *cobra.Command {
	c.DisableFlagParsing = true
	c.RunE = func(c *cobra.Command, args []string) error {
		args, err := ownFlags(args, name)
		if err != nil {
			return err
		}
		if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
			return c.Help()
		}
		l, err := cluster.Open(*name)
		if err != nil {
			return err
		}
		// An interrupt from the terminal goes to the command too, and what it means
		// is the command's decision; SIGTERM ends both.
		ctx, stop := signal.NotifyContext(context.WithoutCancel(c.Context()), unix.SIGTERM)
		defer stop()
		return run(ctx, l, args)
	}
	return c
}

// ownFlags takes --name off the front of args.
func ownFlags(args []string, name *string) ([]string, error) {
	for len(args) > 0 {
		switch a := args[0]; {
		case a == "--name":
			if len(args) < 2 {
				return nil, fmt.Errorf("--name: want a name")
			}
			*name, args = args[1], args[2:]
		case len(a) > 7 && a[:7] == "--name=":
			*name, args = a[7:], args[1:]
		default:
			return args, nil
		}
	}
	return args, nil
}

func dropDashes(args []string) []string {
	if len(args) > 0 && args[0] == "--" {
		return args[1:]
	}
	return args
}

func newKubectl(name *string) *cobra.Command {
	return passThrough(&cobra.Command{Use: "kubectl [ARGS...]", Short: "Run kubectl against the lab, with the host's files"}, name,
		func(ctx context.Context, l *cluster.Lab, args []string) error {
			return l.RunKubectl(ctx, terminal(), args...)
		})
}

func newExec(name *string) *cobra.Command {
	c := &cobra.Command{Use: "exec MACHINE -- COMMAND...", Short: "Run a command inside a machine: cp, outside, node1, …",
		Long: `Runs a command with a machine's files, processes and network; without a
command, a shell. Machines are cp, outside and the nodes. With --net before the
machine's name only the network is the machine's, the files are the host's:
  ovnlab exec node1 -- ovs-vsctl show
  ovnlab exec --net cp -- ./my.test`}
	return passThrough(c, name, func(ctx context.Context, l *cluster.Lab, args []string) error {
		netOnly := len(args) > 0 && args[0] == "--net"
		if netOnly {
			args = args[1:]
		}
		if len(args) == 0 {
			return fmt.Errorf("want a machine: ovnlab exec MACHINE -- COMMAND")
		}
		machine, argv := args[0], dropDashes(args[1:])
		if len(argv) == 0 {
			argv = []string{"bash"}
		}
		if netOnly {
			return l.RunNet(ctx, machine, terminal(), argv...)
		}
		return l.Run(ctx, machine, terminal(), argv...)
	})
}

func newOutside(name *string) *cobra.Command {
	c := &cobra.Command{Use: "outside -- COMMAND...", Short: "Run a command on the host on the underlay that is not in the cluster"}
	return passThrough(c, name, func(ctx context.Context, l *cluster.Lab, args []string) error {
		argv := dropDashes(args)
		if len(argv) == 0 {
			argv = []string{"bash"}
		}
		return l.Run(ctx, plan.Outside, terminal(), argv...)
	})
}

// machineOf finds the machine that is meant: the one given, or the only one that
// has the component.
func machineOf(l *cluster.Lab, component string, rest []string) (string, error) {
	if len(rest) > 0 {
		return rest[0], nil
	}
	switch with := l.MachinesWith(component); len(with) {
	case 0:
		return "", fmt.Errorf("no machine has a component %q; ovnlab status lists all", component)
	case 1:
		return with[0], nil
	default:
		return "", fmt.Errorf("%s is on %v: which one?", component, with)
	}
}

func newOrder(name *string, verb, short string, do func(*cluster.Lab, context.Context, string, string) error) *cobra.Command {
	return &cobra.Command{Use: verb + " COMPONENT [MACHINE]", Short: short, Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := cluster.Open(*name)
			if err != nil {
				return err
			}
			machine, err := machineOf(l, args[0], args[1:])
			if err != nil {
				return err
			}
			return do(l, c.Context(), args[0], machine)
		}}
}

func newLogs(name *string) *cobra.Command {
	var follow bool
	var lines int
	c := &cobra.Command{Use: "logs COMPONENT [MACHINE]", Short: "Show a component's log (init: the machine's own)", Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := cluster.Open(*name)
			if err != nil {
				return err
			}
			machines := args[1:]
			if len(machines) == 0 {
				if machines = l.MachinesWith(args[0]); len(machines) == 0 {
					return fmt.Errorf("no machine has a log of %q; ovnlab status lists all components", args[0])
				}
			}
			argv := []string{"-n", strconv.Itoa(lines)}
			if lines < 0 {
				argv[1] = "+1"
			}
			if follow {
				argv = append(argv, "-F")
			}
			for _, m := range machines {
				argv = append(argv, l.LogFile(m, args[0]))
			}
			cmd := exec.CommandContext(c.Context(), "tail", argv...)
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			return cmd.Run()
		}}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the log grows")
	c.Flags().IntVarP(&lines, "lines", "n", -1, "only the last lines")
	return c
}

func newNode(name *string) *cobra.Command {
	c := &cobra.Command{Use: "node", Short: "Switch nodes off and on, add and remove them"}
	sub := func(verb, short string, do func(*cluster.Lab, context.Context, string) error) {
		c.AddCommand(&cobra.Command{Use: verb + " NODE", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				l, err := cluster.Open(*name)
				if err != nil {
					return err
				}
				return do(l, c.Context(), args[0])
			}})
	}
	sub("stop", "Cut a node's power", (*cluster.Lab).StopNode)
	sub("start", "Switch a node on, or cut its power and switch it on", (*cluster.Lab).StartNode)
	sub("add", "Make a new node, say node4, and start it", (*cluster.Lab).AddNode)
	sub("remove", "Stop a node, delete it from the cluster and throw its disks away", (*cluster.Lab).RemoveNode)
	return c
}

func newStatus(name *string) *cobra.Command {
	var output string
	var all bool
	c := &cobra.Command{Use: "status", Short: "Show machines, components and nodes", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains([]string{"table", "json"}, output) {
				return fmt.Errorf("--output %q: want table or json", output)
			}
			names := []string{*name}
			if all {
				var err error
				if names, err = cluster.List(); err != nil {
					return err
				}
			}
			for _, n := range names {
				l, err := cluster.Open(n)
				if err != nil {
					return err
				}
				st := l.Status(c.Context())
				if output == "json" {
					enc := json.NewEncoder(os.Stdout)
					enc.SetIndent("", "  ")
					if err := enc.Encode(st); err != nil {
						return err
					}
					continue
				}
				printStatus(os.Stdout, st)
			}
			return nil
		}}
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	c.Flags().BoolVar(&all, "all", false, "all labs")
	return c
}
