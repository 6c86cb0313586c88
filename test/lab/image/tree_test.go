package image

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFromTree(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"run/lock", "usr/share/doc/x", "usr/lib/p3/__pycache__", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"run/pid", "usr/share/doc/x/README", "usr/lib/p3/a.py", "usr/lib/p3/__pycache__/a.pyc", "etc/shadow", "etc/machine-id"} {
		if err := os.WriteFile(filepath.Join(root, file), []byte(file), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("usr/lib", filepath.Join(root, "lib")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "etc/shadow"), fs.ModeSetgid|0o640); err != nil {
		t.Fatal(err)
	}
	got, err := FromTree(root, []string{"/run/", "/usr/share/doc/", "/usr/lib/*/__pycache__", "/etc/machine-id"})
	if err != nil {
		t.Fatal(err)
	}
	got, err = got.complete()
	if err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Getuid(), os.Getgid()
	dir := func(name string) File { return File{Path: name, Mode: fs.ModeDir | 0o755, UID: uid, GID: gid} }
	file := func(name string, mode fs.FileMode) File {
		return File{Path: name, Mode: mode, Source: filepath.Join(root, name), UID: uid, GID: gid}
	}
	want := Layer{dir("etc"), file("etc/shadow", fs.ModeSetgid|0o640), {Path: "lib", Mode: 0o777, Link: "usr/lib", UID: uid, GID: gid},
		dir("run"), dir("usr"), dir("usr/lib"), dir("usr/lib/p3"), file("usr/lib/p3/a.py", 0o640), dir("usr/share"), dir("usr/share/doc")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFromTreeRefusesAPatternThatIsNone(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := FromTree(root, []string{"/["}); err == nil {
		t.Error("a malformed pattern was accepted")
	}
}
