package cni

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/plumb"
)

func TestUnplugWaitsForTheKernelFirst(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var deleted atomic.Int32
		u := newUnplugger(folder, time.Second, func(string) error { deleted.Add(1); return nil })
		go u.run(t.Context())
		for _, name := range []string{"a", "b"} {
			if err := u.add(name); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second - time.Millisecond)
		synctest.Wait()
		if n := deleted.Load(); n != 0 {
			t.Errorf("%d veths were deleted before the kernel had time to", n)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n := deleted.Load(); n != 2 {
			t.Errorf("%d veths were deleted after a second", n)
		}
		wantFolder(t, folder)
	})
}

func wantFolder(t *testing.T, folder string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != len(want) {
		t.Fatalf("the folder has %v, want %v; %v", entries, want, err)
	}
	for n, e := range entries {
		if e.Name() != want[n] {
			t.Errorf("the folder has %v, want %v", entries, want)
		}
	}
}

// What cannot be deleted is tried again; it holds up no other, and is remembered meanwhile.
func TestUnplugTriesAgain(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		u := newUnplugger(folder, time.Second, func(name string) error {
			if name == "a" && broken.Load() {
				return errors.New("busy")
			}
			return nil
		})
		go u.run(t.Context())
		for _, name := range []string{"a", "b"} {
			if err := u.add(name); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		wantFolder(t, folder, "a")
		broken.Store(false)
		time.Sleep(unplugRetryLast + 2*time.Second)
		synctest.Wait()
		wantFolder(t, folder)
	})
}

// An agent killed between the answer to DEL and the deletion of the veth leaves that to the next one.
func TestUnplugGoesOnInTheNextAgent(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "unplug")
	killed := newUnplugger(folder, time.Second, func(string) error { t.Error("deleted before its time"); return nil })
	if err := killed.load(); err != nil {
		t.Fatal(err)
	}
	if err := killed.add("a"); err != nil {
		t.Fatal(err)
	}
	var deleted []string
	next := newUnplugger(folder, time.Second, func(name string) error { deleted = append(deleted, name); return nil })
	if err := next.load(); err != nil {
		t.Fatal(err)
	}
	if err := next.deleteAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(deleted) != 1 || deleted[0] != "a" {
		t.Errorf("deleted %v", deleted)
	}
	wantFolder(t, folder)
}

// A sandbox that is attached again keeps its new veth.
func TestUnplugWithdrawn(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		u := newUnplugger(folder, time.Second, func(string) error { t.Error("deleted although withdrawn"); return nil })
		go u.run(t.Context())
		if err := errors.Join(u.add("a"), u.withdraw("a")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		wantFolder(t, folder)
	})
}

// If the old veth is just being deleted, the new one waits for that.
func TestUnplugWithdrawnTooLate(t *testing.T) {
	begun, end, withdrawn := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	u := newUnplugger(t.TempDir(), 0, func(string) error { close(begun); <-end; return nil })
	go u.run(t.Context())
	if err := u.add("a"); err != nil {
		t.Fatal(err)
	}
	<-begun
	go func() { withdrawn <- u.withdraw("a") }()
	select {
	case <-withdrawn:
		t.Error("withdraw returned while the veth was being deleted")
	case <-time.After(50 * time.Millisecond):
	}
	close(end)
	if err := <-withdrawn; err != nil {
		t.Error(err)
	}
}

// What cannot be remembered is not put off.
func TestDelWithoutFolder(t *testing.T) {
	f := newFixture(t)
	f.pods.put("ns/p", annotated("u1", dual), false)
	if _, err := f.serveRequest(t.Context(), wire("ADD", sandboxA, "u1")); err != nil {
		t.Fatal(err)
	}
	f.unplug.folder = filepath.Join(f.unplug.folder, "none")
	if _, err := f.serveRequest(t.Context(), wire("DEL", sandboxA, "")); err != nil {
		t.Fatal(err)
	}
	if left := f.leftovers(); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// A port that cannot be removed keeps its veth: the runtime is told, and tries again.
func TestDelRemovesThePortFirst(t *testing.T) {
	f := newFixture(t)
	f.ports.down = true
	if err := f.kernel.Create(plumb.Veth{HostName: "aaaaaaaaaaaaaaa", Sandbox: sandboxA}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.serveRequest(context.Background(), wire("DEL", sandboxA, "")); err == nil {
		t.Error("no error")
	}
	if err := f.unplug.deleteAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := f.leftovers(); len(left) != 1 {
		t.Errorf("left %v", left)
	}
}
