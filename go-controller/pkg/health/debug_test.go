package health

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve runs d until the test ends, and returns a client for it.
func serve(t *testing.T, d *Debug) *http.Client {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { d.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		for { // until the socket is there
			conn, err := (&net.Dialer{}).DialContext(ctx, "unix", d.Socket)
			if err == nil || ctx.Err() != nil {
				return conn, err
			}
			time.Sleep(time.Millisecond)
		}
	}}}
}

func ask(t *testing.T, c *http.Client, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://debug"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestDebug(t *testing.T) {
	before := verbosity()
	t.Cleanup(func() {
		if err := SetVerbosity(before); err != nil {
			t.Error(err)
		}
	})
	d := &Debug{Socket: filepath.Join(t.TempDir(), "run", "debug.sock")}
	c := serve(t, d)
	for _, q := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"PUT", "/debug/flags/v", "5\n", 200, "5"},
		{"GET", "/debug/flags/v", "", 200, "5"},
		{"PUT", "/debug/flags/v", "21", 400, "between 0 and 20"},
		{"PUT", "/debug/flags/v", "-1", 400, "between 0 and 20"},
		{"PUT", "/debug/flags/v", "lots", 400, "between 0 and 20"},
		{"PUT", "/debug/flags/v", strings.Repeat("1", 100), 400, "too large"},
		{"DELETE", "/debug/flags/v", "", 405, ""},
		{"GET", "/debug/pprof/goroutine?debug=1", "", 200, "TestDebug"},
		{"GET", "/metrics", "", 404, ""},
	} {
		if status, text := ask(t, c, q.method, q.path, q.body); status != q.status || !strings.Contains(text, q.want) {
			t.Errorf("%s %s %.10q: %d %s, want %d %s", q.method, q.path, q.body, status, text, q.status, q.want)
		}
	}
	if verbosity() != 5 {
		t.Errorf("verbosity %d, want 5: what is refused changes nothing", verbosity())
	}
	info, err := os.Stat(d.Socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is open to others: %v, %v", info, err)
	}
}

// A socket that a killed process has left is taken over; one that is served is not.
func TestDebugSocketOfOthers(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "debug.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	d := &Debug{Socket: socket}
	if _, err := d.listen(t.Context()); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("the socket of another process: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if status, _ := ask(t, serve(t, d), http.MethodGet, "/debug/flags/v", ""); status != http.StatusOK {
		t.Errorf("the socket of a killed process: %d", status)
	}
}
