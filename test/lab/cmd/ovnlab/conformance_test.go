package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplaceResults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	text := "# Title\n\n" + resultsBegin + "\nold\n" + resultsEnd + "\n\nmore\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := replaceResults(path, "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	want := "# Title\n\n" + resultsBegin + "\n\nnew\n\n" + resultsEnd + "\n\nmore\n"
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	if err := os.WriteFile(path, []byte("nothing to replace"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replaceResults(path, "new"); err == nil {
		t.Error("a document without the lines is no success")
	}
}
