package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Serve answers on l for a supervisor, until ctx ends:
//
//	GET  /components               the status of all
//	POST /components/NAME/VERB     VERB is kill, crash, stop, start or restart
func Serve(ctx context.Context, l net.Listener, s *Supervisor) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /components", func(w http.ResponseWriter, _ *http.Request) {
		list := s.Status()
		for i := range list {
			list[i].RSS = rss(list[i].PID)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("POST /components/{name}/{verb}", func(w http.ResponseWriter, r *http.Request) {
		var err error
		name := r.PathValue("name")
		switch verb := r.PathValue("verb"); verb {
		case "kill":
			err = s.Kill(name)
		case "crash":
			err = s.Crash(r.Context(), name)
		case "stop":
			err = s.Stop(r.Context(), name)
		case "start":
			err = s.Start(r.Context(), name)
		case "restart":
			err = s.Restart(r.Context(), name)
		default:
			err = fmt.Errorf("cannot %q a component", verb)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	return srv.Serve(l)
}

// rss reads a resident set size in bytes; 0 for a process that is not there.
func rss(pid int) int64 {
	if pid == 0 {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(f[1], 10, 64)
	return n * int64(os.Getpagesize())
}

// Client talks to a server on a unix socket.
type Client struct {
	// Socket is the path of the server's socket.
	Socket string
}

// Components asks for the status of all components.
func (c Client) Components(ctx context.Context) ([]Status, error) {
	var out []Status
	err := c.Do(ctx, http.MethodGet, "/components", &out)
	return out, err
}

// Order gives the order VERB for a component and waits until it is carried out.
func (c Client) Order(ctx context.Context, name, verb string) error {
	return c.Do(ctx, http.MethodPost, "/components/"+name+"/"+verb, nil)
}

// Do sends a request and decodes the answer into out, unless out is nil. An
// answer other than 200 is an error with the server's text.
func (c Client) Do(ctx context.Context, method, path string, out any) error {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", c.Socket)
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", bytes.TrimSpace(body))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(body, out)
}
