package launch

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	log := scripts(t, map[string]string{"ovsdb-tool": `
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
	scripts(t, nil)
	listen(t, c)
	_, err := c.Prepare(t.Context(), OVSDBServer)
	if err == nil || !strings.Contains(err.Error(), "ovs.host") {
		t.Errorf("error %v", err)
	}
}

func TestClients(t *testing.T) {
	for program, want := range map[string][]string{
		VSwitchd: {"ovs-vswitchd --version",
			"ovs-vsctl --db=unix:SOCKET --no-wait --timeout=10 init -- set Open_vSwitch . ovs_version=3.5.0 external_ids:rundir=RUN"},
		OVNController: {"ovs-vsctl --db=unix:SOCKET --no-wait --timeout=10 init"},
	} {
		c := folders(t)
		log := scripts(t, map[string]string{"ovs-vsctl": "", "ovs-vswitchd": "echo 'ovs-vswitchd (Open vSwitch) 3.5.0'; echo more"})
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
