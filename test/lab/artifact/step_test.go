package artifact

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStepErrorShowsTheEndOfTheLog(t *testing.T) {
	s := Step{Name: "count", Dir: t.TempDir(), Env: []string{"N=30"}, Log: filepath.Join(t.TempDir(), "new", "count.log"),
		Args: []string{"sh", "-c", "i=0; while [ $i -lt $N ]; do i=$((i+1)); echo line $i; done; exit 3"}}
	err := s.Run(t.Context())
	var step *StepError
	if !errors.As(err, &step) {
		t.Fatalf("got %v", err)
	}
	if len(step.Tail) != logTail || step.Tail[0] != "line 11" || step.Tail[logTail-1] != "line 30" {
		t.Errorf("tail: %q", step.Tail)
	}
	for _, want := range []string{"count: exit status 3", "cd " + s.Dir + " && N=30 sh -c 'i=0;", "line 30", s.Log} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the message lacks %q:\n%v", want, err)
		}
	}
}

func TestStepErrorWithoutOutput(t *testing.T) {
	err := Step{Name: "say nothing", Args: []string{"false"}, Log: filepath.Join(t.TempDir(), "log")}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("got %v", err)
	}
}

func TestStepQuotesForAShell(t *testing.T) {
	s := Step{Args: []string{"go", "build", "-ldflags=-s -w", "", "it's"}}
	if got, want := s.command(), `go build '-ldflags=-s -w' '' 'it'\''s'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestStepCancelKillsChildren: compilers must not run on after ^C.
func TestStepCancelKillsChildren(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Step{Name: "wait", Args: []string{"sh", "-c", "sleep 1000 & echo $! > " + fifo + "; wait"}, Log: filepath.Join(dir, "log")}.Run(ctx)
	}()
	data, err := os.ReadFile(fifo) // returns when the child is there
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for deadline := time.Now().Add(5 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("child %d is still there", pid)
		}
	}
}

// alive tells whether a process runs; a zombie nobody has collected does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return fields[0] != "Z" && fields[0] != "X"
}

func TestLastLines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	for content, want := range map[string][]string{"": nil, "\n": nil, "a": {"a"}, "a\nb\n": {"a", "b"}, "a\nb\nc\n": {"b", "c"}} {
		write(t, file, content)
		if diff := cmp.Diff(want, lastLines(file, 2)); diff != "" {
			t.Errorf("%q: %s", content, diff)
		}
	}
	if lines := lastLines(file+"x", 2); lines != nil {
		t.Errorf("of no file: %q", lines)
	}
}

func TestLockWaitsAndNamesTheHolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", ".lock")
	release, err := lock(t.Context(), file, func(string) { t.Error("waited for nobody") })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var holder string
	_, err = lock(ctx, file, func(h string) { holder = h; cancel() })
	if want := strconv.Itoa(os.Getpid()); holder != want {
		t.Errorf("holder %q, want %q", holder, want)
	}
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
	again, err := lock(t.Context(), file, func(string) { release() })
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	again()
}
