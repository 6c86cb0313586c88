package ovndb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeTool puts a shell script in the place of ovsdb-tool.
func fakeTool(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ovsdb-tool"), []byte("#!/bin/sh\n"+script), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
}

// A tool that could not look has not said that the file is standalone, or has no cluster.
func TestInspectBelievesAnswersOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		script  string
		want    File
		refusal string
	}{
		"standalone":       {"case $1 in db-name) echo X;; *) exit 2;; esac", File{Exists: true, Database: "X"}, ""},
		"not joined":       {"case $1 in db-cid) exit 2;; *) echo X;; esac", File{Exists: true, Database: "X", Clustered: true, LocalAddress: "X"}, ""},
		"format not known": {"case $1 in db-name) echo X;; *) echo no memory >&2; exit 1;; esac", File{}, "no memory"},
		"cid not known":    {"case $1 in db-cid) kill -9 $$;; *) echo X;; esac", File{}, "db-cid"},
	} {
		t.Run(name, func(t *testing.T) {
			fakeTool(t, tc.script)
			got, err := inspect(t.Context(), path)
			switch {
			case tc.refusal != "" && (err == nil || !strings.Contains(err.Error(), tc.refusal)):
				t.Errorf("got %+v, %v, want an error with %q", got, err, tc.refusal)
			case tc.refusal == "" && (err != nil || got != tc.want):
				t.Errorf("got %+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
}
