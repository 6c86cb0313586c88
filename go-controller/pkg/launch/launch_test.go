package launch

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// scripts puts programs of the test in the place of Open vSwitch's; each writes how it was called to a log, whose path is returned.
func scripts(t *testing.T, programs map[string]string) (log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	for name, body := range programs {
		text := "#!/bin/sh\necho " + name + " \"$@\" >> " + log + "\n" + body + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil { //nolint:gosec // it is to be run
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	return log
}

func calls(t *testing.T, log string) []string {
	t.Helper()
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func folders(t *testing.T) *Config {
	t.Helper()
	dir := t.TempDir()
	return &Config{RunDir: filepath.Join(dir, "run"), DatabaseDir: filepath.Join(dir, "etc"), SchemaDir: "/schema"}
}

// listen has the effect of a server at the socket.
func listen(t *testing.T, c *Config) {
	t.Helper()
	if err := os.MkdirAll(c.RunDir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", c.socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// A new host gets a database, a known one keeps its own, brought to the schema of the version that starts.
func TestServer(t *testing.T) {
	c := folders(t)
	log := scripts(t, map[string]string{"ovsdb-server": "", "ovsdb-tool": `
case $1 in
create) echo new > "$2" ;;
needs-conversion) cat "$2.needs" 2>/dev/null || echo no ;;
esac`})
	argv, err := c.Prepare(t.Context(), OVSDBServer)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ovsdb-server", c.file(), "--remote=punix:" + c.socket(), "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
		"--pidfile", "-vconsole:info", "-vsyslog:off", "-vfile:off"}
	if diff := cmp.Diff(want, argv); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
	if err := c.database(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.file()+".needs", []byte("yes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.database(t.Context()); err != nil {
		t.Fatal(err)
	}
	schema := "/schema/vswitch.ovsschema"
	wantCalls := []string{
		"ovsdb-server --version",
		"ovsdb-tool create " + c.file() + ".new " + schema,
		"ovsdb-tool needs-conversion " + c.file() + " " + schema,
		"ovsdb-tool needs-conversion " + c.file() + " " + schema,
		"ovsdb-tool convert " + c.file() + " " + schema,
	}
	if diff := cmp.Diff(wantCalls, calls(t, log)); diff != "" {
		t.Errorf("what was done (-want +got):\n%s", diff)
	}
}

// The host's own Open vSwitch and one in a pod would fight about bridges.
func TestServerRefusesAnother(t *testing.T) {
	c := folders(t)
	scripts(t, map[string]string{"ovsdb-server": ""})
	listen(t, c)
	_, err := c.Prepare(t.Context(), OVSDBServer)
	if err == nil || !strings.Contains(err.Error(), "ovs.host") {
		t.Errorf("error %v", err)
	}
}

func TestClients(t *testing.T) {
	for program, want := range map[string][]string{
		VSwitchd: {"ovs-vswitchd --version", "ovs-vswitchd --version",
			"ovs-vsctl --db=unix:SOCKET --no-wait --timeout=10 init -- set Open_vSwitch . ovs_version=3.5.0 external_ids:rundir=RUN"},
		OVNController: {"ovn-controller --version", "ovs-vsctl --db=unix:SOCKET --no-wait --timeout=10 init"},
	} {
		c := folders(t)
		log := scripts(t, map[string]string{"ovn-controller": "", "ovs-vsctl": "", "ovs-vswitchd": "echo 'ovs-vswitchd (Open vSwitch) 3.5.0'; echo more"})
		listen(t, c)
		argv, err := c.Prepare(t.Context(), program)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{program, "unix:" + c.socket()}, argv[:2]); diff != "" {
			t.Errorf("command (-want +got):\n%s", diff)
		}
		got := strings.NewReplacer(c.socket(), "SOCKET", c.RunDir, "RUN").Replace(strings.Join(calls(t, log), "\n"))
		if diff := cmp.Diff(strings.Join(want, "\n"), got); diff != "" {
			t.Errorf("%s: what was done (-want +got):\n%s", program, diff)
		}
	}
}

// Two of the same program never run at once, and who waits can be told to end.
func TestLock(t *testing.T) {
	c := folders(t)
	if err := c.lock(t.Context(), VSwitchd); err != nil {
		t.Fatal(err)
	}
	if err := c.lock(t.Context(), OVSDBServer); err != nil {
		t.Fatalf("another program: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.lock(ctx, VSwitchd); !errors.Is(err, context.Canceled) {
		t.Errorf("the second has the lock: %v", err)
	}
}

// An image without the program, or with one that does not run, must not make a former container end: it is noticed before the lock.
func TestBrokenImage(t *testing.T) {
	c := folders(t)
	scripts(t, map[string]string{"ovs-vswitchd": "exit 127"})
	if _, err := c.Prepare(t.Context(), VSwitchd); err == nil || !strings.Contains(err.Error(), "--version") {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(c.RunDir); err == nil {
		t.Errorf("something was done: %v", entries)
	}
}

// With the userspace datapath a container ends only when the next one waits and there is a node agent; with the kernel's, and without the external
// bridge, at once.
func TestHandOver(t *testing.T) {
	c := folders(t)
	if err := os.MkdirAll(c.RunDir, 0o755); err != nil {
		t.Fatal(err)
	}
	c.AgentSocket = filepath.Join(t.TempDir(), "agent.sock")
	try := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*handOverCalm*handOverPause)
		defer cancel()
		return c.HandOver(ctx, VSwitchd)
	}
	for _, datapath := range []string{"echo system", "exit 1"} {
		scripts(t, map[string]string{"ovs-vsctl": datapath})
		if err := try(); err != nil {
			t.Errorf("%s: %v", datapath, err)
		}
	}
	scripts(t, map[string]string{"ovs-vsctl": "echo netdev"})
	if err := try(); err == nil || !strings.Contains(err.Error(), "no other container") {
		t.Errorf("alone: %v", err)
	}
	if err := c.lock(t.Context(), VSwitchd); err != nil {
		t.Fatal(err)
	}
	next, end := context.WithCancel(t.Context())
	defer end()
	go c.lock(next, VSwitchd) //nolint:errcheck // it waits until the test ends
	for c.successor(VSwitchd) != nil {
		time.Sleep(time.Millisecond)
	}
	if err := try(); err == nil || !strings.Contains(err.Error(), "the node agent") {
		t.Errorf("without an agent: %v", err)
	}
	l, err := net.Listen("unix", c.AgentSocket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := c.HandOver(t.Context(), VSwitchd); err != nil {
		t.Errorf("with the next one and an agent: %v", err)
	}
	if err := c.successor(OVSDBServer); err == nil {
		t.Error("a container waits for the place of another program's")
	}
}
