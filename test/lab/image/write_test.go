package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// samples are two images that share a layer.
func samples(t *testing.T) []Image {
	shared := Layer{
		{Path: "bin/prog", Mode: 0o755, Source: file(t, "prog", "program")},
		{Path: "bin/alias", Link: "prog"},
		{Path: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}
	return []Image{
		{Names: []string{"r.io/a:1", "r.io/a:2"}, Layers: []Layer{shared}, Entrypoint: []string{"/bin/prog"}, Cmd: []string{"serve"}},
		{Names: []string{"r.io:5000/dir/b:latest"}, Layers: []Layer{shared, {{Path: "etc/motd", Data: "hello"}}}},
	}
}

// readTar returns the headers and contents of an archive.
func readTar(t *testing.T, r io.Reader) (map[string]*tar.Header, map[string]string) {
	t.Helper()
	headers, contents := map[string]*tar.Header{}, map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if headers[h.Name] != nil {
			t.Errorf("%s is in the archive twice", h.Name)
		}
		headers[h.Name], contents[h.Name] = h, string(data)
	}
}

// blob returns the content a descriptor refers to, and checks digest and size.
func blob(t *testing.T, contents map[string]string, d v1.Descriptor) string {
	t.Helper()
	data, ok := contents["blobs/sha256/"+d.Digest.Encoded()]
	if !ok {
		t.Fatalf("no blob %s", d.Digest)
	}
	if int64(len(data)) != d.Size || digest.FromString(data) != d.Digest {
		t.Errorf("blob %s: size %d of %d, digest %s", d.Digest, len(data), d.Size, digest.FromString(data))
	}
	return data
}

func decode[T any](t *testing.T, data string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return v
}

func TestWriteIsAValidLayout(t *testing.T) {
	out := filepath.Join(t.TempDir(), "images.tar")
	if err := Write(out, samples(t)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	_, contents := readTar(t, bytes.NewReader(data))
	if contents["oci-layout"] != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("marker: %s", contents["oci-layout"])
	}
	index := decode[v1.Index](t, contents["index.json"])
	var names []string
	referenced := map[string]bool{"oci-layout": true, "index.json": true}
	for _, m := range index.Manifests {
		names = append(names, m.Annotations["io.containerd.image.name"]+" "+m.Annotations["org.opencontainers.image.ref.name"])
		manifest := decode[v1.Manifest](t, blob(t, contents, m))
		config := decode[v1.Image](t, blob(t, contents, manifest.Config))
		var diffIDs []digest.Digest
		for _, l := range manifest.Layers {
			blob(t, contents, l)
			diffIDs = append(diffIDs, l.Digest) // the same, since layers are not compressed
			referenced["blobs/sha256/"+l.Digest.Encoded()] = true
		}
		if diff := cmp.Diff(diffIDs, config.RootFS.DiffIDs); diff != "" {
			t.Error(diff)
		}
		referenced["blobs/sha256/"+m.Digest.Encoded()] = true
		referenced["blobs/sha256/"+manifest.Config.Digest.Encoded()] = true
	}
	if diff := cmp.Diff([]string{"r.io/a:1 1", "r.io/a:2 2", "r.io:5000/dir/b:latest latest"}, names); diff != "" {
		t.Error(diff)
	}
	for name := range contents {
		if !referenced[name] {
			t.Errorf("%s is not referenced", name)
		}
	}
	if len(contents) != len(referenced) { // 2 + two manifests, two configs, two layers
		t.Errorf("%d files, %d referenced", len(contents), len(referenced))
	}
}

func TestWriteImageConfigAndFiles(t *testing.T) {
	out := filepath.Join(t.TempDir(), "images.tar")
	if err := Write(out, samples(t)[:1]); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, contents := readTar(t, f)
	manifest := decode[v1.Manifest](t, blob(t, contents, decode[v1.Index](t, contents["index.json"]).Manifests[0]))
	config := decode[v1.Image](t, blob(t, contents, manifest.Config))
	if diff := cmp.Diff([]string{"/bin/prog", "serve"}, append(config.Config.Entrypoint, config.Config.Cmd...)); diff != "" {
		t.Error(diff)
	}
	headers, files := readTar(t, strings.NewReader(blob(t, contents, manifest.Layers[0])))
	if files["bin/prog"] != "program" || headers["bin/alias"].Linkname != "prog" || headers["bin/"].Typeflag != tar.TypeDir {
		t.Errorf("files: %q", files)
	}
	if got := headers["tmp/"].Mode; got != 0o1777 {
		t.Errorf("mode of tmp: %o", got)
	}
	for name, h := range headers {
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.ModTime.Unix() != 0 {
			t.Errorf("%s depends on this machine: %+v", name, h)
		}
	}
}

func TestWriteIsDeterministic(t *testing.T) {
	var sums []string
	for i := range 2 {
		out := filepath.Join(t.TempDir(), "images.tar")
		images := samples(t) // new files with the same content
		if err := os.Chtimes(images[0].Layers[0][0].Source, time.Time{}, time.Unix(int64(i)*1e6, 0)); err != nil {
			t.Fatal(err)
		}
		if err := Write(out, images); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		sums = append(sums, hex.EncodeToString(sum[:]))
	}
	if sums[0] != sums[1] {
		t.Errorf("the same input gave %v", sums)
	}
}

func TestWriteFailureLeavesNothing(t *testing.T) {
	for want, image := range map[string]Image{
		"no such file": FromBinary("r.io/a:1", "/no/such/binary"),
		"has no tag":   FromBinary("r.io:5000/a", "/bin/sh"),
	} {
		dir := t.TempDir()
		if err := Write(filepath.Join(dir, "images.tar"), []Image{image}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left %v, %v", left, err)
		}
	}
}
