package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// containerdName is the annotation from which containerd takes an image's full name on import.
const containerdName = "io.containerd.image.name"

// Write writes an OCI image layout with the images as a tar archive to file, which
// appears there only when it is complete. Layers are not compressed: import then
// costs a copy and no more, and the file never leaves the machine.
func Write(file string, images []Image) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(file), ".tmp-"+filepath.Base(file)+"-")
	if err != nil {
		return fmt.Errorf("write images: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l := layout{dir: dir, layers: map[string]v1.Descriptor{}, written: map[digest.Digest]bool{}}
	for _, im := range images {
		if err := l.addImage(im); err != nil {
			return fmt.Errorf("write image %s: %w", strings.Join(im.Names, ", "), err)
		}
	}
	tmp := filepath.Join(dir, "images.tar")
	if err := l.save(tmp); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("write images: %w", err)
	}
	return nil
}

// layout collects blobs as files of dir until the archive is written.
type layout struct {
	dir       string
	layers    map[string]v1.Descriptor // by fingerprint
	manifests []v1.Descriptor
	blobs     []v1.Descriptor // in the order in which they were added
	written   map[digest.Digest]bool
}

// addImage adds an image's blobs and a manifest entry for each of its names.
func (l *layout) addImage(im Image) error {
	platform := v1.Platform{Architecture: runtime.GOARCH, OS: runtime.GOOS}
	config := v1.Image{Platform: platform, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.ImageConfig{Env: []string{searchPath}, Entrypoint: im.Entrypoint, Cmd: im.Cmd, Labels: im.Labels, WorkingDir: "/"}}
	manifest := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	for _, layer := range im.Layers {
		d, err := l.addLayer(layer)
		if err != nil {
			return err
		}
		manifest.Layers = append(manifest.Layers, d)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, d.Digest)
	}
	var err error
	if manifest.Config, err = l.addJSON(v1.MediaTypeImageConfig, config); err != nil {
		return err
	}
	entry, err := l.addJSON(v1.MediaTypeImageManifest, manifest)
	if err != nil {
		return err
	}
	entry.Platform = &platform
	for _, name := range im.Names {
		colon := strings.LastIndexByte(name, ':')
		if colon <= strings.LastIndexByte(name, '/') {
			return fmt.Errorf("name %q has no tag", name)
		}
		entry.Annotations = map[string]string{containerdName: name, v1.AnnotationRefName: name[colon+1:]}
		l.manifests = append(l.manifests, entry)
	}
	return nil
}

// addJSON adds a blob with v as JSON.
func (l *layout) addJSON(mediaType string, v any) (v1.Descriptor, error) {
	return l.addBlob(mediaType, func(w io.Writer) error {
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
}

// addLayer adds a layer's archive, once for equal layers.
func (l *layout) addLayer(layer Layer) (v1.Descriptor, error) {
	files, err := layer.complete()
	if err != nil {
		return v1.Descriptor{}, err
	}
	print, err := files.fingerprint()
	if err != nil {
		return v1.Descriptor{}, err
	}
	if d, ok := l.layers[print]; ok {
		return d, nil
	}
	d, err := l.addBlob(v1.MediaTypeImageLayer, files.archive)
	if err == nil {
		l.layers[print] = d
	}
	return d, err
}

// addBlob adds what write writes.
func (l *layout) addBlob(mediaType string, write func(io.Writer) error) (v1.Descriptor, error) {
	f, err := os.CreateTemp(l.dir, "blob-")
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer f.Close()
	hash := sha256.New()
	if err := write(io.MultiWriter(f, hash)); err != nil {
		return v1.Descriptor{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return v1.Descriptor{}, err
	}
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.NewDigest(digest.SHA256, hash), Size: info.Size()}
	if !l.written[d.Digest] {
		l.written[d.Digest] = true
		l.blobs = append(l.blobs, d)
	}
	return d, os.Rename(f.Name(), l.blobFile(d))
}

func (l *layout) blobFile(d v1.Descriptor) string { return filepath.Join(l.dir, d.Digest.Encoded()) }

// save writes the archive: marker, index, blobs.
func (l *layout) save(file string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := tar.NewWriter(f)
	marker, err := json.Marshal(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	if err != nil {
		return err
	}
	index, err := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex, Manifests: l.manifests})
	if err != nil {
		return err
	}
	for _, part := range []File{{Path: v1.ImageLayoutFile, Data: string(marker)}, {Path: v1.ImageIndexFile, Data: string(index)}} {
		if err := addFile(w, part); err != nil {
			return err
		}
	}
	for _, d := range l.blobs {
		name := path.Join(v1.ImageBlobsDir, d.Digest.Algorithm().String(), d.Digest.Encoded())
		if err := addFile(w, File{Path: name, Source: l.blobFile(d)}); err != nil {
			return err
		}
	}
	return w.Close()
}

// archive writes the completed layer as a tar archive.
func (l Layer) archive(out io.Writer) error {
	w := tar.NewWriter(out)
	for _, f := range l {
		if err := addFile(w, f); err != nil {
			return fmt.Errorf("file %s: %w", f.Path, err)
		}
	}
	return w.Close()
}

// addFile adds one entry to an archive; the time is always the same.
func addFile(w *tar.Writer, f File) error {
	h := &tar.Header{Name: f.Path, Mode: unixMode(f.Mode), Uid: f.UID, Gid: f.GID, Typeflag: tar.TypeReg, Size: int64(len(f.Data)), Format: tar.FormatGNU}
	switch {
	case f.Mode.IsDir():
		h.Typeflag, h.Name, h.Size = tar.TypeDir, f.Path+"/", 0
	case f.Link != "":
		h.Typeflag, h.Linkname, h.Mode, h.Size = tar.TypeSymlink, f.Link, 0o777, 0
	case f.Source != "":
		return addSource(w, h, f.Source)
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	_, err := io.WriteString(w, f.Data)
	return err
}

// addSource adds an entry with a file's content.
func addSource(w *tar.Writer, h *tar.Header, source string) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h.Size = info.Size()
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

// unixMode returns permissions and the sticky and set-id bits as tar wants them.
func unixMode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	for bit, unix := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			mode |= unix
		}
	}
	if mode == 0 {
		mode = 0o644
	}
	return mode
}
