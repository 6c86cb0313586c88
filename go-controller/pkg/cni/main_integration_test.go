//go:build integration

package cni

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"k8s.io/klog/v2"
)

// insideEnv marks the process that runs in namespaces of its own.
const insideEnv = "OVNKUBE_CNI_TEST_DIR"

// TestMain runs the tests in fresh network, mount and PID namespaces, which are the "node": nothing of
// the machine's own network is touched, and nothing stays behind.
func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) != "" {
		os.Exit(inside(m))
	}
	os.Exit(outside())
}

func outside() int {
	dir, err := os.MkdirTemp("", "cni-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// With a PID namespace, no daemon of the tests outlives them. The parent's death is that of its thread.
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the tests need root:", err)
		return 1
	}
	return 0
}

func inside(m *testing.M) int {
	logs := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(logs)
	if v := os.Getenv("OVNKUBE_TEST_LOGLEVEL"); v != "" {
		logs.Set("v", v)
	}
	for _, c := range [][]string{
		{"mount", "--make-rprivate", "/"},
		{"mount", "-t", "proc", "none", "/proc"},
		{"mount", "-t", "sysfs", "none", "/sys"},
		{"mount", "-t", "tmpfs", "none", "/run"},
		{"mkdir", "-p", "/run/netns"},
		{"ip", "link", "set", "lo", "up"},
		{"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", shimBinary(), "github.com/ovnkube/ovnkube/go-controller/cmd/ovn-k8s-cni-overlay"},
	} {
		cmd := exec.Command(c[0], c[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v: %v\n%s", c, err, out)
			return 1
		}
	}
	return m.Run()
}

func shimBinary() string { return filepath.Join(os.Getenv(insideEnv), "ovn-k8s-cni-overlay") }
