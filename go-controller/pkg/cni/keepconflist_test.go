package cni

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

func TestKeepConfListBringsItBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net.d")
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() { end <- ConfList{Dir: dir, PluginDir: filepath.Join(dir, "none")}.Keep(ctx) }()
	file := filepath.Join(dir, names.CNIConfFile)
	wait := func(after string) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; {
			got, err := os.ReadFile(file)
			if err == nil && bytes.Equal(got, confListText(nil)) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("after %s: %q, %v", after, got, err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	wait("the start")
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"removal", func() error { return os.Remove(file) }},
		{"second removal", func() error { return os.Remove(file) }},
		{"change", func() error { return os.WriteFile(file, []byte("{}"), 0o600) }},
		{"replacement", func() error { return os.Rename(file, file+".bak") }},
		{"replacement of the folder", func() error { return os.Rename(dir, dir+".bak") }},
		{"removal in the new folder", func() error { return os.Remove(file) }},
	} {
		if err := c.do(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		wait(c.name)
	}
	cancel()
	if err := <-end; err != nil {
		t.Errorf("after its context ended: %v", err)
	}
}

// script puts an executable at path as installers do: all at once.
func script(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Host ports are portmap's: it may come after the agent, be replaced and go away while the agent runs.
func TestKeepConfListFollowsPortmap(t *testing.T) {
	list := ConfList{Dir: filepath.Join(t.TempDir(), "net.d"), PluginDir: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() { end <- list.Keep(ctx) }()
	wait := func(after string, portmap ...string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			got, err := os.ReadFile(filepath.Join(list.Dir, names.CNIConfFile))
			if err == nil && bytes.Equal(got, confListText(portmap)) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("after %s: %q, %v", after, got, err)
			}
		}
	}
	wait("the start")
	script(t, list.portmap(), `echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}'`)
	wait("portmap came", "0.4.0", "1.0.0")
	asked := filepath.Join(t.TempDir(), "asked")
	script(t, list.portmap(), `test -e `+asked+` && echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}'; exec touch `+asked)
	wait("a new one that does not answer at first", "1.0.0", "1.1.0")
	if err := os.Remove(list.portmap()); err != nil {
		t.Fatal(err)
	}
	wait("portmap went")
	cancel()
	if err := <-end; err != nil {
		t.Errorf("after its context ended: %v", err)
	}
}
