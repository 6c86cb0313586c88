// Package cgroup gives every lab and every machine in it a group of its own in
// each cgroup hierarchy, version 1 and version 2, and takes them away again.
package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/proc"
)

// Mount is the conventional mount point of the cgroup hierarchies.
const Mount = "/sys/fs/cgroup"

// Hierarchy is one mounted cgroup hierarchy.
type Hierarchy struct {
	// Path is where it is mounted, for instance /sys/fs/cgroup/memory.
	Path string
	// V2 tells the unified hierarchy from the old ones.
	V2 bool
	// Options are the controllers, or name=..., of a version 1 hierarchy as
	// mount(2) wants them.
	Options string
}

// Hierarchies lists the cgroup hierarchies mounted at or below Mount.
func Hierarchies() ([]Hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseMountinfo(bufio.NewScanner(f))
}

func parseMountinfo(sc *bufio.Scanner) ([]Hierarchy, error) {
	var out []Hierarchy
	for sc.Scan() {
		left, right, ok := strings.Cut(sc.Text(), " - ")
		lf, rf := strings.Fields(left), strings.Fields(right)
		if !ok || len(lf) < 5 || len(rf) < 3 || !strings.HasPrefix(lf[4], Mount) {
			continue
		}
		switch rf[0] {
		case "cgroup2":
			out = append(out, Hierarchy{Path: lf[4], V2: true})
		case "cgroup":
			var opts []string
			for _, o := range strings.Split(rf[2], ",") {
				if o != "rw" && o != "ro" {
					opts = append(opts, o)
				}
			}
			h := Hierarchy{Path: lf[4], Options: strings.Join(opts, ",")}
			if strings.HasPrefix(h.Options, "name=") {
				h.Options = "none," + h.Options
			}
			if !slices.ContainsFunc(out, func(o Hierarchy) bool { return o.Path == h.Path }) {
				out = append(out, h)
			}
		}
	}
	return out, sc.Err()
}

// IsV1 tells whether the machine uses version 1 controllers. The unified
// hierarchy may be mounted beside them, without controllers.
func IsV1(hs []Hierarchy) bool {
	return slices.ContainsFunc(hs, func(h Hierarchy) bool { return !h.V2 })
}

// Join creates the group in every hierarchy and moves the calling process into
// it. group is relative, such as "ovnlab-lab/node1".
func Join(hs []Hierarchy, group string) error {
	for _, h := range hs {
		// Controllers are handed down only where version 2 has them all: beside
		// version 1 the unified hierarchy is none of the lab's business.
		if err := create(h, group, h.V2 && !IsV1(hs)); err != nil {
			return err
		}
		procs := filepath.Join(h.Path, group, "cgroup.procs")
		if err := os.WriteFile(procs, []byte("0"), 0o644); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	return nil
}

func create(h Hierarchy, group string, delegate bool) error {
	dir := h.Path
	for _, part := range strings.Split(group, "/") {
		parent := dir
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("create cgroup: %w", err)
		}
		if err := initCpuset(h, parent, dir); err != nil {
			return err
		}
		if delegate {
			enableControllers(parent)
		}
	}
	return nil
}

// initCpuset fills the two files that version 1 leaves empty in a new group and
// without which no process can join it.
func initCpuset(h Hierarchy, parent, dir string) error {
	if h.V2 || !slices.Contains(strings.Split(h.Options, ","), "cpuset") {
		return nil
	}
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		b, err := os.ReadFile(filepath.Join(parent, name))
		if err != nil {
			return fmt.Errorf("read parent's %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return fmt.Errorf("set %s of %s: %w", name, dir, err)
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.clone_children"), []byte("1"), 0o644)
}

// enableControllers hands all controllers of a version 2 group down to its
// children. A group that holds processes cannot (the "no internal processes"
// rule), and then its children simply have fewer controllers.
func enableControllers(dir string) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return
	}
	for _, c := range strings.Fields(string(b)) {
		// One by one: one that is refused must not take the others with it.
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o644)
	}
}

// PrepareUnified makes the root of the calling process's cgroup namespace fit
// for a kubelet on version 2: the process moves into the child "init", so that
// controllers can be enabled for its siblings. It does nothing on version 1.
func PrepareUnified(mount string) error {
	dir := filepath.Join(mount, "init")
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0o644); err != nil {
		return err
	}
	enableControllers(mount)
	return nil
}

// Procs returns the processes in the group and in all groups below it.
func Procs(hs []Hierarchy, group string) []proc.Identity {
	seen := map[int]proc.Identity{}
	for _, h := range hs {
		_ = filepath.WalkDir(filepath.Join(h.Path, group), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil
			}
			b, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			if err != nil {
				return nil
			}
			for _, f := range strings.Fields(string(b)) {
				pid, err := strconv.Atoi(f)
				if err != nil || pid == 0 {
					continue
				}
				if id, err := proc.Of(pid); err == nil && id.Alive() {
					seen[pid] = id
				}
			}
			return nil
		})
	}
	out := make([]proc.Identity, 0, len(seen))
	for _, id := range seen {
		out = append(out, id)
	}
	return out
}

// Kill ends every process in the group and in all groups below it.
func Kill(ctx context.Context, hs []Hierarchy, group string) error {
	for {
		left := Procs(hs, group)
		if len(left) == 0 {
			return nil
		}
		for _, id := range left {
			if err := id.Kill(ctx); err != nil {
				return fmt.Errorf("cgroup %s: %w", group, err)
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("cgroup %s: %w", group, context.Cause(ctx))
		}
	}
}

// Remove ends every process left in the group and removes it with all groups
// below it, from all hierarchies. A group that does not exist is success.
func Remove(ctx context.Context, hs []Hierarchy, group string) error {
	for {
		if err := Kill(ctx, hs, group); err != nil {
			return err
		}
		err := removeDirs(hs, group)
		if err == nil {
			return nil
		}
		// The kernel empties a group a little after its last process is gone.
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove cgroup %s: %w", group, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// removeDirs works on all hierarchies at once: the kernel takes its time for each
// group of some.
func removeDirs(hs []Hierarchy, group string) error {
	errs := make([]error, len(hs))
	var wg sync.WaitGroup
	for i, h := range hs {
		wg.Go(func() { errs[i] = removeTree(filepath.Join(h.Path, group)) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// removeTree removes a group after the groups below it.
func removeTree(root string) error {
	var dirs []string
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	slices.Reverse(dirs)
	var errs []error
	for _, d := range dirs {
		if err := syscall.Rmdir(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s: %w", d, err))
		}
	}
	return errors.Join(errs...)
}
