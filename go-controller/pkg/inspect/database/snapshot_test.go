package database

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
)

// Where a member of a cluster has a socket that leads to the leader, programs use it: by its own they would be at a follower.
func TestEndpoint(t *testing.T) {
	for _, c := range []struct {
		name, variable string
		leader         bool
		want           string // of $db and $own, DIR being the folder of the sockets
	}{
		{"standalone", "", false, "unix:DIR/ovnsb_db.sock unix:DIR/ovnsb_db.sock"},
		{"a member of a cluster", "", true, "unix:DIR/ovnsb_leader.sock unix:DIR/ovnsb_db.sock"},
		{"told where", "tcp:192.0.2.1:6642", true, "tcp:192.0.2.1:6642 tcp:192.0.2.1:6642"},
	} {
		dir := t.TempDir()
		config := ovndb.Config{Kind: ovndb.SB(), RunDir: dir}
		if c.leader {
			l, err := net.Listen("unix", config.LeaderSocket())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
		}
		argv := shell(config, `echo "$db" "$own" "$1"`, "first")
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = append(cmd.Environ(), "OVN_SB_DB="+c.variable)
		out, err := cmd.Output()
		if want := strings.ReplaceAll(c.want, "DIR", dir) + " first\n"; err != nil || string(out) != want {
			t.Errorf("%s: %q (%v), want %q", c.name, out, err, want)
		}
	}
}

// inDir runs commands here, with the programs and sockets of a folder.
type inDir string

func (dir inDir) Run(ctx context.Context, _ access.Place, streams access.Streams, argv ...string) error {
	words := slices.Clone(argv)
	words[2] = strings.ReplaceAll(words[2], ovndb.DefaultRunDir, string(dir))
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(cmd.Environ(), "OVN_NB_DB=", "PATH="+string(dir)+":"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = streams.Out, streams.Err
	return cmd.Run()
}

// Contents are read from the leader, and from the member beside while there is none; what a member says of itself, from itself.
func TestWhoIsAsked(t *testing.T) {
	for _, c := range []struct {
		name, database string
		leads          bool
		want           string
	}{
		{"the leader", "OVN_Northbound", true, "ovnnb_leader.sock"},
		{"no leader", "OVN_Northbound", false, "ovnnb_db.sock"},
		{"the member itself", "_Server", true, "ovnnb_db.sock"},
	} {
		dir := t.TempDir()
		program := "#!/bin/sh\ncase \"$*\" in\n"
		if !c.leads {
			program += "*_leader.sock*) exit 1;;\n"
		}
		program += "*query*) echo \"$@\" >" + dir + "/asked; echo '[{\"rows\":[]}]';;\nesac\n"
		if err := os.WriteFile(filepath.Join(dir, "ovsdb-client"), []byte(program), 0o755); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", filepath.Join(dir, "ovnnb_leader.sock"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		if _, err := Query(context.Background(), inDir(dir), ovndb.NB(), c.database, libovsdb.Operation{Op: libovsdb.OperationSelect, Table: "Database"}); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		asked, err := os.ReadFile(filepath.Join(dir, "asked"))
		if err != nil || !strings.Contains(string(asked), "query unix:"+dir+"/"+c.want+" ") {
			t.Errorf("%s: asked %q (%v), want %s", c.name, asked, err, c.want)
		}
	}
}
