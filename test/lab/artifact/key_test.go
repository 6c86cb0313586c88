package artifact

import (
	"path/filepath"
	"testing"
)

func TestKeyChangesWithEveryInput(t *testing.T) {
	o, list := toolModule(t)
	dir := filepath.Join(o.Root, "test/tools/hello")
	key := func() string {
		t.Helper()
		items, err := resolve(t.Context(), o, list)
		if err != nil {
			t.Fatal(err)
		}
		return items[0].key
	}
	seen := map[string]string{key(): "first"}
	if _, same := seen[key()]; !same {
		t.Fatal("the key differs without a change")
	}
	for _, change := range []struct {
		name string
		do   func()
	}{
		{"go.mod", func() { write(t, filepath.Join(dir, "go.mod"), "module example.com/hello\n\ngo 1.25.0\n") }},
		{"go.sum", func() { write(t, filepath.Join(dir, "go.sum"), "\n") }},
		{"source", func() { write(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() {}\n") }},
		{"new source", func() { write(t, filepath.Join(dir, "more.go"), "package main\n") }},
		{"link flags", func() { list[0].linkFlags = nil }},
		{"tags", func() { list[0].Tags = []string{"netgo"} }},
		{"cgo", func() { list[0].Cgo = true }},
		{"kind", func() { list[0].Kind = TestBinary }},
		{"package", func() { list[0].Package = "./sub" }},
		{"toolchain settings", func() { t.Setenv("GOAMD64", "v3"); t.Setenv("GOARCH", "amd64") }},
	} {
		change.do()
		k := key()
		if before, ok := seen[k]; ok {
			t.Errorf("after the change of %s the key is that of %q", change.name, before)
		}
		seen[k] = change.name
	}
}

func TestRequiredVersion(t *testing.T) {
	goMod := []byte("module m\n\nrequire a.org/one v1.2.3\n\nrequire (\n\ta.org/two/v2 v2.0.1 // indirect\n\ta.org/two v1.9.0\n)\n\nreplace a.org/three => a.org/four v0.4.0\n")
	for path, want := range map[string]string{
		"a.org/one": "v1.2.3", "a.org/two/v2": "v2.0.1", "a.org/two": "v1.9.0", "a.org/three": "", "a.org/five": "",
	} {
		if got := requiredVersion(goMod, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
