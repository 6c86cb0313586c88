//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// watch compares a lab before and after a scenario.
type watch struct {
	restarts map[string]int
	// expected are the ends that tests had caused until then.
	expected map[string]int
	// logs are the sizes of the product's logs at the beginning.
	logs map[string]int64
}

// productLogs are the logs of master and agents.
func (l *lab) productLogs() []string {
	out := []string{l.LogFile(l.masterMachine(), plan.Master)}
	for _, n := range l.Nodes() {
		out = append(out, l.LogFile(n, plan.NodeAgent))
	}
	return out
}

// restarts counts the restarts of all components, by machine/component.
func (l *lab) restarts(ctx context.Context) map[string]int {
	out := map[string]int{}
	for _, p := range l.seen.podsOf(plan.ReleaseNamespace) { // none unless the product runs as pods
		for _, c := range p.Status.ContainerStatuses {
			out[p.Spec.NodeName+"/"+c.Name] = int(c.RestartCount)
		}
	}
	for _, m := range l.Status(ctx).Machines {
		for _, c := range m.Components {
			out[m.Name+"/"+c.Name] = c.Restarts
		}
	}
	return out
}

func (l *lab) startWatch(e *env) watch {
	w := watch{restarts: l.restarts(e.ctx), expected: maps.Clone(l.expected), logs: map[string]int64{}}
	for _, f := range l.productLogs() {
		if st, err := os.Stat(f); err == nil {
			w.logs[f] = st.Size()
		}
	}
	return w
}

// check fails the scenario when a component ended that no test ended, or when master or agents logged
// a panic, a data race or an error.
func (w watch) check(e *env) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for name, now := range e.restarts(ctx) {
		was, known := w.restarts[name]
		if !known {
			continue // the machine is new
		}
		if extra := now - was - (e.expected[name] - w.expected[name]); extra > 0 {
			machine, component, _ := strings.Cut(name, "/")
			e.Errorf("%s ended %d times by itself; its log ends:\n%s", name, extra, tail(e.LogFile(machine, component), 30))
		}
	}
	for _, f := range e.productLogs() {
		for _, line := range faults(f, w.logs[f], !e.errorsExpected) {
			e.Errorf("%s: %s", filepath.Base(filepath.Dir(filepath.Dir(f)))+"/"+filepath.Base(f), line)
		}
	}
}

var (
	fatal = regexp.MustCompile(`^(panic: |fatal error: |WARNING: DATA RACE|F\d{4} )`)
	// klog's error lines begin with E and month and day.
	logged = regexp.MustCompile(`^E\d{4} `)
	// wrapper is what the container runtime writes before each line.
	wrapper = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\S+ (stdout|stderr) [FP] `)
	// stopping is what client-go says of a Lease when its process is told to end while it asks for it.
	stopping = regexp.MustCompile(`leaderelection\.go:\d+\] "Error (retrieving|updating|initially creating) .*err="context canceled"`)
)

// faults returns the lines of a log, from an offset on, that a healthy component does not write; at
// most ten. What follows a panic or a race is shown too.
func faults(file string, from int64, errorsToo bool) []string {
	f, err := os.Open(file)
	if err != nil {
		return []string{err.Error()}
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return []string{err.Error()}
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	lines := strings.Split(string(b), "\n")
	for i, line := range lines {
		switch line = wrapper.ReplaceAllString(line, ""); {
		case fatal.MatchString(line):
			out = append(out, strings.Join(lines[i:min(len(lines), i+40)], "\n"))
		case errorsToo && logged.MatchString(line) && !stopping.MatchString(line):
			out = append(out, line)
		}
		if len(out) == 10 {
			break
		}
	}
	return out
}

// collect leaves what helps to understand a failure in a folder, and the last lines of the logs in
// the test's output.
func (l *lab) collect(t *testing.T) {
	dir, err := evidence(t)
	if err != nil {
		t.Logf("collect evidence: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	save := func(name, out string, err error) {
		if err != nil {
			out += "\n" + err.Error()
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(out), 0o644); err != nil {
			t.Log(err)
		}
	}
	for name, args := range map[string][]string{
		"pods":     {"describe", "pods", "-A"},
		"nodes":    {"describe", "nodes"},
		"overview": {"get", "pods,nodes,events", "-A", "-o", "wide"},
	} {
		out, err := l.Kubectl(ctx, args...)
		save(name, out, err)
	}
	for name, argv := range map[string][]string{
		"ovn-nbctl-show":     {"ovn-nbctl", "show"},
		"ovn-sbctl-show":     {"ovn-sbctl", "show"},
		"cluster-router":     {"ovn-nbctl", "lr-route-list", "ovn_cluster_router"},
		"components-running": {"ps", "-ef"},
	} {
		out, err := l.Exec(ctx, plan.ControlPlane, argv...)
		save(name, out, err)
	}
	for _, n := range l.Nodes() {
		out, err := l.Exec(ctx, n, "sh", "-c", "ovs-vsctl show; ovs-vsctl list interface; ip addr; ip route; ip -6 route; nft list ruleset; ls -l /run/netns /etc/cni/net.d")
		save("node-"+n, out, err)
		for _, c := range []string{plan.NodeAgent, plan.OVNController, plan.VSwitchd, plan.Kubelet, plan.Containerd} {
			save(n+"-"+c+".log", tail(l.LogFile(n, c), 3000), nil)
		}
	}
	save("cp-"+plan.ControllerManager+".log", tail(l.LogFile(plan.ControlPlane, plan.ControllerManager), 3000), nil)
	for _, c := range []string{plan.Master, plan.Northd} {
		save("cp-"+c+".log", tail(l.LogFile(l.masterMachine(), c), 3000), nil)
	}
	t.Logf("evidence is in %s", dir)
	for _, f := range l.productLogs() {
		t.Logf("last lines of %s:\n%s", f, shorten(tail(f, 5), 240))
	}
}

// shorten cuts long lines.
func shorten(text string, width int) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if len(l) > width {
			lines[i] = l[:width] + "…"
		}
	}
	return strings.Join(lines, "\n")
}

// buildWithRace builds the product with the race detector and returns the folder.
func buildWithRace(ctx context.Context) (string, error) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "_output", "race")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	build := func(env []string, args ...string) error {
		cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-buildvcs=false", "-o", dir + "/"}, args...)...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
		return nil
	}
	if err := build([]string{"CGO_ENABLED=1"}, "-race", "./go-controller/cmd/ovnkube"); err != nil {
		return "", err
	}
	// The plugins are short-lived; the size and speed of that for the network are part of the product.
	return dir, build([]string{"CGO_ENABLED=0"}, "-trimpath", "-ldflags", "-s -w", "./go-controller/cmd/ovn-k8s-cni-overlay", "./go-controller/cmd/kubectl-ovn")
}
