package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// Set is a number of built artifacts.
type Set struct {
	// BinDir is a folder with all executables of the set under their plain names,
	// for PATH. It never changes: other versions get another folder.
	BinDir   string
	paths    map[string]string
	versions map[string]string
}

// Path returns the absolute path of an artifact of the set. It is "" for a name
// that Ensure was not asked for.
func (s Set) Path(name string) string { return s.paths[name] }

// Version returns the version of an artifact of the set as its go.mod has it
// ("v1.36.3"), "" when it has none of its own.
func (s Set) Version(name string) string { return s.versions[name] }

// LinkInto makes symbolic links to the set's executables in dir, under their plain
// names, for scripts that want one path whatever the version. Links that are there
// already are replaced, each at once; others stay.
func (s Set) LinkInto(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("links to executables: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, tmpPrefix)
	if err != nil {
		return fmt.Errorf("links to executables: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	for name, path := range s.paths {
		link := filepath.Join(tmp, name)
		if err := os.Symlink(path, link); err != nil {
			return fmt.Errorf("links to executables: %w", err)
		}
		if err := os.Rename(link, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("links to executables: %w", err)
		}
	}
	return nil
}

// newSet returns the set of the items; nothing is read or written.
func newSet(cache string, items []item) Set {
	s := Set{paths: map[string]string{}, versions: map[string]string{}}
	h := sha256.New()
	for _, it := range items {
		s.paths[it.Name], s.versions[it.Name] = it.path(cache), it.version
		h.Write(fmt.Appendln(nil, it.Name, it.key))
	}
	s.BinDir = filepath.Join(binDir(cache), "set-"+hex.EncodeToString(h.Sum(nil))[:keyLength])
	return s
}

// linked tells whether BinDir is there.
func (s Set) linked() bool {
	_, err := os.Stat(s.BinDir)
	return err == nil
}

// link makes BinDir. The caller holds the cache's lock.
func (s Set) link(cache string) error {
	if s.linked() {
		return nil
	}
	tmp, err := os.MkdirTemp(binDir(cache), tmpPrefix+"set-")
	if err != nil {
		return fmt.Errorf("folder of executables: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("folder of executables: %w", err)
	}
	for name, path := range s.paths {
		// Hard links: a folder that a node sees alone, by a bind mount, still works.
		if err := os.Link(path, filepath.Join(tmp, name)); err != nil {
			return fmt.Errorf("folder of executables: %w", err)
		}
	}
	if err := os.Rename(tmp, s.BinDir); err != nil {
		return fmt.Errorf("folder of executables: %w", err)
	}
	return nil
}
