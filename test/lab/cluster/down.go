package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/test/lab/cgroup"
	"github.com/ovnkube/ovnkube/test/lab/hypervisor"
	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/lab/proc"
)

// Down takes a lab down, whatever state it is in, and leaves of it nothing but
// the logs of its last life. A lab that does not exist is success.
func Down(ctx context.Context, name string, out io.Writer) error {
	if err := plan.CheckName(name); err != nil {
		return err
	}
	unlock, err := lock(name)
	if err != nil {
		return err
	}
	defer unlock()
	_, statErr := os.Stat(filepath.Join(Dir(name), configFile))
	p := newProgress(out)
	err = p.step(ctx, fmt.Sprintf("lab %q is down", name), func(ctx context.Context) error {
		return destroy(ctx, name, p)
	})
	if err == nil && statErr == nil {
		p.note("its logs are kept in %s", filepath.Join(Dir(name), lastLogDir))
	}
	return err
}

// destroy needs none of the lab's processes to work, nor its description. All
// namespaces and mounts of a lab live by its processes alone, and all of those
// live in a pid namespace that ends with the first one.
func destroy(ctx context.Context, name string, p *progress) error {
	dir := Dir(name)
	hs, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	began := time.Now()
	if id, err := proc.ReadFile(hypervisor.IdentityPath(dir)); err == nil {
		if err := id.Kill(ctx); err != nil {
			return err
		}
	}
	// Also those that are left when the record of the first process is lost.
	if err := cgroup.Kill(ctx, hs, plan.Cgroup(name)); err != nil {
		return err
	}
	slow(p, "  processes ended", began)
	began = time.Now()
	var g errgroup.Group
	g.Go(func() error { return cgroup.Remove(ctx, hs, plan.Cgroup(name)) })
	g.Go(func() error { return removeState(dir) })
	err = g.Wait()
	slow(p, "  cgroups and files removed", began)
	return err
}

// slow tells about a part that took so long that somebody wonders.
func slow(p *progress, what string, began time.Time) {
	if d := time.Since(began); d > time.Second {
		p.note("%s (%.1fs)", what, d.Seconds())
	}
}

// lastLogDir has the logs of a lab that is down.
const lastLogDir = "last-log"

// removeState removes everything but logs.
func removeState(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var g errgroup.Group
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.Name() == lastLogDir:
		case filepath.Ext(path) == ".log":
			g.Go(func() error { return keepLog(path, filepath.Join(dir, lastLogDir, e.Name())) })
		case e.IsDir():
			g.Go(func() error {
				if err := keepPodLogs(path); err != nil {
					return err
				}
				if err := keepLog(filepath.Join(path, machine.LogDir), filepath.Join(dir, lastLogDir, e.Name())); err != nil {
					return err
				}
				return removeAll(path)
			})
		default:
			g.Go(func() error { return os.Remove(path) })
		}
	}
	return g.Wait()
}

// keepPodLogs puts the logs of a machine's containers beside those of its components.
func keepPodLogs(dir string) error {
	err := os.Rename(filepath.Join(dir, podLogs), filepath.Join(dir, machine.LogDir, "pods"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// keepLog moves logs to where the next life of the lab does not touch them.
func keepLog(from, to string) error {
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// removeAll is os.RemoveAll for directories in which some are not writable, as
// in images.
func removeAll(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove the lab's files: %w", err)
	}
	return nil
}

// lock keeps two commands from changing one lab at the same time. The returned
// function gives the lock back.
func lock(name string) (func(), error) {
	if err := os.MkdirAll(StateRoot(), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(StateRoot(), name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another command is changing lab %q just now", name)
		}
		return nil, fmt.Errorf("lock lab %q: %w", name, err)
	}
	return func() { _ = f.Close() }, nil
}
