package database

import (
	"net"
	"os/exec"
	"strings"
	"testing"

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
