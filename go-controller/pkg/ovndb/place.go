package ovndb

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// replace puts the file next in the place of the one at path, which is kept under another name when there is a reason; that name is
// returned. A crash leaves one of the two at path, and all of it.
func replace(next, path, reason string) (old string, err error) {
	if err := syncPath(next); err != nil {
		return "", err
	}
	if reason != "" {
		old = asideName(path, reason)
		if err := os.Link(path, old); err != nil {
			return "", fmt.Errorf("keeping the old database: %w", err)
		}
	}
	if err := os.Rename(next, path); err != nil {
		if old != "" {
			err = errors.Join(err, os.Remove(old)) // but a second name of what is at path
		}
		return "", err
	}
	return old, syncPath(filepath.Dir(path))
}

// putAside renames a file so that its time and the reason are part of its name, which is returned.
func putAside(path, reason string) (string, error) {
	to := asideName(path, reason)
	if err := os.Rename(path, to); err != nil {
		return "", fmt.Errorf("putting the old database aside: %w", err)
	}
	return to, syncPath(filepath.Dir(path))
}

func asideName(path, reason string) string {
	return fmt.Sprintf("%s.%s-%s", path, reason, time.Now().UTC().Format("20060102T150405.000"))
}

// syncPath makes a file, or the names in a folder, outlive a crash.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// lock takes the lock that ovsdb-server holds on its file for as long as it runs, so that none runs until it is released: whether a
// server answers says less, it may stand still or have its sockets elsewhere. The file of the lock stays, as ovsdb-server's does.
func lock(c *Config) (io.Closer, error) {
	path, err := filepath.EvalSymlinks(c.Path())
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".~lock~"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the database: %w", err)
	}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use: stop \"ovnkube db run %s\" first: %w", c.Path(), c.Kind.Short, err), f.Close())
	}
	return f, nil
}
