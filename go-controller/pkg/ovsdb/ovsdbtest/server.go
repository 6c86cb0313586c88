//go:build integration

// Package ovsdbtest runs real OVSDB servers for integration tests. It needs the programs and schemas of
// the openvswitch and ovn packages.
package ovsdbtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Kind is a database with a schema that is installed with OVN or Open vSwitch.
type Kind struct {
	// Name of the database.
	Name string
	// Schema is the path of the schema.
	Schema string
	// CtlProgram edits the database on the command line.
	CtlProgram string
}

// NB is the northbound database of OVN.
func NB() Kind { return Kind{"OVN_Northbound", "/usr/share/ovn/ovn-nb.ovsschema", "ovn-nbctl"} }

// SB is the southbound database of OVN.
func SB() Kind { return Kind{"OVN_Southbound", "/usr/share/ovn/ovn-sb.ovsschema", "ovn-sbctl"} }

// VSwitch is the local database of Open vSwitch.
func VSwitch() Kind {
	return Kind{"Open_vSwitch", "/usr/share/openvswitch/vswitch.ovsschema", "ovs-vsctl"}
}

// Server is an ovsdb-server with one database.
type Server struct {
	t      testing.TB
	kind   Kind
	dir    string
	socket string

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended <-chan struct{}
}

// Start creates an empty database of the kind and serves it until the test ends.
func Start(t testing.TB, kind Kind) *Server {
	t.Helper()
	return StartSchema(t, kind, nil)
}

// StartSchema is Start with a schema that edit has changed; it gets the decoded JSON.
func StartSchema(t testing.TB, kind Kind, edit func(schema map[string]any)) *Server {
	t.Helper()
	s := newServer(t, kind)
	schema := kind.Schema
	if edit != nil {
		schema = filepath.Join(s.dir, "schema")
		editSchema(t, kind.Schema, schema, edit)
	}
	if out, err := exec.Command("ovsdb-tool", "create", s.DBPath(), schema).CombinedOutput(); err != nil {
		t.Fatalf("ovsdb-tool create: %v: %s", err, out)
	}
	s.Restart()
	t.Cleanup(s.Kill)
	return s
}

// StartCluster is Start with a database that is a cluster of one member.
func StartCluster(t testing.TB, kind Kind) *Server {
	t.Helper()
	s := newServer(t, kind)
	address := "unix:" + filepath.Join(filepath.Dir(s.socket), "raft")
	if out, err := exec.Command("ovsdb-tool", "create-cluster", s.DBPath(), kind.Schema, address).CombinedOutput(); err != nil {
		t.Fatalf("ovsdb-tool create-cluster: %v: %s", err, out)
	}
	s.Restart()
	t.Cleanup(s.Kill)
	return s
}

func newServer(t testing.TB, kind Kind) *Server {
	t.Helper()
	s := &Server{t: t, kind: kind, dir: t.TempDir()}
	// Sockets have short names: t.TempDir may be longer than the 107 bytes that fit into an address.
	sockets, err := os.MkdirTemp("", "ovsdb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	s.socket = filepath.Join(sockets, "db.sock")
	return s
}

func editSchema(t testing.TB, from, to string, edit func(map[string]any)) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	delete(schema, "cksum")
	edit(schema)
	if data, err = json.Marshal(schema); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Endpoint is the server's address.
func (s *Server) Endpoint() string { return "unix:" + s.socket }

// DBPath is the path of the database's log.
func (s *Server) DBPath() string { return filepath.Join(s.dir, "db") }

// Kill ends the server with SIGKILL.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
}

// PID is the server's process, zero when it does not run.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

// Signal sends a signal, for example SIGSTOP, to the server.
func (s *Server) Signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(sig)
	}
}

// Restart starts the server again, over the same database, after killing it if it runs.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = os.Remove(s.socket)
	cmd := exec.Command("/usr/sbin/ovsdb-server", "--no-chdir", "--remote=punix:"+s.socket,
		"--unixctl="+filepath.Join(filepath.Dir(s.socket), "ctl"), "-vconsole:warn", "-vfile:off", "-vsyslog:off", s.DBPath())
	cmd.Stderr = os.Stderr
	ended, err := start(cmd)
	if err != nil {
		s.t.Fatalf("starting ovsdb-server: %v", err)
	}
	s.cmd, s.ended = cmd, ended
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		conn, err := net.Dial("unix", s.socket)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("ovsdb-server does not listen: %v", err)
		}
	}
}

// Transactions counts the transactions that were committed since the database was created.
func (s *Server) Transactions() int {
	s.t.Helper()
	f, err := os.Open(s.DBPath())
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	n := 0
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if bytes.HasPrefix(line, []byte("OVSDB JSON ")) {
			n++
		}
		if err != nil {
			// The first record is the schema.
			return n - 1
		}
	}
}

// Ctl runs ovn-nbctl, ovn-sbctl or ovs-vsctl against the server and returns what it printed.
func (s *Server) Ctl(args ...string) string {
	s.t.Helper()
	all := []string{"--db=" + s.Endpoint(), "--timeout=10"}
	if s.kind.CtlProgram == "ovs-vsctl" {
		all = append(all, "--no-wait")
	} else {
		all = append(all, "--no-leader-only")
	}
	cmd := exec.Command(s.kind.CtlProgram, append(all, args...)...)
	cmd.Env = append(os.Environ(), "OVN_NB_DAEMON=", "OVN_SB_DAEMON=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%s %s: %v: %s", s.kind.CtlProgram, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// Dump prints the whole database, for messages of failed tests.
func (s *Server) Dump() string {
	out, err := exec.Command("ovsdb-client", "dump", s.Endpoint(), s.kind.Name).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return string(out)
}

// StartNorthd runs ovn-northd between two servers until the test ends.
func StartNorthd(t testing.TB, nb, sb *Server) {
	t.Helper()
	cmd := exec.Command("ovn-northd", "--ovnnb-db="+nb.Endpoint(), "--ovnsb-db="+sb.Endpoint(),
		"--unixctl="+nb.northdControl(), "-vconsole:warn", "-vfile:off", "-vsyslog:off")
	ended, err := start(cmd)
	if err != nil {
		t.Fatalf("starting ovn-northd: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
}

// PauseNorthd lets the ovn-northd that was started with s as the northbound database change nothing any more.
func (s *Server) PauseNorthd() {
	s.t.Helper()
	if out, err := exec.Command("ovs-appctl", "--target="+s.northdControl(), "pause").CombinedOutput(); err != nil {
		s.t.Fatalf("pause ovn-northd: %v: %s", err, out)
	}
}

func (s *Server) northdControl() string { return filepath.Join(filepath.Dir(s.socket), "northd.ctl") }
