package ovsdb

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// A file with key and certificate may be replaced at any moment: read twice, it may give the key of one pair and the certificate of
// another. The pipe is a file that is replaced after each read.
func TestPairInOneFileIsReadOnce(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	pipe := filepath.Join(dir, "pair.pem")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	var pairs [][]byte
	for _, name := range []string{"before", "after"} {
		files := a.write(t, dir, name)
		var parts [][]byte
		for _, path := range []string{files.Certificate, files.PrivateKey} {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, data)
		}
		pairs = append(pairs, slices.Concat(parts...))
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		for _, data := range pairs { // each waits for somebody who reads
			if err := os.WriteFile(pipe, data, 0o600); err != nil {
				t.Error(err)
			}
		}
	}()
	if _, err := (TLSFiles{PrivateKey: pipe, Certificate: pipe}).keyPair(); err != nil {
		t.Error(err)
	}
	// Whatever has been read: the writer finds a reader now, and ends.
	both, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	<-written
	_ = both.Close()
}
