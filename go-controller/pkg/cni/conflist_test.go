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

// write puts the list without portmap into dir.
func write(dir string) error { return ConfList{Dir: dir}.write(confListText(nil)) }

func TestWriteConfList(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net.d")
	if err := write(dir); err != nil {
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

// portmap gets what the plugin gets: what portmap does not know cannot be offered, and a portmap without the version for
// runtimes that read cniVersion alone cannot help. It must not be in the list: it would be started for pods without host ports.
func TestConfListWithPortmap(t *testing.T) {
	for name, c := range map[string]struct {
		portmap, versions []string
		hostPorts         bool
	}{
		"none":    {nil, []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}, false},
		"current": {[]string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}, []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}, true},
		"older":   {[]string{"0.3.1", "0.4.0", "1.0.0"}, []string{"0.3.1", "0.4.0", "1.0.0"}, true},
		"ancient": {[]string{"0.3.1", "0.4.0"}, []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			want := confList{CNIVersion: "1.0.0", CNIVersions: c.versions, Name: "ovn-kubernetes", Plugins: []plugin{{Type: "ovn-k8s-cni-overlay"}}}
			if c.hostPorts {
				want.Plugins[0].Capabilities = map[string]bool{"portMappings": true}
			}
			var got confList
			if err := json.Unmarshal(confListText(c.portmap), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Runtimes watch the folder and load again what changes.
func TestWriteConfListAgainTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, names.CNIConfFile)
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, past, past); err != nil {
		t.Fatal(err)
	}
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(past) {
		t.Errorf("the file was written again: %v %v", info.ModTime(), err)
	}
	if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); len(got) == 0 {
		t.Error("a spoilt file stays")
	}
}

func TestRemoveConfList(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir); err != nil {
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
