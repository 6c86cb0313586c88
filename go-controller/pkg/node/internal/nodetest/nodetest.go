//go:build integration

// Package nodetest gives an integration test a host of its own: fresh network, mount and process namespaces with
// empty /run and /etc/openvswitch, a "physical" NIC eth0 whose other end is in the namespace peer, and a real Open
// vSwitch. All of it vanishes with the test's process.
package nodetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Addresses of the fake host and of its peer on the physical network.
const (
	HostV4 = "172.18.0.11"
	HostV6 = "fd00:172:18::b"
	PeerV4 = "172.18.0.1"
	PeerV6 = "fd00:172:18::1"
	Peer   = "peer"
	NIC    = "eth0"
)

const insideVariable = "OVNKUBE_NODETEST_INSIDE"

// Main runs body, a whole test or subtest, on a host of its own.
func Main(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	if os.Getenv(insideVariable) == t.Name() {
		setUp(t)
		body(t)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	parts := strings.Split(t.Name(), "/")
	for i, p := range parts {
		parts[i] = "^" + p + "$"
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run="+strings.Join(parts, "/"), "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), insideVariable+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	t.Logf("inside:\n%s", out)
	if err != nil {
		t.Fatalf("inside: %v", err)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatal("the test did not run inside")
	}
}

func setUp(t *testing.T) {
	t.Helper()
	must(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	must(t, syscall.Mount("proc", "/proc", "proc", 0, ""))
	for _, dir := range []string{"/run", "/etc/openvswitch", "/var/log/openvswitch"} {
		must(t, os.MkdirAll(dir, 0o755))
		must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, ""))
	}
	must(t, os.MkdirAll("/run/openvswitch", 0o755))
	must(t, os.MkdirAll("/run/ovn", 0o755))
	must(t, syscall.Sethostname([]byte("node1")))
	for _, command := range []string{
		"ip link set lo up",
		"ip netns add " + Peer,
		"ip link add " + NIC + " type veth peer name eth0 netns " + Peer,
		"ip -n peer link set lo up",
		"ip -n peer link set eth0 up",
		// A wire carries finished checksums; a veth does not unless told so.
		"ip netns exec peer ethtool -K eth0 tx off",
		"ip -n peer addr add " + PeerV4 + "/24 dev eth0",
		"ip -n peer -6 addr add " + PeerV6 + "/64 dev eth0 nodad",
		"ip link set " + NIC + " up",
	} {
		Run(t, command)
	}
	ConfigureNIC(t)
}

// ConfigureNIC gives the NIC its addresses and routes, as the operating system does at boot.
func ConfigureNIC(t *testing.T) {
	t.Helper()
	for _, command := range []string{
		"ip addr add " + HostV4 + "/24 dev eth0",
		"ip -6 addr add " + HostV6 + "/64 dev eth0 nodad",
		"ip route add default via " + PeerV4 + " dev eth0",
		"ip -6 route add default via " + PeerV6 + " dev eth0",
		"ip route add 192.0.2.0/24 via 172.18.0.7 dev eth0 metric 50",
	} {
		Run(t, command)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Run runs a command line (split at blanks; ~ stands for a blank in an argument) and returns its output; a failure ends the test.
func Run(t *testing.T, command string) string {
	t.Helper()
	out, err := Try(command)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try is Run without a test to end.
func Try(command string) (string, error) {
	fields := strings.Fields(command)
	for i, f := range fields {
		fields[i] = strings.ReplaceAll(f, "~", " ")
	}
	out, err := exec.CommandContext(context.Background(), fields[0], fields[1:]...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", command, err, out)
	}
	return string(out), nil
}

// Process is a daemon of the test's.
type Process struct {
	argv []string
	done chan struct{}
	// outcome is how it ended; read it after done.
	outcome error
	log     string

	mu  sync.Mutex
	cmd *exec.Cmd
	// again says that it is started again after a segmentation fault.
	again bool
}

// Start runs a daemon in the foreground, with its output in a file that is shown when the test fails.
func Start(t *testing.T, command string) *Process {
	t.Helper()
	p := &Process{argv: strings.Fields(command), done: make(chan struct{})}
	p.begin(t)
	return p
}

func (p *Process) begin(t *testing.T) {
	t.Helper()
	name := p.argv[0]
	p.log = filepath.Join(t.TempDir(), filepath.Base(name)+".log")
	must(t, p.start())
	t.Cleanup(func() {
		p.reportCrash(t, name)
		p.Kill()
		if t.Failed() {
			data, _ := os.ReadFile(p.log)
			t.Logf("%s:\n%s", name, tail(string(data), 4000))
		}
	})
}

// exec starts the program once; what it prints is added to the log.
func (p *Process) exec() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.CommandContext(context.Background(), p.argv[0], p.argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd = cmd
	return cmd.Start()
}

// wait waits until the program has ended for good.
func (p *Process) wait() error {
	for {
		p.mu.Lock()
		cmd := p.cmd
		p.mu.Unlock()
		err := cmd.Wait()
		status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
		p.mu.Lock()
		again := p.again && status.Signaled() && status.Signal() == syscall.SIGSEGV
		p.mu.Unlock()
		if !again {
			return err
		}
		if err := p.exec(); err != nil {
			return err
		}
	}
}

// reportCrash tells of a process that has ended before the test has.
func (p *Process) reportCrash(t *testing.T, name string) {
	t.Helper()
	select {
	case <-p.done:
		t.Logf("%s had ended: %v", name, p.outcome)
	default:
	}
}

// start keeps the thread that has started the process for as long as it runs: when that thread ends, which the Go runtime
// decides, the kernel sends the parent-death signal.
func (p *Process) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.exec()
		started <- err
		if err == nil {
			p.outcome = p.wait()
			close(p.done)
		}
	}()
	return <-started
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// Kill ends the process without a chance to clean up.
func (p *Process) Kill() {
	p.mu.Lock()
	p.again = false
	_ = p.cmd.Process.Kill()
	p.mu.Unlock()
	<-p.done
}

// Signal sends a signal and waits for the end.
func (p *Process) Signal(t *testing.T, s os.Signal) {
	t.Helper()
	p.mu.Lock()
	p.again = false
	err := p.cmd.Process.Signal(s)
	p.mu.Unlock()
	must(t, err)
	<-p.done
}

// Log returns what the process has printed.
func (p *Process) Log() string {
	data, _ := os.ReadFile(p.log)
	return string(data)
}

// OVSDBEndpoint is where the host's Open_vSwitch database listens.
const OVSDBEndpoint = "unix:/var/run/openvswitch/db.sock"

// StartOVSDB starts the host's database server, with an empty database unless there is one.
func StartOVSDB(t *testing.T) *Process {
	t.Helper()
	const db = "/etc/openvswitch/conf.db"
	if _, err := os.Stat(db); err != nil {
		Run(t, "ovsdb-tool create "+db+" /usr/share/openvswitch/vswitch.ovsschema")
	}
	p := Start(t, "ovsdb-server "+db+" --remote=punix:/var/run/openvswitch/db.sock --no-chdir --pidfile -vconsole:warn")
	Eventually(t, 5*time.Second, func() error {
		_, err := Try("ovs-vsctl --no-wait init")
		return err
	})
	return p
}

// StartVswitchd starts ovs-vswitchd.
func StartVswitchd(t *testing.T) *Process {
	t.Helper()
	return Start(t, "ovs-vswitchd unix:/var/run/openvswitch/db.sock --no-chdir --pidfile -vconsole:info")
}

// Eventually repeats check until it returns nil, and ends the test when it does not within limit.
func Eventually(t *testing.T, limit time.Duration, check func() error) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := check()
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > limit {
			t.Fatalf("after %v: %v", limit, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Pid is the process' id.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}
