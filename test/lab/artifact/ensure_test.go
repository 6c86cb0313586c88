package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// toolModule makes a repository with the module test/tools/hello, whose command
// prints a greeting and the version stamped into it, and returns its options.
func toolModule(t *testing.T) (Options, []Artifact) {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, "test/tools/hello/go.mod"), "module example.com/hello\n\ngo 1.26.0\n")
	write(t, filepath.Join(root, "test/tools/hello/go.sum"), "")
	write(t, filepath.Join(root, "test/tools/hello/main.go"), "package main\n\nvar version string\n\nfunc main() { print(\"hello \" + version) }\n")
	o, err := Options{Root: root, Cache: filepath.Join(root, "cache")}.complete()
	if err != nil {
		t.Fatal(err)
	}
	return o, []Artifact{{Name: "hello", Module: "hello", Package: ".", linkFlags: []string{"-X main.version=7"}}}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// record makes o collect the finished steps' names.
func record(o *Options) *[]string {
	var done []string
	var mu sync.Mutex
	o.Progress = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Done {
			done = append(done, fmt.Sprintf("%d/%d %s", e.Step, e.Total, e.Name))
		}
	}
	return &done
}

func TestEnsureBuildsOnce(t *testing.T) {
	o, list := toolModule(t)
	done := record(&o)
	for range 2 {
		set, err := ensureList(t.Context(), o, list)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{set.Path("hello"), filepath.Join(set.BinDir, "hello")} {
			out, err := exec.CommandContext(t.Context(), file).CombinedOutput()
			if err != nil || string(out) != "hello 7" {
				t.Errorf("%s: %q, %v", file, out, err)
			}
		}
		if set.Path("other") != "" {
			t.Error("a path for what was not asked for")
		}
	}
	if diff := cmp.Diff([]string{"1/1 hello"}, *done); diff != "" {
		t.Error(diff)
	}
}

func TestEnsureTwiceAtTheSameTime(t *testing.T) {
	o, list := toolModule(t)
	done := record(&o)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := ensureList(t.Context(), o, list); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff([]string{"1/1 hello"}, *done); diff != "" {
		t.Error(diff)
	}
}

func TestEnsureKeepsVersionsApart(t *testing.T) {
	o, list := toolModule(t)
	first, err := ensureList(t.Context(), o, list)
	if err != nil {
		t.Fatal(err)
	}
	list[0].linkFlags = []string{"-X main.version=8"}
	second, err := ensureList(t.Context(), o, list)
	if err != nil {
		t.Fatal(err)
	}
	for set, want := range map[string]string{first.BinDir: "hello 7", second.BinDir: "hello 8"} {
		if out, err := exec.CommandContext(t.Context(), filepath.Join(set, "hello")).CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%q, %v, want %q", out, err, want)
		}
	}
}

func TestLinkIntoFollowsTheVersion(t *testing.T) {
	o, list := toolModule(t)
	dir := filepath.Join(o.Cache, "tools")
	write(t, filepath.Join(dir, "other"), "not ours")
	for _, version := range []string{"7", "8"} {
		list[0].linkFlags = []string{"-X main.version=" + version}
		set, err := ensureList(t.Context(), o, list)
		if err != nil {
			t.Fatal(err)
		}
		if err := set.LinkInto(dir); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "hello")).CombinedOutput(); err != nil || string(out) != "hello "+version {
			t.Errorf("%q, %v, want version %s", out, err, version)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("want hello and other, got %v, %v", entries, err)
	}
}

// TestEnsureIgnoresTheUsersFlags: the same key must mean the same file for everybody.
func TestEnsureIgnoresTheUsersFlags(t *testing.T) {
	o, list := toolModule(t)
	write(t, filepath.Join(o.Root, "test/tools/hello/mine.go"), "//go:build mine\n\npackage main\n\nfunc init() { version = \"mine\" }\n")
	t.Setenv("GOFLAGS", "-tags=mine")
	set, err := ensureList(t.Context(), o, list)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), set.Path("hello")).CombinedOutput(); err != nil || string(out) != "hello 7" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestEnsureAfterAKilledRun(t *testing.T) {
	o, list := toolModule(t)
	left := filepath.Join(o.Cache, "bin", tmpPrefix+"hello-1", "hello")
	write(t, left, "half")
	if _, err := ensureList(t.Context(), o, list); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(left)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unfinished folder is still there: %v", err)
	}
}

func TestEnsureFailureShowsStepCommandAndLog(t *testing.T) {
	o, list := toolModule(t)
	source := filepath.Join(o.Root, "test/tools/hello/main.go")
	write(t, source, "package main\n\nfunc main() { undefinedFunction() }\n")
	_, err := ensureList(t.Context(), o, list)
	var step *StepError
	if !errors.As(err, &step) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"build hello", "cd " + filepath.Dir(source), "go build -mod=readonly", "undefined: undefinedFunction", o.Cache + "/log/build-hello.log"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the message lacks %q:\n%v", want, err)
		}
	}
	entries, readErr := os.ReadDir(binDir(o.Cache))
	if readErr != nil || len(entries) != 1 || entries[0].Name() != ".lock" {
		t.Errorf("the failed build left %v, %v", entries, readErr)
	}
	write(t, source, "package main\n\nfunc main() {}\n")
	if _, err := ensureList(t.Context(), o, list); err != nil {
		t.Errorf("after mending: %v", err)
	}
}

func TestEnsureUnwritableCache(t *testing.T) {
	o, list := toolModule(t)
	o.Cache = filepath.Join(o.Root, "file")
	write(t, o.Cache, "not a folder")
	if _, err := ensureList(t.Context(), o, list); err == nil || !strings.Contains(err.Error(), o.Cache) {
		t.Errorf("got %v", err)
	}
}

func TestEnsureCancelled(t *testing.T) {
	o, list := toolModule(t)
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = func(Event) { cancel() }
	if _, err := ensureList(ctx, o, list); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLanesKeepModulesTogether(t *testing.T) {
	var items []item
	for _, m := range []string{"a", "a", "b", "a", "c"} {
		items = append(items, item{Artifact: Artifact{Module: m}})
	}
	var got []string
	for _, lane := range lanes(items) {
		got = append(got, fmt.Sprintf("%s%d", lane[0].Module, len(lane)))
	}
	if diff := cmp.Diff([]string{"a3", "b1", "c1"}, got); diff != "" {
		t.Error(diff)
	}
}
