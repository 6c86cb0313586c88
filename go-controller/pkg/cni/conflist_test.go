package cni

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

func TestWriteConfList(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net.d")
	if err := WriteConfList(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, names.CNIConfFile)
	// Runtimes that know cniVersions take the highest, others cniVersion.
	want := map[string]any{
		"cniVersion": "1.0.0", "cniVersions": []any{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}, "name": "ovn-kubernetes",
		"plugins": []any{map[string]any{"type": "ovn-k8s-cni-overlay"}},
	}
	if diff := cmp.Diff(want, read(t, path)); diff != "" {
		t.Error(diff)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("temporary files stay behind: %v %v", entries, err)
	}
}

func read(t *testing.T, path string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Runtimes watch the folder and load again what changes.
func TestWriteConfListAgainTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, names.CNIConfFile)
	if err := WriteConfList(dir); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, past, past); err != nil {
		t.Fatal(err)
	}
	if err := WriteConfList(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(past) {
		t.Errorf("the file was written again: %v %v", info.ModTime(), err)
	}
	if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteConfList(dir); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); len(got) == 0 {
		t.Error("a spoilt file stays")
	}
}

func TestRemoveConfList(t *testing.T) {
	dir := t.TempDir()
	if err := WriteConfList(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := RemoveConfList(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, names.CNIConfFile)); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
}
