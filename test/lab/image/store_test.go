package image

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestCloneLinksLayersAndCopiesDatabases(t *testing.T) {
	store := Store{Dir: t.TempDir()}
	const layer, db, lookalike = "snap/1/fs/bin/prog", "meta/meta.db", "snap/1/fs/var/app.db"
	for _, name := range []string{layer, db, lookalike} {
		path := filepath.Join(store.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	tmp := filepath.Join(store.Dir, "snap/1/fs/tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("prog", filepath.Join(store.Dir, "snap/1/fs/bin/alias")); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "var/lib/containerd")
	if err := store.Clone(root); err != nil {
		t.Fatal(err)
	}
	for name, linked := range map[string]bool{layer: true, lookalike: true, db: false} {
		a, errA := os.Stat(filepath.Join(store.Dir, name))
		b, errB := os.Stat(filepath.Join(root, name))
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if os.SameFile(a, b) != linked || a.Mode() != b.Mode() || a.Size() != b.Size() {
			t.Errorf("%s: the same file: %v, want %v; modes %v %v", name, os.SameFile(a, b), linked, a.Mode(), b.Mode())
		}
	}
	if info, err := os.Stat(filepath.Join(root, "snap/1/fs/tmp")); err != nil || info.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("tmp: %v, %v", info, err)
	}
	if target, err := os.Readlink(filepath.Join(root, "snap/1/fs/bin/alias")); err != nil || target != "prog" {
		t.Errorf("link: %q, %v", target, err)
	}
	if err := store.Clone(root); err == nil {
		t.Error("a clone over a used folder was not refused")
	}
}

func TestReadyWaitsForTheRightMessage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := ready(notify)
	send := func(message string) {
		t.Helper()
		if _, err := c.Write([]byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	send("STATUS=starting")
	select {
	case <-done:
		t.Fatal("ready too early")
	case <-time.After(20 * time.Millisecond):
	}
	send("READY=1\nMAINPID=1")
	<-done
}
