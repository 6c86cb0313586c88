package artifact

import (
	"bytes"
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

// logTail is how many of a log's last lines an error shows.
const logTail = 20

// Step is a command whose output goes to a log file.
type Step struct {
	// Name says what the command is for.
	Name string
	// Dir is its working directory.
	Dir string
	// Env is added to the environment.
	Env []string
	// Args is the command.
	Args []string
	// Log is the file that takes its output; it is replaced.
	Log string
}

// StepError is a failed Step.
type StepError struct {
	Step Step
	// Tail has the log's last lines.
	Tail []string
	// Err is the reason.
	Err error
}

// Error names the step and the command and shows the end of the log.
func (e *StepError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v\n  command: %s\n", e.Step.Name, e.Err, e.Step.command())
	if len(e.Tail) == 0 {
		fmt.Fprintf(&b, "  log %s is empty", e.Step.Log)
		return b.String()
	}
	fmt.Fprintf(&b, "  last lines of %s:", e.Step.Log)
	for _, line := range e.Tail {
		b.WriteString("\n    " + line)
	}
	return b.String()
}

// Unwrap returns the reason.
func (e *StepError) Unwrap() error { return e.Err }

// command returns the command as one can paste it into a shell.
func (s Step) command() string {
	words := make([]string, 0, len(s.Env)+len(s.Args))
	for _, w := range append(append([]string{}, s.Env...), s.Args...) {
		if w == "" || strings.ContainsAny(w, " \t\n'\"$\\*?;&|<>()") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		words = append(words, w)
	}
	line := strings.Join(words, " ")
	if s.Dir != "" {
		line = "cd " + s.Dir + " && " + line
	}
	return line
}

// Run runs the command to its end. When ctx ends, the command and all processes
// it started are killed. A failure is a *StepError.
func (s Step) Run(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(s.Log), 0o755); err != nil {
		return fmt.Errorf("%s: log folder: %w", s.Name, err)
	}
	log, err := os.Create(s.Log)
	if err != nil {
		return fmt.Errorf("%s: log: %w", s.Name, err)
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, s.Args[0], s.Args[1:]...)
	cmd.Dir, cmd.Env = s.Dir, append(os.Environ(), s.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that compilers do not outlive a cancelled build.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
		return &StepError{Step: s, Tail: lastLines(s.Log, logTail), Err: err}
	}
	return nil
}

// lastLines returns up to n lines from the end of a file, none if it cannot be read.
func lastLines(path string, n int) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	data = bytes.TrimRight(data, "\n")
	if len(data) == 0 {
		return nil
	}
	lines := strings.Split(string(data), "\n")
	return lines[max(0, len(lines)-n):]
}
