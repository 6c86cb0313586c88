package cni

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// A plugin that is being run cannot be written to, only replaced; the same one stays, and nothing else comes into the folder.
func TestInstallPlugin(t *testing.T) {
	source, dir := filepath.Join(t.TempDir(), "plugin"), filepath.Join(t.TempDir(), "bin")
	path := filepath.Join(dir, names.CNIPlugin)
	var former os.FileInfo
	for i, content := range []string{"one", "one", "two"} {
		if err := os.WriteFile(source, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := InstallPlugin(source, dir); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || string(data) != content {
			t.Fatalf("%q (%v), want %q", data, err, content)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o755 {
			t.Fatalf("mode %v (%v)", info.Mode(), err)
		}
		if i > 0 && os.SameFile(former, info) != (i == 1) {
			t.Errorf("after %q: the same file %t", content, os.SameFile(former, info))
		}
		former = info
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("in the folder: %v (%v)", files, err)
	}
	if err := RemovePlugin(dir); err != nil {
		t.Fatal(err)
	}
	if err := RemovePlugin(dir); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := InstallPlugin(filepath.Join(dir, "none"), dir); err == nil {
		t.Error("no error without a source")
	}
}
