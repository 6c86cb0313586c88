package cnibench

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/test/scale/cnibench/record"
)

func TestParseFloor(t *testing.T) {
	got, err := parseFloor("10.000000 10.040000 10.100000\n11.5 11.75 12\n", 2)
	if err != nil {
		t.Fatal(err)
	}
	round := func(in []time.Duration) (out []time.Duration) {
		for _, d := range in {
			out = append(out, d.Round(time.Microsecond))
		}
		return out
	}
	const ms = time.Millisecond
	if diff := cmp.Diff([][]time.Duration{{100 * ms, 500 * ms}, {60 * ms, 250 * ms}}, [][]time.Duration{round(got.whole), round(got.port)}); diff != "" {
		t.Errorf("whole and port (-want +got):\n%s", diff)
	}
	for name, out := range map[string]string{
		"a port is missing": "1 2 3\n",
		"not times":         "1 2 3\novs-vsctl: timed out\n",
	} {
		if _, err := parseFloor(out, 2); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDurationsOfOneCommand(t *testing.T) {
	calls := []record.Call{{Command: "ADD", Duration: 3}, {Command: "STATUS", Duration: 1}, {Command: "ADD", Duration: 2}, {Command: "DEL", Duration: 9}}
	got, err := durations(calls, "ADD")
	if diff := cmp.Diff([]time.Duration{3, 2}, got); err != nil || diff != "" {
		t.Errorf("durations of ADD (-want +got):\n%s%v", diff, err)
	}
	calls[2].Status = 1
	if _, err := durations(calls, "ADD"); err == nil {
		t.Error("a failed ADD was counted")
	}
}

func TestLatencies(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	each, all := latencies([]span{{at(100), at(300)}, {at(50), at(120)}, {at(120), at(250)}})
	if diff := cmp.Diff([]time.Duration{200 * time.Millisecond, 70 * time.Millisecond, 130 * time.Millisecond}, each); diff != "" {
		t.Errorf("each (-want +got):\n%s", diff)
	}
	if all != 250*time.Millisecond {
		t.Errorf("all took %v, want 250ms", all)
	}
}

// TestRecorderPassesEverythingThrough builds cnirec and lets it stand for a shell script.
func TestRecorderPassesEverythingThrough(t *testing.T) {
	dir := t.TempDir()
	plugin := filepath.Join(dir, "plugin")
	build := exec.Command("go", "build", "-o", plugin, "../cmd/cnirec")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	script := "#!/bin/sh\nread -r in\necho \"got $in for $CNI_COMMAND\"\nexit 7\n"
	if err := os.WriteFile(plugin+record.Suffix, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(plugin)
	cmd.Env = append(os.Environ(), "CNI_COMMAND=PROBE")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = in.Write([]byte("config\n"))
		_ = in.Close()
	}()
	out, _ := cmd.Output()
	if string(out) != "got config for PROBE\n" || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("output %q, status %d; want what the plugin said and its status 7", out, cmd.ProcessState.ExitCode())
	}
}

func TestEndpointsOfTheNorthboundDatabase(t *testing.T) {
	for address, want := range map[string][2]string{
		"192.0.2.1":   {"ptcp:6641:0.0.0.0", "tcp:192.0.2.1:6641"},
		"2001:db8::1": {"ptcp:6641:[::]", "tcp:[2001:db8::1]:6641"},
	} {
		listener, remote := endpoints(netip.MustParseAddr(address))
		if diff := cmp.Diff(want, [2]string{listener, remote}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
	}
}
