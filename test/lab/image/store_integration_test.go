//go:build integration

package image

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
)

// TestStoreWithContainerd: a containerd on a clone knows the images and can start from
// their layers, and the store it came from is not touched.
func TestStoreWithContainerd(t *testing.T) {
	o := artifact.Options{Progress: func(e artifact.Event) { t.Log(e) }}
	set, err := artifact.Ensure(t.Context(), o, "containerd", "ctr", "pause")
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "images.tar")
	if err := Write(archive, []Image{FromBinary("r.io/pause:1", set.Path("pause"))}); err != nil {
		t.Fatal(err)
	}
	store := Store{Dir: filepath.Join(t.TempDir(), "store")}
	if err := makeStore(t.Context(), set, []string{archive}, store.Dir, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // two nodes, one after the other
		root, run := filepath.Join(t.TempDir(), "root"), t.TempDir()
		if err := store.Clone(root); err != nil {
			t.Fatal(err)
		}
		d, err := startContainerd(t.Context(), set.Path("containerd"), root, run, filepath.Join(run, "log"))
		if err != nil {
			t.Fatal(err)
		}
		ctr := func(args ...string) string {
			t.Helper()
			args = append([]string{"--address", filepath.Join(run, "containerd.sock"), "--namespace=k8s.io"}, args...)
			var errors strings.Builder
			cmd := exec.CommandContext(t.Context(), set.Path("ctr"), args...)
			cmd.Stderr = &errors
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("ctr %q: %v: %s", args, err, errors.String())
			}
			return string(out)
		}
		if got := strings.TrimSpace(ctr("images", "ls", "-q")); got != "r.io/pause:1" {
			t.Errorf("images: %q", got)
		}
		// Unpacked: its snapshot can be the parent of a container's.
		table := strings.Fields(ctr("snapshots", "ls")) // KEY PARENT KIND, then our only layer
		if len(table) < 4 {
			t.Fatalf("no snapshots: %q", table)
		}
		ctr("snapshots", "prepare", "container", table[3])
		ctr("images", "rm", "--sync", "r.io/pause:1") // the first node's garbage collection must not reach the second
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	}
}
