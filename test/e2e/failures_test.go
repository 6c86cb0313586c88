//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// failures are what scenarios of a lab found wrong, to be read at the end of its log.
type failures struct {
	mu  sync.Mutex
	all []string
}

func (f *failures) add(test, message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, test+": "+strings.TrimSpace(message))
}

func (f *failures) print(t *testing.T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) > 0 {
		t.Logf("%d failures:\n%s", len(f.all), shorten(strings.Join(f.all, "\n"), 600))
	}
}

// The methods of testing.T by which scenarios fail also note why.

func (e *env) Error(args ...any) {
	e.Helper()
	e.failures.add(e.T.Name(), fmt.Sprintln(args...))
	e.T.Error(args...)
}

func (e *env) Errorf(format string, args ...any) {
	e.Helper()
	e.failures.add(e.T.Name(), fmt.Sprintf(format, args...))
	e.T.Errorf(format, args...)
}

func (e *env) Fatal(args ...any) {
	e.Helper()
	e.failures.add(e.T.Name(), fmt.Sprintln(args...))
	e.T.Fatal(args...)
}

func (e *env) Fatalf(format string, args ...any) {
	e.Helper()
	e.failures.add(e.T.Name(), fmt.Sprintf(format, args...))
	e.T.Fatalf(format, args...)
}
