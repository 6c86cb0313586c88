package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const logTail = 15

// Command describes a process to run.
type Command struct {
	// Name is for messages and the log's name.
	Name string
	Path string
	Args []string
	// Env is added to the environment.
	Env []string
}

// Process is a running Command.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  string
	// done is closed when the process has ended; err is valid then.
	done chan struct{}
	err  error
}

// Start runs c with its output in WorkDir/log/NAME.log.
func Start(c Command) (*Process, error) {
	log := filepath.Join(WorkDir, "log", c.Name+".log")
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer f.Close()
	// Processes end with the namespaces, or in order by Stop: killing them all when a context ends would show as failures.
	cmd := exec.CommandContext(context.Background(), c.Path, c.Args...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{name: c.Name, cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the process id inside the namespaces.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop sends SIGTERM, after grace SIGKILL, and returns how long the process took to end. Stopping a nil
// or ended process is fine.
func (p *Process) Stop(grace time.Duration) time.Duration {
	if p == nil {
		return 0
	}
	start := time.Now()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(grace):
		p.Kill()
	}
	return time.Since(start)
}

// Kill ends the process at once, without its doing anything, and waits until it has.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

// Failed returns an error with the end of the log when the process is no longer running.
func (p *Process) Failed() error {
	select {
	case <-p.done:
		reason := p.err
		if reason == nil {
			reason = errors.New("status 0")
		}
		return fmt.Errorf("%s ended by itself: %w; last lines of its log:\n%s", p.name, reason, p.Tail())
	default:
		return nil
	}
}

// Tail returns the last lines of the log.
func (p *Process) Tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return "    " + strings.Join(lines[max(0, len(lines)-logTail):], "\n    ")
}

// WaitFor calls ready until it returns nil. It fails when the process ends or after timeout, with
// the last reason why it was not ready.
func (p *Process) WaitFor(ctx context.Context, timeout time.Duration, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.Failed()
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %v: %w; last lines of its log:\n%s", p.name, timeout, errors.Join(err, context.Cause(ctx)), p.Tail())
		case <-time.After(20 * time.Millisecond): // a foreign process offers no event to wait for
		}
	}
}
