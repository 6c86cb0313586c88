package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// StepError tells which step failed, what was run for it and what it said last.
type StepError struct {
	// Step is what was being done: "start the API server".
	Step string
	// Command is the command line involved; may be empty.
	Command string
	// LogFile is where the command's whole log is; may be empty.
	LogFile string
	// Err is the cause.
	Err error
}

// logTail is how many of a log's last lines an error shows.
const logTail = 20

// Error returns the step, the cause, the command and its log's last lines.
func (e *StepError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "step %q failed: %v", e.Step, e.Err)
	if e.Command != "" {
		fmt.Fprintf(&b, "\n  command: %s", e.Command)
	}
	if e.LogFile != "" {
		fmt.Fprintf(&b, "\n  last lines of %s:", e.LogFile)
		for _, l := range tail(e.LogFile, logTail) {
			fmt.Fprintf(&b, "\n    %s", l)
		}
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// tail returns the last n lines of a file, or a line that says why not.
func tail(path string, n int) []string {
	f, err := os.Open(path)
	if err != nil {
		return []string{err.Error()}
	}
	defer f.Close()
	// Lines are not endless: the last 64 KiB hold more than anybody wants to read.
	const window = 64 << 10
	if st, err := f.Stat(); err == nil && st.Size() > window {
		if _, err := f.Seek(-window, io.SeekEnd); err != nil {
			return []string{err.Error()}
		}
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return []string{err.Error()}
	}
	b = bytes.TrimRight(b, "\n")
	if len(b) == 0 {
		return []string{"(empty)"}
	}
	lines := strings.Split(string(b), "\n")
	return lines[max(0, len(lines)-n):]
}

// progress prints steps with the time since the beginning and their own.
type progress struct {
	began time.Time
	mu    sync.Mutex
	out   io.Writer
}

func newProgress(out io.Writer) *progress {
	if out == nil {
		out = io.Discard
	}
	return &progress{began: time.Now(), out: out}
}

// note prints a line with the time since the beginning.
func (p *progress) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "[%5.1fs] %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...))
}

// step runs fn and prints its name and duration. An error becomes a StepError,
// unless it is one.
func (p *progress) step(ctx context.Context, name string, fn func(context.Context) error) error {
	began := time.Now()
	err := fn(ctx)
	if err == nil {
		p.note("%s (%.1fs)", name, time.Since(began).Seconds())
		return nil
	}
	p.note("%s: FAILED after %.1fs", name, time.Since(began).Seconds())
	var se *StepError
	if asStep(err, &se) {
		if se.Step == "" {
			se.Step = name
		}
		return err
	}
	return &StepError{Step: name, Err: err}
}
