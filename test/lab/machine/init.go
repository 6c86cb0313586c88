package machine

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/test/lab/cgroup"
	"github.com/ovnkube/ovnkube/test/lab/proc"
	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

// CloneFlags are the namespaces that a machine's init must be started with. The
// cgroup namespace comes later: its root is the group the process is in.
const CloneFlags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// wiredFD is the descriptor on which an init hears that its network is wired.
const wiredFD = 3

// Enter is the first stage of a machine's init: it joins the machine's cgroup,
// makes that the root of a cgroup namespace, says who it is and executes argv,
// which must lead to Init. It returns only an error.
func Enter(dir string, argv []string) error {
	s, err := ReadSpec(dir)
	if err != nil {
		return err
	}
	hs, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	if err := cgroup.Join(hs, s.Cgroup); err != nil {
		return err
	}
	self, err := proc.Self()
	if err != nil {
		return err
	}
	if err := self.WriteFile(IdentityPath(dir)); err != nil {
		return err
	}
	// A cgroup namespace belongs to a thread. Executing ends all other threads,
	// and so the whole of the next stage lives in it.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("new cgroup namespace: %w", err)
	}
	return fmt.Errorf("execute %s: %w", argv[0], syscall.Exec("/proc/self/exe", argv, os.Environ()))
}

// Init is the second stage, and PID 1 of the machine: it builds the file tree,
// waits until the network is wired and keeps the components running until it is
// killed. It returns only an error.
func Init(ctx context.Context, dir string) error {
	s, err := ReadSpec(dir)
	if err != nil {
		return err
	}
	hs, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(s.Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	root, err := buildRoot(s, hs)
	if err != nil {
		return err
	}
	if err := switchRoot(root); err != nil {
		return err
	}
	if !cgroup.IsV1(hs) {
		if err := cgroup.PrepareUnified(cgroup.Mount); err != nil {
			return fmt.Errorf("prepare the cgroup tree: %w", err)
		}
	}
	if err := writeSysctls(s.Sysctls); err != nil {
		return err
	}
	if err := waitWired(); err != nil {
		return err
	}
	return runComponents(ctx, s)
}

// writeSysctls sets values of this network namespace.
func writeSysctls(vals map[string]string) error {
	for name, v := range vals {
		path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
		if err := os.WriteFile(path, []byte(v), 0o644); err != nil {
			return fmt.Errorf("set %s to %s: %w", name, v, err)
		}
	}
	return nil
}

// waitWired tells the parent that the namespaces are prepared, and returns when
// it has wired the network.
func waitWired() error {
	f := os.NewFile(wiredFD, "wired")
	defer f.Close()
	if _, err := f.Write([]byte{1}); err != nil {
		return fmt.Errorf("tell the lab that the namespaces are there: %w", err)
	}
	var b [1]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return fmt.Errorf("the lab ended before the network was wired: %w", err)
	}
	return nil
}

// runComponents is the machine's life.
func runComponents(ctx context.Context, s *Spec) error {
	reaper := supervise.NewReaper()
	go reaper.Run(ctx)
	for _, c := range s.Setup {
		began := time.Now()
		if out, err := reaper.Output(ctx, c, s.Env); err != nil {
			return fmt.Errorf("set up: %w\n%s", err, out)
		}
		klog.InfoS("Set up", "command", strings.Join(c.Argv, " "), "took", time.Since(began))
	}
	sup := supervise.New(reaper, s.Env, "/var/log/ovnlab")
	for _, c := range s.Components {
		if err := sup.Add(ctx, c); err != nil {
			return err
		}
	}
	sock := filepath.Join(runDirInside, socketFile)
	_ = os.Remove(sock)
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", sock)
	if err != nil {
		return fmt.Errorf("listen for orders: %w", err)
	}
	klog.InfoS("Machine is up", "machine", s.Name, "components", len(s.Components))
	return supervise.Serve(ctx, l, sup)
}
