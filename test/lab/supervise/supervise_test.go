package supervise

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rig is a supervisor that works, with its log directory.
type rig struct {
	*Supervisor
	reaper *Reaper
	dir    string
	ctx    context.Context
}

func newRig(t *testing.T) rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	r := NewReaper()
	end := make(chan struct{})
	reaperCtx, stopReaper := context.WithCancel(context.Background())
	go func() { defer close(end); r.Run(reaperCtx) }()
	dir := t.TempDir()
	s := New(r, []string{"PATH=/usr/bin:/bin"}, dir)
	t.Cleanup(func() {
		for _, st := range s.Status() {
			if err := s.Stop(ctx, st.Name); err != nil {
				t.Error(err)
			}
		}
		cancel()
		s.Wait()
		stopReaper()
		<-end
	})
	return rig{Supervisor: s, reaper: r, dir: dir, ctx: ctx}
}

func (r rig) add(t *testing.T, name, script string, gates ...Gate) {
	t.Helper()
	err := r.Add(r.ctx, Component{Name: name, Argv: []string{"/bin/sh", "-c", script}, Gates: gates})
	if err != nil {
		t.Fatal(err)
	}
}

func (r rig) await(t *testing.T, name, what string, ok func(Status) bool) Status {
	t.Helper()
	u, err := r.unit(name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.ctx, 10*time.Second)
	defer cancel()
	var last Status
	if err := u.await(ctx, func(st Status) bool { last = st; return ok(st) }); err != nil {
		t.Fatalf("%s: never %s: %v", name, what, err)
	}
	return last
}

func running(st Status) bool { return st.State == StateRunning }

func TestKilledComponentComesBack(t *testing.T) {
	r := newRig(t)
	r.add(t, "a", "exec sleep 1000")
	first := r.await(t, "a", "running", running)
	if err := r.Kill("a"); err != nil {
		t.Fatal(err)
	}
	second := r.await(t, "a", "running anew", func(st Status) bool { return running(st) && st.PID != first.PID })
	if d := second.Since.Sub(first.Since); d > 2*time.Second {
		t.Errorf("came back after %v", d)
	}
	b, err := os.ReadFile(filepath.Join(r.dir, "a.log"))
	if err != nil || !strings.Contains(string(b), "killed by SIGKILL") {
		t.Errorf("the log does not tell how the process ended: %q, %v", b, err)
	}
}

func TestBackoffGrowsForAComponentThatCannotStart(t *testing.T) {
	r := newRig(t)
	r.add(t, "a", fmt.Sprintf("echo try >> %s/tries; exit 3", r.dir))
	time.Sleep(1200 * time.Millisecond)
	b, err := os.ReadFile(filepath.Join(r.dir, "tries"))
	if err != nil {
		t.Fatal(err)
	}
	// 100, 200, 400, 800 ms: the fifth start would come after 1.5 s.
	if n := strings.Count(string(b), "try"); n < 2 || n > 4 {
		t.Errorf("%d starts in 1.2 s, want 2 to 4", n)
	}
}

func TestStopAndStart(t *testing.T) {
	r := newRig(t)
	r.add(t, "a", "exec sleep 1000")
	first := r.await(t, "a", "running", running)
	if err := r.Stop(r.ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", first.PID)); err == nil {
		t.Error("the process is there after Stop")
	}
	if err := r.Kill("a"); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("killing a stopped component: %v", err)
	}
	if err := r.Start(r.ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if st := r.await(t, "a", "running", running); st.PID == first.PID || st.Restarts != 1 {
		t.Errorf("after the second start: %+v", st)
	}
}

func TestStopKillsWhatIgnoresTERM(t *testing.T) {
	r := newRig(t)
	r.add(t, "a", "trap '' TERM; touch "+r.dir+"/ready; while :; do sleep 0.1; done")
	if err := (Gate{File: r.dir + "/ready"}).Wait(r.ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(r.ctx, "a"); err != nil {
		t.Fatal(err)
	}
}

func TestGateHoldsAStart(t *testing.T) {
	r := newRig(t)
	gate := filepath.Join(r.dir, "gate")
	r.add(t, "a", "exec sleep 1000", Gate{File: gate})
	st := r.await(t, "a", "waiting", func(st Status) bool { return st.State == StateWaiting && st.Detail != "" })
	if !strings.Contains(st.Detail, gate) {
		t.Errorf("status does not name the gate: %+v", st)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.await(t, "a", "running", running)
}

func TestStopWhileWaitingForAGate(t *testing.T) {
	r := newRig(t)
	r.add(t, "a", "exec sleep 1000", Gate{File: filepath.Join(r.dir, "never")})
	r.await(t, "a", "waiting", func(st Status) bool { return st.State == StateWaiting && st.Detail != "" })
	if err := r.Stop(r.ctx, "a"); err != nil {
		t.Fatal(err)
	}
}

func TestUnknownComponentNamesTheKnown(t *testing.T) {
	r := newRig(t)
	r.add(t, "kubelet", "exec sleep 1000")
	if err := r.Kill("kublet"); err == nil || !strings.Contains(err.Error(), "kubelet") {
		t.Errorf("got %v, want the known names", err)
	}
}

func TestOutput(t *testing.T) {
	r := newRig(t)
	out, err := r.reaper.Output(r.ctx, Command{Argv: []string{"/bin/cat"}, Stdin: "hello"}, nil)
	if err != nil || out != "hello" {
		t.Errorf("Output = %q, %v", out, err)
	}
	_, err = r.reaper.Output(r.ctx, Command{Argv: []string{"/bin/sh", "-c", "echo broken; exit 4"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "exit status 4") || !strings.Contains(err.Error(), "broken") {
		t.Errorf("a failure must tell status and output, got %v", err)
	}
	if _, err = r.reaper.Output(r.ctx, Command{Argv: []string{"/bin/false"}, Creates: r.dir}, nil); err != nil {
		t.Errorf("a command whose result exists must not be run: %v", err)
	}
	ctx, cancel := context.WithTimeout(r.ctx, 100*time.Millisecond)
	defer cancel()
	if _, err = r.reaper.Output(ctx, Command{Argv: []string{"/bin/sleep", "1000"}}, nil); err == nil {
		t.Error("a command that outlives its context must be killed")
	}
}

func TestCrashedComponentStaysDown(t *testing.T) {
	r := newRig(t)
	marker := filepath.Join(r.dir, "asked")
	r.add(t, "a", "trap 'touch "+marker+"' TERM; while :; do sleep 0.1; done")
	r.await(t, "a", "running", running)
	if err := r.Crash(r.ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if st := r.await(t, "a", "stopped", func(st Status) bool { return st.State == StateStopped }); st.PID != 0 {
		t.Errorf("after a crash: %+v", st)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("it was asked to end: what it holds in others' hands may be given back")
	}
	if err := r.Start(r.ctx, "a"); err != nil {
		t.Fatal(err)
	}
	r.await(t, "a", "running again", running)
}
