//go:build integration

package launch

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is for a machine that stands still for a while.
const patience = time.Minute

// programVariable makes the test's own executable an entry point: "PROGRAM RUNDIR DATABASEDIR".
const programVariable = "LAUNCH_PROGRAM"

func TestMain(m *testing.M) {
	if words := strings.Fields(os.Getenv(programVariable)); len(words) == 3 {
		c := &Config{RunDir: words[1], DatabaseDir: words[2], SchemaDir: DefaultSchemaDir}
		argv, err := c.Prepare(context.Background(), words[0])
		if err == nil {
			err = Become(argv)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

type host struct {
	*testing.T
	*Config
}

func newHost(t *testing.T) *host {
	dir, err := os.MkdirTemp("", "launch") // short enough for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &host{t, &Config{RunDir: filepath.Join(dir, "run"), DatabaseDir: filepath.Join(dir, "etc"), SchemaDir: DefaultSchemaDir}}
}

// start starts a container's process.
func (h *host) start(program string) *exec.Cmd {
	h.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), programVariable+"="+strings.Join([]string{program, h.RunDir, h.DatabaseDir}, " "), "OVS_RUNDIR="+h.RunDir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { h.stop(cmd) })
	return cmd
}

// stop ends a process as a runtime does, and waits for it.
func (h *host) stop(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
}

func (h *host) eventually(what string, check func() error) {
	h.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	h.Fatalf("%s: %v", what, err)
}

// pid is that of the program that answers.
func (h *host) pid(program string) (string, error) {
	cmd := exec.Command("ovs-appctl", "--timeout=5", "-t", program, "version")
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+h.RunDir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(h.RunDir, program+".pid"))
	return strings.TrimSpace(string(data)), err
}

func (h *host) is(program string, cmd *exec.Cmd) {
	h.Helper()
	h.eventually(program, func() error {
		pid, err := h.pid(program)
		if err == nil && pid != fmt.Sprint(cmd.Process.Pid) {
			err = fmt.Errorf("process %s, want %d", pid, cmd.Process.Pid)
		}
		return err
	})
}

// At an upgrade the next ones are there already, wait, and go on with the same database and the same switch. A server that nobody
// waits for is none of a pod's.
func TestNextContainer(t *testing.T) {
	h := newHost(t)
	switchd := h.start(VSwitchd) // before its database: containers start in any order
	server := h.start(OVSDBServer)
	h.is(OVSDBServer, server)
	h.is(VSwitchd, switchd)
	vsctl := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("ovs-vsctl", append([]string{"--timeout=20", "--db=unix:" + h.socket()}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ovs-vsctl %q: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if v := vsctl("get", "Open_vSwitch", ".", "ovs_version"); len(v) < 5 {
		t.Errorf("version %s", v)
	}
	vsctl("set", "Open_vSwitch", ".", "external_ids:system-id=kept")

	nextServer, nextSwitchd := h.start(OVSDBServer), h.start(VSwitchd)
	time.Sleep(300 * time.Millisecond) // time to do harm
	h.is(OVSDBServer, server)
	h.is(VSwitchd, switchd)
	h.stop(server)
	h.stop(switchd)
	h.is(OVSDBServer, nextServer)
	h.is(VSwitchd, nextSwitchd)
	if id := vsctl("get", "Open_vSwitch", ".", "external_ids:system-id"); id != "kept" {
		t.Errorf("the database's content is %s", id)
	}
}
