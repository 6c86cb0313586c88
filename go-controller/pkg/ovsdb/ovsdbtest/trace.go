//go:build integration

package ovsdbtest

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// connectionStates is how many times packets of one load of the database can meet connection tracking: ovn-trace's daemon takes
// the answers from its command line, one after the other.
const connectionStates = 4000

// Tracer judges packets by the southbound database: an ovn-trace that runs as a daemon, which is much faster than one
// for each packet. To connection tracking every packet is the first of its connection.
type Tracer struct {
	sb     *Server
	dir    string
	conn   net.Conn
	decode *json.Decoder
	// loads and calls count.
	loads, calls int
}

// NewTracer returns a tracer that knows nothing before Load. It ends with the test.
func NewTracer(t testing.TB, sb *Server) *Tracer {
	t.Helper()
	dir, err := os.MkdirTemp("", "trace")
	if err != nil {
		t.Fatal(err)
	}
	tr := &Tracer{sb: sb, dir: dir}
	t.Cleanup(func() {
		tr.stop()
		_ = os.RemoveAll(dir)
	})
	return tr
}

// Load reads the database as it is now: the daemon reads it once only.
func (tr *Tracer) Load() error {
	tr.stop()
	tr.loads++ // The former daemon may still be at its end: the next one has a name of its own.
	socket := filepath.Join(tr.dir, fmt.Sprint("ctl", tr.loads))
	args := []string{
		"--db=" + tr.sb.Endpoint(), "--no-leader-only", "--unixctl=" + socket, "--detach", "--no-chdir",
		"--pidfile=" + filepath.Join(tr.dir, fmt.Sprint("pid", tr.loads)), "-vconsole:warn", "-vfile:off", "-vsyslog:off",
	}
	for range connectionStates {
		args = append(args, "--ct=new")
	}
	// It returns when the database has been read. The daemon ends with the database's server, at the latest.
	if out, err := exec.Command("ovn-trace", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("start ovn-trace: %w: %s", err, out)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return fmt.Errorf("connect to ovn-trace: %w", err)
	}
	tr.conn, tr.decode = conn, json.NewDecoder(conn)
	return nil
}

// Trace returns what ovn-trace says of a packet: "--minimal", "--summary" or "--detailed".
func (tr *Tracer) Trace(form, packet string) (string, error) {
	return tr.call("trace", form, packet)
}

// call is a request of the protocol of ovs-appctl(8), JSON-RPC 1.0.
func (tr *Tracer) call(method string, params ...string) (string, error) {
	tr.calls++
	request := map[string]any{"id": tr.calls, "method": method, "params": params}
	if params == nil {
		request["params"] = []string{}
	}
	if err := json.NewEncoder(tr.conn).Encode(request); err != nil {
		return "", fmt.Errorf("ask ovn-trace: %w", err)
	}
	var reply struct {
		Result string `json:"result"`
		Error  any    `json:"error"`
	}
	if err := tr.decode.Decode(&reply); err != nil {
		return "", fmt.Errorf("answer of ovn-trace: %w", err)
	}
	if reply.Error != nil {
		return "", fmt.Errorf("ovn-trace %v: %v", params, reply.Error)
	}
	return reply.Result, nil
}

func (tr *Tracer) stop() {
	if tr.conn != nil {
		_, _ = tr.call("exit")
		_ = tr.conn.Close()
		tr.conn = nil
	}
}
