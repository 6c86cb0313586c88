package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStepErrorTellsWhatAPersonNeeds(t *testing.T) {
	log := filepath.Join(t.TempDir(), "kube-apiserver.log")
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	if err := os.WriteFile(log, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("it keeps ending")
	var out bytes.Buffer
	err := newProgress(&out).step(context.Background(), "API server ready", func(context.Context) error {
		return &StepError{Command: "kube-apiserver --secure-port=6443", LogFile: log, Err: cause}
	})
	if !errors.Is(err, cause) {
		t.Errorf("the cause is lost: %v", err)
	}
	for _, want := range []string{"API server ready", "it keeps ending", "kube-apiserver --secure-port=6443", log, "line 99", "line 80"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not tell %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "line 79\n") {
		t.Errorf("the error shows more than the last %d lines", logTail)
	}
	if !strings.Contains(out.String(), "API server ready: FAILED") {
		t.Errorf("progress: %q", out.String())
	}
}

func TestStepNamesAPlainError(t *testing.T) {
	err := newProgress(nil).step(context.Background(), "images", func(context.Context) error { return os.ErrNotExist })
	var se *StepError
	if !errors.As(err, &se) || se.Step != "images" || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestOpenUnknownLab(t *testing.T) {
	t.Setenv(StateVariable, t.TempDir())
	if _, err := Open("nowhere"); !errors.Is(err, ErrNoLab) {
		t.Errorf("got %v, want ErrNoLab", err)
	}
	if _, err := Open("../escape"); err == nil || errors.Is(err, ErrNoLab) {
		t.Errorf("a name that is a path must be refused, got %v", err)
	}
	if labs, err := List(); err != nil || len(labs) != 0 {
		t.Errorf("List = %v, %v", labs, err)
	}
}
