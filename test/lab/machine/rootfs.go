package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/test/lab/cgroup"
)

// builder assembles a root file system from mounts. The first error sticks, so
// that a list of mounts reads as a list.
type builder struct {
	root string
	err  error
}

func (b *builder) fail(what string, err error) {
	if b.err == nil && err != nil {
		b.err = fmt.Errorf("%s: %w", what, err)
	}
}

func (b *builder) in(path string) string { return filepath.Join(b.root, path) }

func (b *builder) mkdir(path string, mode os.FileMode) {
	if b.err != nil {
		return
	}
	if err := os.MkdirAll(b.in(path), mode); err != nil {
		b.fail("create directory", err)
		return
	}
	b.fail("mode of directory", os.Chmod(b.in(path), mode))
}

func (b *builder) mount(source, target, fstype string, flags uintptr, data string) {
	if b.err != nil {
		return
	}
	if err := os.MkdirAll(b.in(target), 0o755); err != nil {
		b.fail("create mount point", err)
		return
	}
	if err := unix.Mount(source, b.in(target), fstype, flags, data); err != nil {
		b.fail(fmt.Sprintf("mount %s on %s (%s)", source, target, data), err)
	}
}

// bind shows source, a file or a directory of the host, at target.
func (b *builder) bind(source, target string, writable bool) {
	if b.err != nil {
		return
	}
	st, err := os.Stat(source)
	if err != nil {
		b.fail("bind", err)
		return
	}
	if st.IsDir() {
		b.fail("create mount point", os.MkdirAll(b.in(target), 0o755))
	} else {
		b.fail("create mount point", touch(b.in(target)))
	}
	if b.err != nil {
		return
	}
	if err := unix.Mount(source, b.in(target), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		b.fail(fmt.Sprintf("bind %s on %s", source, target), err)
		return
	}
	if !writable {
		b.fail("make "+target+" read-only",
			unix.Mount("", b.in(target), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	}
}

func touch(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	return os.WriteFile(path, nil, 0o644)
}

// overlay shows lower at target with changes kept in upper.
func (b *builder) overlay(lower, upper, target string) {
	work := upper + ".work"
	for _, d := range []string{upper, work} {
		if b.err == nil {
			b.fail("create overlay directory", os.MkdirAll(d, 0o755))
		}
	}
	b.mount("overlay", target, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work))
}

// buildRoot assembles the machine's file tree below its directory. It runs in
// the machine's namespaces, before the switch of roots.
func buildRoot(s *Spec, hs []cgroup.Hierarchy) (string, error) {
	b := &builder{root: s.Path("rootfs")}
	b.fail("make mounts private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	if b.err == nil {
		b.fail("create root", os.MkdirAll(b.root, 0o755))
	}
	b.mount("tmpfs", "/", "tmpfs", 0, "mode=755")
	b.usr(s)
	b.systemDirs()
	b.overlay("/etc", s.Path(EtcDir), "/etc")
	for _, d := range []string{VarDir, OptDir, RootHomeDir, LogDir, runDir} {
		if b.err == nil {
			b.fail("create directory", os.MkdirAll(s.Path(d), 0o755))
		}
	}
	for dir, target := range map[string]string{VarDir: "/var", OptDir: "/opt", RootHomeDir: "/root"} {
		b.bind(s.Path(dir), target, true)
	}
	b.kernelDirs(hs)
	b.pinned(s)
	if s.OVNRoot != "" {
		b.ovnRoot(s)
	}
	for _, m := range s.Binds {
		b.bind(m.Source, m.Target, m.Writable)
	}
	b.bind(s.Path(LogDir), "/var/log/ovnlab", true)
	b.bind(s.Path(runDir), runDirInside, true)
	return b.root, b.err
}

// usr shows the host's programs, read-only, and the folders that must be there beside them.
func (b *builder) usr(s *Spec) {
	add := s.Path("usr")
	missing := false
	for _, folder := range s.Folders {
		if _, err := os.Stat(folder); err == nil || b.err != nil {
			continue
		}
		missing = true
		b.fail("create directory", os.MkdirAll(filepath.Join(add, strings.TrimPrefix(folder, "/usr")), 0o755))
	}
	if !missing {
		b.bind("/usr", "/usr", false)
		return
	}
	b.overlay("/usr", add, "/usr")
	if b.err == nil {
		b.fail("make /usr read-only", unix.Mount("", b.in("/usr"), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	}
}

// systemDirs shows what the host's root has beside /usr, read-only, and makes the
// small directories every system has.
func (b *builder) systemDirs() {
	for _, d := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		st, err := os.Lstat("/" + d)
		if errors.Is(err, fs.ErrNotExist) || b.err != nil {
			continue
		}
		if err == nil && st.Mode()&fs.ModeSymlink == 0 {
			b.bind("/"+d, d, false)
			continue
		}
		to, err := os.Readlink("/" + d)
		b.fail("read link", err)
		if b.err == nil {
			b.fail("create link", os.Symlink(to, b.in(d)))
		}
	}
	for _, d := range []string{"/mnt", "/media", "/home", "/srv", "/boot"} {
		b.mkdir(d, 0o755)
	}
	b.mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755")
	for _, d := range []string{"/run/lock", "/run/netns"} {
		b.mkdir(d, 0o755)
	}
	b.mount("tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
}

// kernelDirs mounts /proc, /sys and /dev.
func (b *builder) kernelDirs(hs []cgroup.Hierarchy) {
	b.bind("/dev", "/dev", true)
	b.mount("tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
	b.mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	b.mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if b.err == nil {
		// Not every kernel has it, and nothing here needs it.
		_ = unix.Mount("bpf", b.in("/sys/fs/bpf"), "bpf", 0, "")
	}
	if !cgroup.IsV1(hs) {
		b.mount("cgroup2", cgroup.Mount, "cgroup2", 0, "")
		return
	}
	b.mount("tmpfs", cgroup.Mount, "tmpfs", 0, "mode=755")
	for _, h := range hs {
		if !h.V2 {
			b.mount("cgroup", h.Path, "cgroup", 0, h.Options)
		}
	}
}

// pinned keeps the machine from changing settings of the whole kernel:
// /proc/sys is read-only but for the network namespace's own part, and what
// components insist on writing are files of the machine.
func (b *builder) pinned(s *Spec) {
	b.bind(b.in("/proc/sys"), "/proc/sys", false)
	b.bind(b.in("/proc/sys/net"), "/proc/sys/net", true)
	if b.err == nil {
		// A bind of a read-only mount is read-only itself until it is told otherwise.
		b.fail("make /proc/sys/net writable",
			unix.Mount("", b.in("/proc/sys/net"), "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	}
	dir := s.Path("sysctl")
	if b.err == nil {
		b.fail("create directory", os.MkdirAll(dir, 0o755))
	}
	for name, value := range s.Pinned {
		if b.err != nil {
			return
		}
		file := filepath.Join(dir, name)
		b.fail("pin "+name, os.WriteFile(file, []byte(value+"\n"), 0o644))
		b.bind(file, "/proc/sys/"+strings.ReplaceAll(name, ".", "/"), true)
	}
}

// ovnRoot shows another system's root with this machine's run directories,
// databases and kernel in it, so that its programs can be used through chroot.
func (b *builder) ovnRoot(s *Spec) {
	b.overlay(s.OVNRoot, s.Path("ovn-root"), OVNRootInside)
	for _, d := range []string{"/proc", "/sys", "/dev", "/run", "/tmp"} {
		b.bind(b.in(d), filepath.Join(OVNRootInside, d), true)
	}
	for _, d := range []string{"/etc/openvswitch", "/etc/ovn", "/var/lib/openvswitch", "/var/lib/ovn", "/var/log/openvswitch", "/var/log/ovn"} {
		b.mkdir(d, 0o755)
		b.bind(b.in(d), filepath.Join(OVNRootInside, d), true)
	}
}

// switchRoot makes root the root of the mount namespace and drops everything
// else: no mount of the host is left in the machine.
func switchRoot(root string) error {
	old := filepath.Join(root, ".old")
	if err := os.MkdirAll(old, 0o700); err != nil {
		return err
	}
	if err := unix.PivotRoot(root, old); err != nil {
		return fmt.Errorf("switch root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/.old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("drop the host's mounts: %w", err)
	}
	if err := os.Remove("/.old"); err != nil {
		return err
	}
	// Kubelet and the container runtime pass mounts on to containers.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts with containers: %w", err)
	}
	return nil
}
