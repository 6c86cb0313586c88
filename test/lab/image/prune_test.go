package image

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
)

// A cache with entries of these ages.
func cacheOf(t *testing.T, ages map[string]time.Duration) (artifact.Options, string) {
	t.Helper()
	o := artifact.Options{Root: t.TempDir(), Cache: t.TempDir()}
	dir := filepath.Join(o.Cache, imagesFolder)
	for name, age := range ages {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(path, "content"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	return o, dir
}

func left(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Of each kind the newest stay, what somebody may just be about to use, and what a lab would give to its next node.
func TestPruneKeepsWhatIsUsed(t *testing.T) {
	o, dir := cacheOf(t, map[string]time.Duration{
		"ovnkube-1.tar": time.Hour, "ovnkube-2.tar": 2 * time.Hour, "ovnkube-3.tar": 3 * time.Hour, "ovnkube-4.tar": 4 * time.Hour,
		"base-1.tar": 5 * time.Hour, "a": time.Hour, "b": time.Hour, "c": time.Hour, "d": time.Hour,
		"store-1": 0, "store-2": time.Second, "store-3": time.Minute, "store-4": 2 * time.Minute, "store-5": time.Hour, "store-6": 2 * time.Hour,
		".tmp-store-1": time.Hour, ".tmp-store-2": time.Minute,
	})
	if err := Prune(o, filepath.Join(dir, "store-6")); err != nil {
		t.Fatal(err)
	}
	want := []string{".tmp-store-2", "a", "b", "base-1.tar", "c", "d", "ovnkube-1.tar", "ovnkube-2.tar", "ovnkube-3.tar",
		"store-1", "store-2", "store-3", "store-4", "store-6"}
	if diff := cmp.Diff(want, left(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// What a process that was killed has left, a moment ago, does not stand in the way.
func TestPruneAfterOneThatWasKilled(t *testing.T) {
	o, dir := cacheOf(t, map[string]time.Duration{"store-1": 0, "store-2": 0, "store-3": 0, "store-4": time.Hour, ".tmp-store-4": time.Minute})
	if err := Prune(o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".tmp-store-4", "store-1", "store-2", "store-3"}, left(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// An old build that is used again is not the oldest any more.
func TestUseRenews(t *testing.T) {
	o, dir := cacheOf(t, map[string]time.Duration{"store-1": time.Hour, "store-2": 2 * time.Hour, "store-3": 3 * time.Hour, "store-4": 4 * time.Hour})
	if !use(filepath.Join(dir, "store-4")) || use(filepath.Join(dir, "store-5")) {
		t.Fatal("what is there is not found, or what is not is")
	}
	if err := Prune(o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"store-1", "store-2", "store-4"}, left(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestPruneOfNothing(t *testing.T) {
	if err := Prune(artifact.Options{Root: t.TempDir(), Cache: t.TempDir()}); err != nil {
		t.Error(err)
	}
}
