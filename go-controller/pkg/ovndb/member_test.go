package ovndb

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// A compaction that failed, or took longer than we wait, is not asked for again at once: each one may stop the server for seconds.
func TestCompactionIsNotRepeatedAtOnce(t *testing.T) {
	c := member(0)
	c.Dir, c.RunDir = t.TempDir(), t.TempDir()
	if err := os.WriteFile(c.Path(), make([]byte, c.CompactBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", c.Control())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var compactions atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var request struct{ Method string }
			_ = json.NewDecoder(conn).Decode(&request)
			answer := `{"id":0,"result":"","error":null}`
			if request.Method == "ovsdb-server/compact" {
				compactions.Add(1)
				answer = `{"id":0,"result":null,"error":"busy"}`
			}
			_, _ = conn.Write([]byte(answer))
			_ = conn.Close()
		}
	}()
	m, err := NewMember(c, MemberOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m.upkeep(t.Context())
	}
	if n := compactions.Load(); n != 1 {
		t.Errorf("compacted %d times, want 1", n)
	}
	compact := upkeep(&c, Status{}, fileSize{now: c.CompactBytes})
	if len(compact) != 1 || compact[0].timeout() < 10*commandTimeout {
		t.Errorf("a compaction is given up after %+v", compact)
	}
}

// The old file stays when the new one cannot take its place.
func TestReplaceKeepsTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := replace(path+".new", path, "test"); err == nil {
		t.Error("a file that is not there took its place")
	}
	if err := os.Mkdir(path+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := replace(path+".new", path, "test"); err == nil {
		t.Error("a folder took its place")
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "old" {
		t.Errorf("it has %q: %v", data, err)
	}
	if err := os.WriteFile(path+".next", []byte("next"), 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := replace(path+".next", path, "test")
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{path: "next", old: "old"} {
		if data, err := os.ReadFile(file); err != nil || string(data) != want {
			t.Errorf("%s has %q, want %q: %v", file, data, want, err)
		}
	}
}
