package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/telemetry"
)

const (
	flagsReference = "../../../docs/reference/flags.md"
	flagsMarker    = "<!-- From the commands themselves: go test ./go-controller/cmd/ovnkube -run Reference -update -->\n"
)

// The reference has every command and flag, with its default and what else can set it; -update writes it.
func TestFlagsReference(t *testing.T) {
	data, err := os.ReadFile(flagsReference)
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(data), flagsMarker)
	if !found {
		t.Fatalf("%s lacks the line %q", flagsReference, flagsMarker)
	}
	var b strings.Builder
	for _, cmd := range newRootCommand().Commands() {
		describeCommand(&b, cmd, nil)
	}
	if *update {
		if err := os.WriteFile(flagsReference, []byte(before+flagsMarker+b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(b.String(), after); diff != "" {
		t.Errorf("%s: run with -update (-commands +document):\n%s", flagsReference, diff)
	}
}

// describeCommand writes a command and those below it. Flags of the command above that mean the same are not repeated.
func describeCommand(b *strings.Builder, cmd *cobra.Command, above *pflag.FlagSet) {
	if !cmd.IsAvailableCommand() {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n%s.\n\n    %s\n", cmd.CommandPath(), cmd.Short, cmd.UseLine())
	environment := cmd.Flags().Lookup("config-file") != nil
	var rows []string
	same := above != nil
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		same = same && above.Lookup(f.Name) != nil
		rows = append(rows, flagRow(f, environment))
	})
	switch {
	case same && len(rows) > 0:
		fmt.Fprintf(b, "\nFlags as for `%s`.\n", cmd.Parent().CommandPath())
	case len(rows) > 0 && environment:
		fmt.Fprintf(b, "\n| Flag | Default | Environment | Meaning |\n|---|---|---|---|\n%s\n", strings.Join(rows, "\n"))
	case len(rows) > 0:
		fmt.Fprintf(b, "\n| Flag | Default | Meaning |\n|---|---|---|\n%s\n", strings.Join(rows, "\n"))
	}
	for _, sub := range cmd.Commands() {
		describeCommand(b, sub, cmd.LocalFlags())
	}
}

func flagRow(f *pflag.Flag, environment bool) string {
	value := ""
	switch {
	case slices.Contains([]string{"identity", "node-name"}, f.Name):
		value = "the host's name"
	case f.DefValue != "" && f.DefValue != "[]":
		value = "`" + f.DefValue + "`"
	}
	name := "`--" + f.Name + "`"
	if f.Shorthand != "" {
		name = "`-" + f.Shorthand + "`, " + name
	}
	if !environment {
		return fmt.Sprintf("| %s | %s | %s |", name, value, f.Usage)
	}
	return fmt.Sprintf("| %s | %s | `%s` | %s |", name, value, config.EnvName(f.Name), f.Usage)
}

// What the reference and --help call the default is what a process works with.
func TestDefaultsAreShown(t *testing.T) {
	for _, cmd := range newRootCommand().Commands() {
		for _, c := range append(cmd.Commands(), cmd) {
			c.Flags().VisitAll(func(f *pflag.Flag) {
				if got := f.Value.String(); got != f.DefValue {
					t.Errorf("%s --%s: --help says %q, the process takes %q", c.CommandPath(), f.Name, f.DefValue, got)
				}
			})
		}
	}
}

// Bug reports need it.
func TestVersion(t *testing.T) {
	var b strings.Builder
	cmd := newRootCommand()
	cmd.SetOut(&b)
	cmd.SetArgs([]string{"--version"})
	if err := cmd.Execute(); err != nil || b.String() != "ovnkube version "+telemetry.Version()+"\n" {
		t.Errorf("--version: %v, %q", err, b.String())
	}
}
