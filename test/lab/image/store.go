package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
)

// Store is a containerd data folder (`root` in its configuration) into which images
// have been imported. Giving each node a clone takes some milliseconds and no disk
// space, where importing takes seconds, and nodes share the pages of running programs.
type Store struct {
	// Dir must not be written to, nor used by a containerd itself.
	Dir string
}

// EnsureStore returns a Store with the images of the archives, imported in this order
// by the set's containerd for its overlayfs snapshotter. It is made once, by root,
// and reused while archives and containerd stay the same.
func EnsureStore(ctx context.Context, o artifact.Options, set artifact.Set, archives ...string) (Store, error) {
	cache, err := o.CacheDir()
	if err != nil {
		return Store{}, err
	}
	key := sha256.Sum256([]byte(strings.Join(append([]string{set.Path("containerd"), storeConfig}, archives...), "\x00")))
	store := Store{Dir: filepath.Join(cache, imagesFolder, storePrefix+hex.EncodeToString(key[:])[:16])}
	if use(store.Dir) {
		return store, nil
	}
	event, start := artifact.Event{Name: "image store"}, time.Now()
	if o.Progress != nil {
		o.Progress(event)
	}
	if err := makeStore(ctx, set, archives, store.Dir, filepath.Join(cache, "log")); err != nil {
		return Store{}, err
	}
	if o.Progress != nil {
		event.Done, event.Elapsed = true, time.Since(start)
		o.Progress(event)
	}
	return store, nil
}

// makeStore imports into a temporary folder and moves its data folder to dir.
func makeStore(ctx context.Context, set artifact.Set, archives []string, dir, logs string) error {
	root, err := os.MkdirTemp(filepath.Dir(dir), ".tmp-store-")
	if err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	defer func() { _ = os.RemoveAll(root) }()
	// Not below the cache: a unix socket's path must be shorter than 108 bytes.
	run, err := os.MkdirTemp("", "ovnkube-store-")
	if err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	defer func() { _ = os.RemoveAll(run) }()
	daemon, err := startContainerd(ctx, set.Path("containerd"), root, run, filepath.Join(logs, "image-store-containerd.log"))
	if err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	defer daemon.stop() //nolint:errcheck // a first call below reports
	for _, archive := range archives {
		step := artifact.Step{Name: "import " + filepath.Base(archive), Log: filepath.Join(logs, "image-store-import.log"),
			Args: []string{set.Path("ctr"), "--address=" + filepath.Join(run, "containerd.sock"),
				"--namespace=k8s.io", "images", "import", "--local", archive}}
		if err := step.Run(ctx); err != nil {
			return fmt.Errorf("image store (containerd's own log: %s): %w", daemon.log, err)
		}
	}
	if err := daemon.stop(); err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	// Every containerd makes an identity of its own.
	if err := os.RemoveAll(filepath.Join(root, "io.containerd.grpc.v1.introspection")); err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	err = os.Rename(root, dir)
	if _, statErr := os.Stat(dir); err != nil && statErr == nil {
		return nil // another process was faster; its store is as good
	}
	return err
}

// Clone makes root, which must not exist yet or be empty, a data folder of its own
// for a containerd that is not running. Layers are hard links, because nobody ever
// writes to them: containerd replaces content by renaming and containers see layers
// as the lower side of an overlay. Databases are copied. Across file systems
// everything is copied.
func (s Store) Clone(root string) error {
	return filepath.WalkDir(s.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("clone image store: %w", err)
		}
		rel, err := filepath.Rel(s.Dir, path)
		if err != nil {
			return fmt.Errorf("clone image store: %w", err)
		}
		if err := cloneEntry(path, filepath.Join(root, rel), entry); err != nil {
			return fmt.Errorf("clone image store: %w", err)
		}
		return nil
	})
}

// cloneEntry makes dst what src is.
func cloneEntry(src, dst string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		if err := os.MkdirAll(dst, 0o700); err != nil {
			return err
		}
		return os.Chmod(dst, info.Mode()) // exactly, sticky bit and all, whatever the umask
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(src)
		if err != nil {
			return err
		}
		return os.Symlink(target, dst)
	case strings.HasSuffix(src, ".db") && !strings.Contains(src, "/fs/"):
		return copyFile(src, dst, info.Mode())
	}
	err = os.Link(src, dst)
	if errors.Is(err, syscall.EXDEV) {
		return copyFile(src, dst, info.Mode())
	}
	return err
}

func copyFile(src, dst string, mode fs.FileMode) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
