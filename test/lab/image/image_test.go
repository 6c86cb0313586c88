package image

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// file writes a file with content below a new folder and returns its path.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLayerComplete(t *testing.T) {
	got, err := Layer{{Path: "usr/bin/x", Mode: 0o755, Data: "x"}, {Path: "a", Link: "usr/bin/x"}, {Path: "tmp", Mode: fs.ModeDir}}.complete()
	if err != nil {
		t.Fatal(err)
	}
	dir := fs.ModeDir | 0o755
	want := Layer{{Path: "a", Mode: 0o644, Link: "usr/bin/x"}, {Path: "tmp", Mode: dir}, {Path: "usr", Mode: dir}, {Path: "usr/bin", Mode: dir}, {Path: "usr/bin/x", Mode: 0o755, Data: "x"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLayerRefusals(t *testing.T) {
	for want, layer := range map[string]Layer{
		"clean relative path":   {{Path: "/etc/passwd"}},
		"clean relative":        {{Path: "a/../b"}},
		"in a layer twice":      {{Path: "a", Data: "1"}, {Path: "a", Data: "2"}},
		"\"a\" is not a folder": {{Path: "a", Data: "1"}, {Path: "a/b", Data: "2"}},
	} {
		if _, err := layer.complete(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", layer, err, want)
		}
	}
}

func TestArchiveKeyChangesWithContent(t *testing.T) {
	source := file(t, "prog", "one")
	image := FromBinary("r.io/prog:1", source, "serve")
	key := func(im Image) string {
		t.Helper()
		k, err := archiveKey([]Image{im})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := key(image)
	if key(image) != first {
		t.Error("the key differs without a change")
	}
	renamed := image
	renamed.Names = []string{"r.io/prog:2"}
	other := image
	other.Cmd = nil
	for name, im := range map[string]Image{"name": renamed, "command": other} {
		if key(im) == first {
			t.Errorf("another %s has the same key", name)
		}
	}
	if err := os.Chtimes(source, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if key(image) == first {
		t.Error("a newer source has the same key")
	}
}

func TestExecutableBringsItsLibraries(t *testing.T) {
	layer, err := executable("/bin/sh", "bin/shell")
	if err != nil {
		t.Fatal(err)
	}
	if layer[0].Path != "bin/shell" || layer[0].Mode != 0o755 {
		t.Errorf("the program: %+v", layer[0])
	}
	var paths []string
	for _, f := range layer {
		paths = append(paths, f.Path)
	}
	for _, want := range []string{"libc.so.6", "ld-linux"} {
		if !strings.Contains(strings.Join(paths, " "), want) {
			t.Errorf("no %s in %q", want, paths)
		}
	}
	if _, err := executable("/bin/no-such-program", "x"); err == nil || !strings.Contains(err.Error(), "which Debian package") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutLeavesOutWhatIsBelow(t *testing.T) {
	same, changed := File{Path: "lib/a", Source: "/lib/a"}, File{Path: "bin/sh", Source: "/bin/dash"}
	got := Layer{same, changed}.without(Layer{same}, Layer{{Path: "bin/sh", Link: "busybox"}})
	if diff := cmp.Diff(Layer{changed}, got); diff != "" {
		t.Error(diff)
	}
}
