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
	go func() { end <- KeepConfList(ctx, dir) }()
	file := filepath.Join(dir, names.CNIConfFile)
	wait := func(after string) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; {
			got, err := os.ReadFile(file)
			if err == nil && bytes.Equal(got, confListText()) {
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
