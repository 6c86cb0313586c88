package cni

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Waiting time between tries to write the configuration: doubled from the first to the last.
const (
	keepRetryFirst = 50 * time.Millisecond
	keepRetryLast  = 5 * time.Second
)

// KeepConfList does what WriteConfList does, and does it again whenever the file is removed or changed, until
// ctx ends: without it the runtime neither starts pods nor takes down those there are. The error is of the first
// write; later ones are tried again for ever.
func KeepConfList(ctx context.Context, dir string) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch CNI configuration: %w", err)
	}
	defer watcher.Close()
	if err := WriteConfList(dir); err != nil {
		return err
	}
	retry := keepRetryFirst
	for {
		// After each event: the folder itself may be a new one. Then the file, as it may have gone before the watch.
		err := watcher.Add(dir)
		if werr := WriteConfList(dir); err == nil {
			err = werr
		}
		var again <-chan time.Time
		if err != nil {
			klog.ErrorS(err, "Cannot keep the CNI configuration", "folder", dir, "retryIn", retry)
			again = time.After(retry)
			retry = min(2*retry, keepRetryLast)
		} else {
			retry = keepRetryFirst
		}
		if !waitTouched(ctx, watcher, dir, again) {
			return nil
		}
	}
}

// waitTouched returns true when the configuration or its folder may have changed, false when ctx has ended.
func waitTouched(ctx context.Context, watcher *fsnotify.Watcher, dir string, again <-chan time.Time) bool {
	file := filepath.Join(dir, names.CNIConfFile)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-again:
			return true
		case event := <-watcher.Events:
			if event.Name == file || event.Name == filepath.Clean(dir) {
				return true
			}
		case err := <-watcher.Errors:
			klog.V(2).InfoS("Events of the CNI configuration's folder were lost", "err", err)
			return true
		}
	}
}
