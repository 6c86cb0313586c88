package image

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// FromTree returns a layer with the files, folders and symbolic links below root, with their owners and permissions. leaveOut are
// patterns of absolute paths, see path.Match, that are not in the layer; one that ends with a slash stands for all that is in the
// folder. Devices, pipes and sockets are left out: every container gets its own.
func FromTree(root string, leaveOut []string) (Layer, error) {
	var layer Layer
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || file == root {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(file, root))
		out, err := leftOut(name, leaveOut)
		if err != nil {
			return err
		}
		if out && entry.IsDir() {
			return fs.SkipDir
		}
		if out {
			return nil
		}
		f, ok, err := fromEntry(file, entry)
		if ok {
			f.Path = strings.TrimPrefix(name, "/")
			layer = append(layer, f)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("layer from %s: %w", root, err)
	}
	return layer, nil
}

// leftOut tells whether one of the patterns stands for the file.
func leftOut(name string, patterns []string) (bool, error) {
	for _, p := range patterns {
		subject := name
		if folder, ok := strings.CutSuffix(p, "/"); ok {
			p, subject = folder, path.Dir(name)
		}
		if match, err := path.Match(p, subject); match || err != nil {
			return match, err
		}
	}
	return false, nil
}

// fromEntry describes a file, folder or symbolic link; for anything else it returns false.
func fromEntry(file string, entry fs.DirEntry) (File, bool, error) {
	info, err := entry.Info()
	if err != nil {
		return File{}, false, err
	}
	f := File{Mode: info.Mode() &^ fs.ModeSymlink}
	switch {
	case info.Mode().IsDir():
	case info.Mode().IsRegular():
		f.Source = file
	case info.Mode()&fs.ModeSymlink != 0:
		if f.Link, err = os.Readlink(file); err != nil {
			return File{}, false, err
		}
	default:
		return File{}, false, nil
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.UID, f.GID = int(st.Uid), int(st.Gid)
	}
	return f, true, nil
}
