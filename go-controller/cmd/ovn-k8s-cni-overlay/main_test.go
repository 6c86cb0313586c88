package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
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
