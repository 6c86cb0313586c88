package cni

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/shim"
)

// serveOn runs the fixture's server on a socket until the test ends or stop is called.
func (f *fixture) serveOn(t *testing.T, socket string) (stop func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the server talks to root only")
	}
	f.opts.Socket = socket
	f.serving = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.serve(ctx) }()
	stop = func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			done <- nil
		case <-time.After(10 * time.Second):
			t.Error("the server does not stop")
		}
	}
	t.Cleanup(stop)
	select {
	case <-f.serving:
	case err := <-done:
		t.Fatal(err)
	}
	return stop
}

func socketIn(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cni-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "run", "s")
}

func client(socket string) shim.Client {
	return shim.Client{Socket: socket, Limits: shim.Limits{Total: 20 * time.Second, Agent: 10 * time.Second}}
}

func TestSocketIsRootOnly(t *testing.T) {
	f, socket := newFixture(t), socketIn(t)
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	f.serveOn(t, socket)
	for path, want := range map[string]os.FileMode{socket: 0o600, filepath.Dir(socket): 0o700} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

// What an agent that was killed has left does not keep the next one from serving.
func TestStaleSocketIsReplaced(t *testing.T) {
	f, socket := newFixture(t), socketIn(t)
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{socket, filepath.Join(filepath.Dir(socket), ".s.new")} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	f.serveOn(t, socket)
	request := wire(protocol.Del, sandboxA, "")
	if r, err := client(socket).Do(context.Background(), request); err != nil || r.Error != nil {
		t.Error(err, r.Error)
	}
}

// A request that is under way when the agent stops is answered by the next agent.
func TestRequestSurvivesRestart(t *testing.T) {
	first, socket := newFixture(t), socketIn(t)
	first.pods.put("ns/p", podInfo{UID: "u1", RuntimeUID: "u1"}, false)
	stop := first.serveOn(t, socket)
	type outcome struct {
		r   protocol.Response
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		r, err := client(socket).Do(context.Background(), wire(protocol.Add, sandboxA, "u1"))
		done <- outcome{r, err}
	}()
	for !first.sandboxes.busy(sandboxA) {
		time.Sleep(time.Millisecond)
	}
	stop()
	second := newFixture(t)
	second.pods.put("ns/p", annotated("u1", dual), false)
	begin := time.Now()
	second.serveOn(t, socket)
	if o := <-done; o.err != nil || o.r.Error != nil || len(o.r.Result) == 0 {
		t.Fatal(o.err, o.r.Error)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("answered %v after the agent's return", took)
	}
}

// A plugin that is killed ends its request.
func TestHangUpEndsRequest(t *testing.T) {
	f, socket := newFixture(t), socketIn(t)
	f.pods.put("ns/p", podInfo{UID: "u1", RuntimeUID: "u1"}, false)
	f.serveOn(t, socket)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	r := wire(protocol.Add, sandboxA, "u1")
	if err := protocol.Write(conn, r); err != nil {
		t.Fatal(err)
	}
	for !f.sandboxes.busy(sandboxA) {
		time.Sleep(time.Millisecond)
	}
	conn.Close()
	for begin := time.Now(); f.sandboxes.busy(sandboxA); time.Sleep(time.Millisecond) {
		if time.Since(begin) > 5*time.Second {
			t.Fatal("the request goes on though nobody waits for it")
		}
	}
}

func TestBadRequestIsAnswered(t *testing.T) {
	f, socket := newFixture(t), socketIn(t)
	f.serveOn(t, socket)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(`{"version":7}` + "\n")); err != nil {
		t.Fatal(err)
	}
	r, err := protocol.ReadResponse(conn)
	if err != nil || r.Error == nil || !strings.Contains(r.Error.Msg, "version 7") {
		t.Errorf("got %+v, %v", r.Error, err)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	f.metrics = m
	f.pods.put("ns/p", annotated("u1", dual), false)
	if _, err := f.serveRequest(context.Background(), wire("ADD", sandboxA, "u1")); err != nil {
		t.Fatal(err)
	}
	f.kernel.failCreate = errors.New("no memory")
	if _, err := f.serveRequest(context.Background(), wire("ADD", sandboxB, "u1")); err == nil {
		t.Fatal("no error")
	}
	if n, err := testutil.GatherAndCount(registry, "ovnkube_node_cni_request_duration_seconds"); err != nil || n != 2 {
		t.Errorf("%d series of requests, want ok and error: %v", n, err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	stages := map[string]bool{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "stage" {
					stages[label.GetValue()] = true
				}
			}
		}
	}
	for _, want := range []string{"queue", "annotation", "veth", "configure", "port", "flows"} {
		if !stages[want] {
			t.Errorf("no time of stage %s: %v", want, stages)
		}
	}
	if _, err := newMetrics(registry); err == nil {
		t.Error("metrics registered twice without an error")
	}
}
