package image

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Image is one image under one or more names.
type Image struct {
	// Names are full references with a tag ("registry.k8s.io/pause:3.10").
	Names []string
	// Layers are applied in this order.
	Layers []Layer
	// Entrypoint and Cmd are what a container runs by default.
	Entrypoint, Cmd []string
	// Labels say what the image is, for people and registries.
	Labels map[string]string
}

// Layer is a set of files. Parent folders need not be listed.
type Layer []File

// File is a file, folder or symbolic link of a layer.
type File struct {
	// Path is relative to the image's root, without a leading slash.
	Path string
	// Mode has the permissions, and fs.ModeDir for a folder. 0 stands for 0644, or
	// 0755 for a folder.
	Mode fs.FileMode
	// Source is the file on this machine with the content; symbolic links are followed.
	Source string
	// Data is the content when Source is empty.
	Data string
	// Link makes a symbolic link with this target.
	Link string
	// UID and GID are the owner; zero is root.
	UID, GID int
}

// searchPath is PATH inside the images.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// FromBinary returns an image with one static executable, which containers run.
func FromBinary(name, executable string, args ...string) Image {
	file := path.Base(executable)
	return Image{Names: []string{name}, Entrypoint: []string{"/" + file}, Cmd: args,
		Layers: []Layer{{{Path: file, Mode: 0o755, Source: executable}}}}
}

// complete returns the layer's files sorted, with all parent folders.
func (l Layer) complete() (Layer, error) {
	files := map[string]File{}
	for _, f := range l {
		if f.Path != path.Clean(f.Path) || !fs.ValidPath(f.Path) {
			return nil, fmt.Errorf("file path %q: want a clean relative path", f.Path)
		}
		if old, ok := files[f.Path]; ok && old != f {
			return nil, fmt.Errorf("file %q is in a layer twice", f.Path)
		}
		if f.Mode.Perm() == 0 {
			f.Mode |= 0o644
			if f.Mode.IsDir() {
				f.Mode |= 0o755
			}
		}
		files[f.Path] = f
	}
	for name := range files {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if f, ok := files[dir]; !ok {
				files[dir] = File{Path: dir, Mode: fs.ModeDir | 0o755}
			} else if !f.Mode.IsDir() {
				return nil, fmt.Errorf("file %q: its parent %q is not a folder", name, dir)
			}
		}
	}
	sorted := make(Layer, 0, len(files))
	for _, f := range files {
		sorted = append(sorted, f)
	}
	slices.SortFunc(sorted, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return sorted, nil
}

// fingerprint identifies the layer's content without reading files: a source is
// known by its path, size and time of change.
func (l Layer) fingerprint() (string, error) {
	var b strings.Builder
	for _, f := range l {
		fmt.Fprintf(&b, "%q %v %d:%d %q %q %q", f.Path, f.Mode, f.UID, f.GID, f.Source, f.Data, f.Link)
		if f.Source != "" {
			info, err := os.Stat(f.Source)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, " %d %d", info.Size(), info.ModTime().UnixNano())
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}
