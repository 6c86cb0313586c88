package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
)

// forbidden are packages that the plugin must not contain, by prefix, with the reason for each.
var forbidden = map[string]string{
	"k8s.io/":                        "the node agent talks to the API server; client-go alone takes 30 MB and 20 ms to start",
	"sigs.k8s.io/":                   "see k8s.io/",
	"github.com/ovn-org/libovsdb":    "the node agent owns the connection to Open vSwitch",
	"github.com/prometheus/":         "nobody can scrape a process that lives for milliseconds",
	"github.com/vishvananda/netlink": "the node agent does the plumbing",
	"net/http":                       "one JSON line each way needs no HTTP; it would double the binary",
	"crypto/tls":                     "the agent's socket is local and root-only",
	"github.com/ovnkube/ovnkube/go-controller/pkg/config": "the plugin has no settings: it runs with the runtime's environment",
	"plugin":        "the binary is static",
	"text/template": "reflection-heavy, and it keeps the linker from dropping unused methods",
}

func TestDependencies(t *testing.T) {
	out := output(t, "go", "list", "-deps", ".")
	for _, dep := range strings.Fields(out) {
		for prefix, reason := range forbidden {
			if dep == prefix || strings.HasPrefix(dep, prefix) && strings.HasSuffix(prefix, "/") || strings.HasPrefix(dep, prefix+"/") {
				t.Errorf("imports %s: %s", dep, reason)
			}
		}
	}
}

// build makes the binary the way it is shipped.
func build(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	output(t, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	return path
}

func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, &stderr)
	}
	return string(out)
}

func TestSize(t *testing.T) {
	info, err := os.Stat(build(t))
	if err != nil {
		t.Fatal(err)
	}
	if limit := int64(6 << 20); info.Size() > limit {
		t.Errorf("the binary has %d bytes, more than %d", info.Size(), limit)
	}
}

// start runs VERSION, which needs no agent, and returns how long that took.
func start(t testing.TB, binary string) (string, time.Duration) {
	t.Helper()
	cmd := exec.Command(binary)
	cmd.Env = []string{"CNI_COMMAND=VERSION"}
	cmd.Stdin = strings.NewReader(`{"cniVersion":"1.1.0"}`)
	begin := time.Now()
	out, err := cmd.Output()
	took := time.Since(begin)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), took
}

// The best of many, so that a busy machine does not fail the test.
func TestStartsQuickly(t *testing.T) {
	binary, best := build(t), time.Hour
	for range 30 {
		_, took := start(t, binary)
		best = min(best, took)
	}
	if best > 10*time.Millisecond {
		t.Errorf("start takes %v, more than 10 ms", best)
	}
}

func BenchmarkStart(b *testing.B) {
	binary := build(b)
	var times []time.Duration
	for b.Loop() {
		_, took := start(b, binary)
		times = append(times, took)
	}
	slices.Sort(times)
	b.ReportMetric(times[len(times)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(times[len(times)*99/100].Seconds()*1000, "p99-ms")
}

func TestVersion(t *testing.T) {
	out, _ := start(t, build(t))
	var version struct {
		Supported []string `json:"supportedVersions"`
	}
	if err := json.Unmarshal([]byte(out), &version); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		if !slices.Contains(version.Supported, want) {
			t.Errorf("version %s is not in %v", want, version.Supported)
		}
	}
}

// Errors go to standard output as the specification's JSON, with exit status 1.
func TestErrorOutput(t *testing.T) {
	cmd := exec.Command(build(t))
	cmd.Env = []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=a", "CNI_NETNS=/n", "CNI_IFNAME=eth0", "CNI_PATH=/"}
	cmd.Stdin = strings.NewReader(`{"cniVersion":"9.9.9","name":"n","type":"t"}`)
	out, err := cmd.Output()
	var cni struct {
		Code uint   `json:"code"`
		Msg  string `json:"msg"`
	}
	if err == nil || json.Unmarshal(out, &cni) != nil || cni.Code != 1 || cni.Msg == "" {
		t.Errorf("got %v and %q, want an error with code 1 (incompatible CNI version)", err, out)
	}
}

// fakeAgent answers every request and notes its command.
func fakeAgent(t *testing.T) (socket string, commands func() string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var mu sync.Mutex
	var seen []string
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			request, err := protocol.ReadRequest(conn)
			if err == nil {
				mu.Lock()
				seen = append(seen, request.Command)
				mu.Unlock()
				err = protocol.Write(conn, protocol.Response{Version: protocol.Version, Result: json.RawMessage(`{"cniVersion":"1.0.0"}`)})
			}
			conn.Close()
			if err != nil {
				t.Error(err)
			}
		}
	}()
	return socket, func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(seen, " ")
	}
}

// Host ports are portmap's, which runs for pods that have some and for no others. A failed ADD is undone.
func TestHostPorts(t *testing.T) {
	const ports = `"runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":80,"protocol":"tcp"}]}`
	binary := build(t)
	for name, test := range map[string]struct {
		command, config, portmap    string
		wantAgent, wantPortmap, out string
		fails                       bool
	}{
		"ADD without":      {"ADD", `"runtimeConfig":{"portMappings":[]}`, "exit 1", "ADD", "", `{"cniVersion":"1.0.0"}`, false},
		"ADD":              {"ADD", ports, "exit 0", "ADD", "ADD", `{"cniVersion":"1.0.0"}`, false},
		"ADD that fails":   {"ADD", ports, "exit 1", "ADD DEL", "ADD", "host ports", true},
		"DEL without":      {"DEL", `"a":1`, "exit 1", "DEL", "", "", false},
		"DEL":              {"DEL", ports, "exit 0", "DEL", "DEL", "", false},
		"DEL that fails":   {"DEL", ports, "exit 1", "DEL", "DEL", "host ports", true},
		"CHECK that fails": {"CHECK", `"prevResult":{"cniVersion":"1.0.0"},` + ports, "exit 1", "CHECK", "CHECK", "host ports", true},
	} {
		t.Run(name, func(t *testing.T) {
			socket, commands := fakeAgent(t)
			dir := t.TempDir()
			script := "#!/bin/sh\necho $CNI_COMMAND >>" + dir + "/commands\n" + test.portmap + "\n"
			if err := os.WriteFile(filepath.Join(dir, "portmap"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(binary)
			cmd.Env = []string{"CNI_COMMAND=" + test.command, "CNI_CONTAINERID=a", "CNI_NETNS=/n", "CNI_IFNAME=eth0", "CNI_PATH=" + dir,
				"PATH=" + os.Getenv("PATH"), "OVNKUBE_CNI_SOCKET=" + socket, "CNI_NETNS_OVERRIDE=true"}
			cmd.Stdin = strings.NewReader(`{"cniVersion":"1.0.0","name":"n","type":"t",` + test.config + `}`)
			out, err := cmd.Output()
			if (err != nil) != test.fails || !strings.Contains(string(out), test.out) {
				t.Errorf("%v, output %q", err, out)
			}
			if got := commands(); got != test.wantAgent {
				t.Errorf("the agent got %q, want %q", got, test.wantAgent)
			}
			ran, _ := os.ReadFile(filepath.Join(dir, "commands"))
			if got := strings.TrimSpace(string(ran)); got != test.wantPortmap {
				t.Errorf("portmap got %q, want %q", got, test.wantPortmap)
			}
		})
	}
}
