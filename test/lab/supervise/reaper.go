package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Reaper starts processes and collects all children of the calling process,
// those it started and those that were orphaned to it: the duty of PID 1 of a
// pid namespace. Package os/exec cannot be used beside it, both would wait for
// the same children.
type Reaper struct {
	mu      sync.Mutex
	waiters map[int]chan syscall.WaitStatus
}

// NewReaper returns a Reaper; Run makes it work.
func NewReaper() *Reaper {
	return &Reaper{waiters: map[int]chan syscall.WaitStatus{}}
}

// Run collects children until ctx ends.
func (r *Reaper) Run(ctx context.Context) {
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, unix.SIGCHLD)
	defer signal.Stop(sig)
	for {
		r.collect()
		select {
		case <-ctx.Done():
			return
		case <-sig:
		}
	}
}

// collect runs under the lock that Start holds from the fork to the entry in
// the table, so that a child that ends at once is not taken for an orphan.
func (r *Reaper) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if !ws.Exited() && !ws.Signaled() {
			continue
		}
		if ch, ok := r.waiters[pid]; ok {
			delete(r.waiters, pid)
			ch <- ws
		}
	}
}

// Start starts a process and returns its id and a channel that gets its status
// once. argv[0] must be a path.
func (r *Reaper) Start(argv []string, attr *syscall.ProcAttr) (int, <-chan syscall.WaitStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(argv[0], argv, attr)
	if err != nil {
		return 0, nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	ch := make(chan syscall.WaitStatus, 1)
	r.waiters[pid] = ch
	return pid, ch, nil
}

// Command is a short-lived process.
type Command struct {
	// Argv is the command; Argv[0] must be a path.
	Argv []string `json:"argv"`
	// Root is a directory to chroot into first, or empty.
	Root string `json:"root,omitempty"`
	// Stdin is given to the command.
	Stdin string `json:"stdin,omitempty"`
	// Creates is a path that the command creates: if it exists already the
	// command is not run. Empty runs it always.
	Creates string `json:"creates,omitempty"`
}

// Output runs a command to its end and returns what it wrote to standard output
// and standard error. When ctx ends first the command is killed.
func (r *Reaper) Output(ctx context.Context, c Command, env []string) (string, error) {
	if c.Creates != "" {
		if _, err := os.Lstat(c.Creates); err == nil {
			return "", nil
		}
	}
	out, err := os.CreateTemp("", "out-*")
	if err != nil {
		return "", err
	}
	defer out.Close()
	defer func() { _ = os.Remove(out.Name()) }()
	in, err := stdinFile(c.Stdin)
	if err != nil {
		return "", err
	}
	defer in.Close()
	pid, done, err := r.Start(c.Argv, &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{in.Fd(), out.Fd(), out.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Chroot: c.Root},
		Dir:   "/",
	})
	if err != nil {
		return "", err
	}
	var ws syscall.WaitStatus
	select {
	case ws = <-done:
	case <-ctx.Done():
		_ = syscall.Kill(pid, syscall.SIGKILL)
		ws = <-done
	}
	b, _ := os.ReadFile(out.Name())
	if ws.Exited() && ws.ExitStatus() == 0 {
		return string(b), nil
	}
	return string(b), fmt.Errorf("%s: %s: %s", strings.Join(c.Argv, " "), statusText(ws), bytes.TrimSpace(b))
}

// stdinFile returns a file positioned at the start of text.
func stdinFile(text string) (*os.File, error) {
	if text == "" {
		return os.Open(os.DevNull)
	}
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "stdin")
	if _, err := f.WriteString(text); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(0, 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// statusText words a wait status for people.
func statusText(ws syscall.WaitStatus) string {
	switch {
	case ws.Signaled():
		return "killed by " + unix.SignalName(ws.Signal())
	case ws.Exited():
		return fmt.Sprintf("exit status %d", ws.ExitStatus())
	}
	return fmt.Sprintf("wait status %#x", uint32(ws))
}
