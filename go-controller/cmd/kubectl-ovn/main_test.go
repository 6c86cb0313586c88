package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/status"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/trace"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/telemetry"
)

var update = flag.Bool("update", false, "write the reference")

const (
	document = "../../../docs/kubectl-ovn.md"
	marker   = "<!-- From the commands themselves: go test ./go-controller/cmd/kubectl-ovn -update -->\n"
)

// The document's reference is what the commands say of themselves.
func TestReference(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(text), marker)
	if !found {
		t.Fatalf("%s lacks the line %q", document, marker)
	}
	var b strings.Builder
	describe(&b, newRoot())
	if *update {
		if err := os.WriteFile(document, []byte(before+marker+b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(after, b.String()); diff != "" {
		t.Errorf("%s: run with -update (-document +commands):\n%s", document, diff)
	}
}

func describe(b *strings.Builder, cmd *cobra.Command) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n    %s\n", cmd.CommandPath(), sentence(cmd.Short), cmd.UseLine())
	if flags := cmd.LocalFlags().FlagUsagesWrapped(0); flags != "" {
		fmt.Fprintf(b, "\n```\n%s```\n", flags)
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "completion" {
			describe(b, sub)
		}
	}
}

// sentence ends what does not end as one.
func sentence(words string) string {
	if strings.HasSuffix(words, ".") || strings.HasSuffix(words, "?") {
		return words
	}
	return words + "."
}

// Bug reports need it.
func TestVersion(t *testing.T) {
	var b bytes.Buffer
	cmd := newRoot()
	cmd.SetOut(&b)
	cmd.SetArgs([]string{"--version"})
	if err := cmd.Execute(); err != nil || b.String() != "kubectl ovn version "+telemetry.Version()+"\n" {
		t.Errorf("--version: %v, %q", err, b.String())
	}
}

func TestPassThrough(t *testing.T) {
	shell := func(db string, args ...string) []string {
		k, err := ovndb.ParseKind(db)
		if err != nil {
			t.Fatal(err)
		}
		return database.Shell(k, `exec ovn-`+db+`ctl --db="$db" "$@"`, args...)
	}
	for _, c := range []struct {
		line string
		at   access.Place
		want []string
	}{
		{"nbctl -- --columns=name list ACL", access.Beside(ovndb.NB()), shell("nb", "--columns=name", "list", "ACL")},
		{"sbctl show", access.Beside(ovndb.SB()), shell("sb", "show")},
		{"nbctl node1 -- show", access.Place{}, nil},
		{"vsctl node1 -- show", access.On("node1"), []string{"ovs-vsctl", "show"}},
		{"vsctl -- show", access.On(""), []string{"ovs-vsctl", "show"}},
		{"ofctl node1 dump-flows", access.Place{}, nil},
		{"appctl a b -- x", access.Place{}, nil},
	} {
		words := strings.Fields(c.line)
		for _, p := range programs() {
			if p.name != words[0] {
				continue
			}
			args, dash := words[1:], -1
			for i, w := range args {
				if w == "--" {
					args, dash = append(append([]string{}, args[:i]...), args[i+1:]...), i
					break
				}
			}
			at, argv, err := p.command(args, dash)
			if (err != nil) != (c.want == nil) {
				t.Errorf("%s: error %v", c.line, err)
			}
			if diff := cmp.Diff(c.want, argv); at != c.at || diff != "" {
				t.Errorf("%s: at %s, want %s; command (-want +got):\n%s", c.line, at, c.at, diff)
			}
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		says string
	}{
		{nil, 0, ""},
		{errors.New("wrong"), 1, "error: wrong\n"},
		{ended(&access.ExitError{Argv: []string{"x"}, Code: 4}), 4, ""},
		{ended(errors.New("no pod")), 1, "error: no pod\n"},
		{ended(nil), 0, ""},
		{fmt.Errorf("read: %w", &access.ExitError{Argv: []string{"x"}, Code: 4}), 1, "error: read: x: exit code 4\n"},
		{outcome(status.OK), 0, ""},
		{outcome(status.Degraded), 2, ""},
		{outcome(status.Unknown), 1, ""},
		{outcome(status.Failed), 3, ""},
		{arrival(&trace.Report{Arrives: true}), 0, ""},
		{arrival(&trace.Report{}), 2, ""},
		{arrival(&trace.Report{Unknown: true}), 1, ""},
		{fmt.Errorf("read: %w", &access.ExitError{Argv: []string{"x"}, Code: 4, Message: "no server"}), 1, "error: read: x: exit code 4: no server\n"},
		{&toldError{2}, 2, ""},
	} {
		var b bytes.Buffer
		if got := code(c.err, &b); got != c.code || b.String() != c.says {
			t.Errorf("%v: code %d, %q; want %d, %q", c.err, got, b.String(), c.code, c.says)
		}
	}
}

func TestObject(t *testing.T) {
	g := &globals{namespace: "shop"}
	for line, want := range map[string]string{
		"pod web": "pod shop/web", "po/web": "pod shop/web", "pods/guests/web": "pod guests/web", "node node1": "node node1", "networkpolicies x": "networkpolicy shop/x",
		"netpol/x": "networkpolicy shop/x", "pod": "", "web": "", "pod/web x": "",
	} {
		kind, name, err := g.object(strings.Fields(line))
		if got := strings.TrimSpace(kind + " " + name); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q (%v), want %q", line, got, err, want)
		}
	}
}
