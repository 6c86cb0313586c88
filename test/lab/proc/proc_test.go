package proc

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const tail = " S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1000000 12 18446744073709551615 0 0"
	for _, tc := range []struct {
		name, line string
		wantErr    bool
	}{
		{name: "plain", line: "7 (sleep)" + tail},
		{name: "blanks and brackets in the name", line: "7 (a) S (b c)" + tail},
		{name: "no name", line: "7 sleep S", wantErr: true},
		{name: "short", line: "7 (sleep) S 1 2", wantErr: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st, err := parseStat(tc.line)
			if (err != nil) != tc.wantErr {
				t.Fatalf("error = %v, want error: %t", err, tc.wantErr)
			}
			if err == nil && (st.Start != 4711 || st.State != "S" || st.RSS%12 != 0 || st.RSS == 0) {
				t.Errorf("got %+v", st)
			}
		})
	}
}

func TestKillNamesOneProcess(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // it is killed
	}()
	id, err := Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	// The same id with another start time is another process: it must survive.
	if err := (Identity{PID: id.PID, Start: id.Start + 1}).Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if !id.Alive() {
		t.Fatal("a process with the same id but another start time was killed")
	}
	if err := id.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	<-done
	if id.Alive() {
		t.Error("the process is alive after Kill")
	}
	if err := id.Kill(ctx); err != nil {
		t.Errorf("killing a process that has gone: %v", err)
	}
}

func TestIdentityFile(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "init.json")
	if err := self.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != self || !got.Alive() {
		t.Errorf("read %+v, wrote %+v", got, self)
	}
}
