package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// insideVariable is set in the environment of the process that Enter starts.
	insideVariable = "OVNKUBE_SCALE_INSIDE"
	// Address is the API server's address inside the namespace. It is from the block for documentation
	// (RFC 5737): a loopback address would be refused as the advertised one.
	Address = "192.0.2.1"
	// WorkDir is a tmpfs inside the namespaces.
	WorkDir = "/run"
	// stopGrace is how long the inner process may clean up after itself.
	stopGrace = 20 * time.Second
)

// Inside tells whether this process is the one that Enter started.
func Inside() bool { return os.Getenv(insideVariable) != "" }

// Enter runs this executable again with args as the first process of new network, mount, process and
// IPC namespaces, and waits for it. When ctx ends the inner process gets SIGTERM; when this process dies
// in any way the kernel kills all that runs inside. It needs root.
func Enter(ctx context.Context, stdout *os.File, args ...string) error {
	if os.Geteuid() != 0 {
		return errors.New("namespaces for the benchmark need root: run it as root")
	}
	// The kernel delivers Pdeathsig when the thread that started the child ends, so it must not.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdout, cmd.Stderr = stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
		// A ^C on the terminal must reach this process alone; it tells the inner one.
		Setpgid: true,
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("benchmark in its namespaces: %w", err)
	}
	return nil
}

// Setup makes the namespaces usable: a /proc of their own, a tmpfs at WorkDir and the loopback device with
// Address. It is the first thing to call inside. The context ends with SIGTERM or SIGINT.
func Setup() (context.Context, context.CancelFunc, error) {
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	if err := errors.Join(setupMounts(), setupLoopback()); err != nil {
		cancel()
		return nil, nil, err
	}
	return ctx, cancel, nil
}

func setupMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", WorkDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount a tmpfs at %s: %w", WorkDir, err)
	}
	return nil
}

func setupLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback device: %w", err)
	}
	addr, err := netlink.ParseAddr(Address + "/32")
	if err != nil {
		return fmt.Errorf("loopback address: %w", err)
	}
	if err := netlink.AddrAdd(lo, addr); err != nil {
		return fmt.Errorf("add %s to lo: %w", Address, err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}
