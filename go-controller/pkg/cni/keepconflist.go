package cni

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// Keep writes the list, and again whenever the file is removed or changed or portmap comes, goes or changes, until
// ctx ends: without it the runtime neither starts pods nor takes down those there are. The error is of the first
// write; later ones are tried again for ever. A portmap that does not answer leaves the list as it was, at the
// start without it: a plugin that is just being replaced is no reason to forget it.
func (c ConfList) Keep(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch CNI configuration: %w", err)
	}
	defer watcher.Close()
	portmap, err := c.portmapVersions(ctx)
	if werr := c.write(confListText(portmap)); werr != nil {
		return errors.Join(werr, err)
	}
	klog.InfoS("The network is known to the container runtime", "folder", c.Dir, "hostPorts", len(portmap) > 0)
	retry := keepRetryFirst
	for {
		// After each event: the folders themselves may be new ones. Then the contents, as they may have changed
		// before the watch.
		err := c.watch(watcher)
		versions, verr := c.portmapVersions(ctx)
		if verr == nil {
			portmap = versions
		}
		if err = errors.Join(err, verr, c.write(confListText(portmap))); ctx.Err() != nil {
			return nil
		}
		var again <-chan time.Time
		if err != nil {
			klog.ErrorS(err, "Cannot keep the CNI configuration", "folder", c.Dir, "retryIn", retry)
			again = time.After(retry)
			retry = min(2*retry, keepRetryLast)
		} else {
			retry = keepRetryFirst
		}
		if !c.waitTouched(ctx, watcher, again) {
			return nil
		}
	}
}

// watch covers both folders. One of plugins that does not exist is not waited for: it is where the shim is.
func (c ConfList) watch(watcher *fsnotify.Watcher) error {
	var err error
	if c.PluginDir != "" {
		err = watcher.Add(c.PluginDir)
	}
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, watcher.Add(c.Dir))
}

// waitTouched returns true when the configuration, portmap or a folder may have changed, false when ctx has ended.
func (c ConfList) waitTouched(ctx context.Context, watcher *fsnotify.Watcher, again <-chan time.Time) bool {
	touching := []string{
		filepath.Join(c.Dir, names.CNIConfFile), filepath.Clean(c.Dir), c.portmap(), filepath.Clean(c.PluginDir),
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-again:
			return true
		case event := <-watcher.Events:
			if slices.Contains(touching, event.Name) {
				return true
			}
		case err := <-watcher.Errors:
			klog.V(2).InfoS("Events of the CNI configuration's folder were lost", "err", err)
			return true
		}
	}
}
