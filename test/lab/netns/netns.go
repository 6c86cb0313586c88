// Package netns runs code and commands inside the namespaces of a lab machine
// without changing those of the calling process.
package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// onThread runs fn on an operating system thread that is thrown away
// afterwards, so that fn may change the thread's namespaces. It is never the
// main thread: /proc/self of the process shows that one.
func onThread(fn func() error) error {
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// While this goroutine holds the main thread another one cannot get it.
			errc <- onThread(fn)
			runtime.UnlockOSThread()
			return
		}
		// No UnlockOSThread: the runtime ends a thread whose goroutine ends locked.
		errc <- fn()
	}()
	return <-errc
}

// Do runs fn on a thread inside the network namespace behind path, for instance
// /proc/PID/ns/net. Sockets that fn opens stay in that namespace for ever; fn
// must not start goroutines that open some.
func Do(path string, fn func() error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer f.Close()
	return onThread(func() error {
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", path, err)
		}
		return fn()
	})
}

// Dial connects from inside the network namespace behind path. address must
// hold an IP address, not a name: resolving uses other threads.
func Dial(ctx context.Context, path, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", address, err)
	}
	if net.ParseIP(host) == nil {
		return nil, fmt.Errorf("dial %q: want an IP address and a port", address)
	}
	var conn net.Conn
	err = Do(path, func() error {
		var d net.Dialer
		var err error
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Kind is a kind of namespace, named as in /proc/PID/ns.
type Kind struct {
	name string
	flag int
}

// All lists every kind of namespace that a machine has. The mount namespace is
// entered last, because it changes what /proc means.
func All() []Kind {
	return []Kind{
		{"cgroup", unix.CLONE_NEWCGROUP},
		{"ipc", unix.CLONE_NEWIPC},
		{"uts", unix.CLONE_NEWUTS},
		{"net", unix.CLONE_NEWNET},
		{"pid", unix.CLONE_NEWPID},
		{"mnt", unix.CLONE_NEWNS},
	}
}

// NetworkOnly is for programs of the host that use a machine's network.
func NetworkOnly() []Kind { return []Kind{{"net", unix.CLONE_NEWNET}} }

// Start starts cmd inside namespaces of the process pid; with All it sees that
// process's files, processes, network and host name. cmd.Path is looked up in
// there, through the PATH of cmd.Env. The files in cmd.Stdin, Stdout and
// Stderr stay those of the caller. The caller waits for the command as usual.
func Start(pid int, which func() []Kind, cmd *exec.Cmd) error {
	dir := filepath.Join("/proc", fmt.Sprint(pid), "ns")
	var files []*os.File
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	kinds := which()
	for _, k := range kinds {
		f, err := os.Open(filepath.Join(dir, k.name))
		if err != nil {
			return fmt.Errorf("open namespace: %w", err)
		}
		files = append(files, f)
	}
	return onThread(func() error {
		// Threads of one process share their root and working directory; a mount
		// namespace can only be entered by one that does not.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare file system attributes: %w", err)
		}
		for i, k := range kinds {
			if err := unix.Setns(int(files[i].Fd()), k.flag); err != nil {
				return fmt.Errorf("enter %s namespace of process %d: %w", k.name, pid, err)
			}
		}
		path, err := lookPath(cmd.Path, cmd.Env)
		if err != nil {
			return err
		}
		cmd.Path, cmd.Err = path, nil
		return cmd.Start()
	})
}

// lookPath finds an executable with the PATH of env in the caller's root.
func lookPath(name string, env []string) (string, error) {
	if filepath.Base(name) != name {
		return name, nil
	}
	for _, dir := range filepath.SplitList(lookEnv(env, "PATH")) {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}

func lookEnv(env []string, key string) string {
	val := ""
	for _, kv := range env {
		if len(kv) > len(key) && kv[:len(key)] == key && kv[len(key)] == '=' {
			val = kv[len(key)+1:]
		}
	}
	return val
}

// Same tells whether two processes share a namespace of the given kind, such as
// "net" or "pid". Errors count as different.
func Same(kind string, a, b int) bool {
	inode := func(pid int) (uint64, bool) {
		st, err := os.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err != nil {
			return 0, false
		}
		sys, ok := st.Sys().(*syscall.Stat_t)
		if !ok {
			return 0, false
		}
		return sys.Ino, true
	}
	x, okx := inode(a)
	y, oky := inode(b)
	return okx && oky && x == y
}
