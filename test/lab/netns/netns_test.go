package netns

import (
	"context"
	"strings"
	"testing"
)

func TestDialWantsAddresses(t *testing.T) {
	for _, addr := range []string{"localhost:80", "10.0.0.1", "name:x"} {
		if _, err := Dial(context.Background(), "/proc/self/ns/net", "tcp", addr); err == nil || !strings.Contains(err.Error(), "dial") {
			t.Errorf("Dial(%q) = %v, want a refusal", addr, err)
		}
	}
}

func TestLookPath(t *testing.T) {
	if p, err := lookPath("sh", []string{"PATH=/nonexistent", "PATH=/nowhere:/bin:/usr/bin"}); err != nil || p != "/bin/sh" {
		t.Errorf("lookPath = %q, %v; want /bin/sh", p, err)
	}
	if _, err := lookPath("sh", []string{"PATH=/nonexistent"}); err == nil {
		t.Error("found sh where there is none")
	}
	if p, err := lookPath("/bin/x", nil); err != nil || p != "/bin/x" {
		t.Errorf("a path with a slash is taken as it is, got %q, %v", p, err)
	}
}

func TestMainThreadIsSpared(t *testing.T) {
	for range 50 {
		if err := onThread(func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
}
