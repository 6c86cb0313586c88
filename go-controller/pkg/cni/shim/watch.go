package shim

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// maxWait bounds one wait, so that an event that never comes (an inotify queue that ran over) delays
// the command but does not fail it.
const maxWait = time.Second

// watch reports changes in the deepest folder above a path that exists.
type watch struct{ fd int }

func newWatch(path string) (watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return watch{}, os.NewSyscallError("inotify_init1", err)
	}
	const events = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		_, err := unix.InotifyAddWatch(fd, dir, events)
		if err == nil {
			return watch{fd: fd}, nil
		}
		if !errors.Is(err, unix.ENOENT) || dir == filepath.Dir(dir) {
			unix.Close(fd)
			return watch{}, os.NewSyscallError("inotify_add_watch", err)
		}
	}
}

func (w watch) close() { unix.Close(w.fd) }

// wait returns after the next change, at the latest after limit.
func (w watch) wait(limit time.Duration) {
	fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
	deadline := time.Now().Add(min(limit, maxWait))
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return
		}
		// Rounded up, so as not to spin in the last millisecond.
		_, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
