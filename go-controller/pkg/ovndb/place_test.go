package ovndb

import (
	"os"
	"strings"
	"testing"
)

// Hosts are prepared for a new cluster without knowing which of them have had a database.
func TestResetWithoutFile(t *testing.T) {
	c := member(0)
	c.Dir = t.TempDir()
	if old, err := Reset(t.Context(), &c); err != nil || old != "" {
		t.Errorf("without a file: %q, %v", old, err)
	}
	if err := os.WriteFile(c.Path(), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := Reset(t.Context(), &c)
	if err != nil || !strings.HasPrefix(old, c.Path()+".reset-") {
		t.Fatalf("with a file: %q, %v", old, err)
	}
	if content, err := os.ReadFile(old); err != nil || string(content) != "content" {
		t.Errorf("what was put aside is %q, %v", content, err)
	}
	if old, err := Reset(t.Context(), &c); err != nil || old != "" {
		t.Errorf("again: %q, %v", old, err)
	}
}
