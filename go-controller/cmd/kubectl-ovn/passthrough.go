package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
)

// program is one of OVN's or Open vSwitch's that is run where it belongs.
type program struct {
	name, use, short string
	// database programs run beside that database, others on a node.
	database *ovndb.Kind
	argv     []string
}

func programs() []program {
	nb, sb := ovndb.NB(), ovndb.SB()
	return []program{
		{"nbctl", "nbctl -- ARGS...", "Run ovn-nbctl beside the northbound database", &nb, nil},
		{"sbctl", "sbctl -- ARGS...", "Run ovn-sbctl beside the southbound database", &sb, nil},
		{"vsctl", "vsctl [NODE] -- ARGS...", "Run ovs-vsctl on a node", nil, []string{"ovs-vsctl"}},
		{"ofctl", "ofctl [NODE] -- ARGS...", "Run ovs-ofctl on a node", nil, []string{"ovs-ofctl"}},
		{"appctl", "appctl [NODE] -- ARGS...", "Run ovs-appctl on a node", nil, []string{"ovs-appctl"}},
	}
}

func newPassThrough(g *globals, p program) *cobra.Command {
	cmd := &cobra.Command{Use: p.use, Short: p.short}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, argv, err := p.command(args, cmd.ArgsLenAtDash())
		if err != nil {
			return err
		}
		a, err := g.reach()
		if err != nil {
			return err
		}
		streams := access.Streams{Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr()}
		if !term.IsTerminal(int(os.Stdin.Fd())) {
			streams.In = os.Stdin
		}
		return ended(a.Run(cmd.Context(), at, streams, argv...))
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if p.database != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return g.completeNodes(cmd)
	}
	return cmd
}

// ended is the error for the end of a program whose output the user has seen: what is wrong it has said itself.
func ended(err error) error {
	var exit *access.ExitError
	if errors.As(err, &exit) {
		return &toldError{exit.Code}
	}
	return err
}

// command is what runs where; dash is how many of the arguments come before "--", or -1.
func (p program) command(args []string, dash int) (access.Place, []string, error) {
	switch {
	case dash < 0 && p.database == nil:
		return access.Place{}, nil, fmt.Errorf(`want %q: what is for the program comes behind "--"`, p.use)
	case p.database != nil && dash > 0:
		return access.Place{}, nil, fmt.Errorf("%s takes no node: there is one %s", p.name, p.database.Database)
	case p.database != nil:
		script := `exec ovn-` + p.name + ` --db="$db" "$@"`
		return access.Beside(*p.database), database.Shell(*p.database, script, args...), nil
	case dash > 1:
		return access.Place{}, nil, fmt.Errorf("%d words before --: want one, the node", dash)
	}
	node := ""
	if dash == 1 {
		node, args = args[0], args[1:]
	}
	return access.On(node), append(append([]string{}, p.argv...), args...), nil
}
