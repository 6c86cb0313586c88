package plumb

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ErrNoNetns says that the sandbox's network namespace is not there (any more).
var ErrNoNetns = errors.New("network namespace is gone")

// openNetns opens a network namespace by its path. The caller closes it.
func openNetns(path string) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoNetns, path)
	}
	if err != nil {
		return nil, err
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil || fs.Type != unix.NSFS_MAGIC {
		// What is left of a bind mount after umount is an empty file.
		f.Close()
		return nil, fmt.Errorf("%w: %s is not a namespace", ErrNoNetns, path)
	}
	return f, nil
}

// NetnsAlive tells whether path still is a namespace.
func NetnsAlive(path string) bool {
	f, err := openNetns(path)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// inNetns calls f on an operating system thread that is in the namespace. f must not start goroutines
// that count on it.
func inNetns(ns *os.File, f func() error) error {
	result := make(chan error, 1)
	// A goroutine of its own: if the way back fails, it ends with its thread locked, and the
	// runtime ends the thread instead of letting others run in the pod's namespace.
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			result <- err
			return
		}
		defer home.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			result <- os.NewSyscallError("setns", err)
			return
		}
		err = f()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}
