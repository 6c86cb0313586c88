package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
)

// imagesFolder is where archives and stores are in the cache.
const imagesFolder = "images"

const (
	storePrefix = "store-"
	tmpPrefix   = ".tmp-"
)

const (
	// pruneKeep is how many of a kind stay: some builds, to go back and forth between.
	pruneKeep = 3
	// pruneAge is how long nobody has used what may go. It takes seconds from an archive to its store, and from there to nodes.
	pruneAge = 15 * time.Minute
)

// Prune removes archives and stores of earlier builds from the cache: of each kind all but those used last and, of stores, those in
// inUse. What nodes have of a store are links of their own; the store itself is for nodes that are added later.
func Prune(o artifact.Options, inUse ...string) error {
	cache, err := o.CacheDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(cache, imagesFolder)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("images of earlier builds: %w", err)
	}
	kinds := map[string][]fs.FileInfo{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // another process may have removed it
			kinds[kind(e.Name())] = append(kinds[kind(e.Name())], info)
		}
	}
	delete(kinds, "") // none of ours
	for name, list := range kinds {
		slices.SortFunc(list, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
		if name != tmpPrefix {
			list = list[min(pruneKeep, len(list)):]
		}
		for _, info := range list {
			path := filepath.Join(dir, info.Name())
			if time.Since(info.ModTime()) < pruneAge || slices.Contains(inUse, path) {
				continue
			}
			if err := discard(path); err != nil {
				return fmt.Errorf("remove what an earlier build made: %w", err)
			}
		}
	}
	return nil
}

// kind is what the names of all archives with the same images, or of all stores, begin with; empty: it is neither.
func kind(name string) string {
	if strings.HasPrefix(name, tmpPrefix) {
		return tmpPrefix
	}
	return name[:strings.LastIndexByte(name, '-')+1]
}

// discard removes path. Nobody takes for whole what it leaves when it is killed, nor does that stand in the way of another one.
func discard(path string) error {
	dir, name := filepath.Split(path)
	if strings.HasPrefix(name, tmpPrefix) {
		return os.RemoveAll(path)
	}
	tmp, err := os.MkdirTemp(dir, tmpPrefix+name+"-")
	if err != nil {
		return err
	}
	if err = os.Rename(path, filepath.Join(tmp, name)); errors.Is(err, fs.ErrNotExist) {
		err = nil // another process has removed it
	}
	return errors.Join(err, os.RemoveAll(tmp))
}

// use tells whether path is there, and marks it as used now.
func use(path string) bool {
	err := os.Chtimes(path, time.Time{}, time.Now())
	return err == nil || errors.Is(err, fs.ErrPermission) // somebody else's is as good
}
