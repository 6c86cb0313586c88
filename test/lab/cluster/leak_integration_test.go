//go:build integration

package cluster_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// hostState is what a lab must not change on the host: one sorted list for each
// kind of thing.
type hostState map[string][]string

func lines(t *testing.T, argv ...string) []string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		t.Fatalf("%v: %v", argv, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// readHost takes a picture of the host. Counters and ages are left out.
func readHost(t *testing.T) hostState {
	t.Helper()
	s := hostState{
		"links":      lines(t, "ip", "-o", "link"),
		"addresses":  lines(t, "ip", "-br", "addr"),
		"routes":     append(lines(t, "ip", "-4", "route", "show", "table", "all"), lines(t, "ip", "-6", "route", "show", "table", "all")...),
		"rules":      append(lines(t, "ip", "rule"), lines(t, "ip", "-6", "rule")...),
		"netfilter":  lines(t, "nft", "--stateless", "list", "ruleset"),
		"namespaces": names("/run/netns"),
		"cgroups":    nil,
		"sysctls":    nil,
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	s["mounts"] = strings.Split(string(mounts), "\n")
	hierarchies, err := filepath.Glob("/sys/fs/cgroup/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hierarchies {
		for _, n := range names(h) {
			if st, err := os.Stat(filepath.Join(h, n)); err == nil && st.IsDir() {
				s["cgroups"] = append(s["cgroups"], filepath.Join(h, n))
			}
		}
	}
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/all/accept_ra", "net/ipv6/conf/default/accept_ra",
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "kernel/hostname"} {
		v, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if err != nil {
			t.Fatal(err)
		}
		s["sysctls"] = append(s["sysctls"], name+"="+string(v))
	}
	return s
}

func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// since returns what is in s and was not in before, of the given kinds. Other
// programs may come and go on the host: the caller looks more than once.
func (s hostState) since(before hostState, kinds ...string) []string {
	var out []string
	for _, kind := range kinds {
		for _, l := range s[kind] {
			if !slices.Contains(before[kind], l) {
				out = append(out, kind+": "+l)
			}
		}
	}
	return out
}

func network() []string {
	return []string{"links", "addresses", "routes", "rules", "netfilter", "namespaces", "mounts", "sysctls"}
}

// footprint is what a running lab consists of.
type footprint struct {
	pids       map[int]string    // process to start time
	namespaces map[string]string // kind:[inode] to a process in it
}

// readFootprint follows a lab's processes by their cgroup.
func readFootprint(t *testing.T, lab string) footprint {
	t.Helper()
	f := footprint{pids: map[int]string{}, namespaces: map[string]string{}}
	own := namespacesOf("self")
	for _, pid := range pids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil || !strings.Contains(string(b), "/"+plan.Cgroup(lab)+"/") {
			continue
		}
		f.pids[pid] = startTime(pid)
		for _, ns := range namespacesOf(strconv.Itoa(pid)) {
			if !slices.Contains(own, ns) {
				f.namespaces[ns] = comm(pid)
			}
		}
	}
	return f
}

func pids() []int {
	var out []int
	for _, n := range names("/proc") {
		if pid, err := strconv.Atoi(n); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

func startTime(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return f[19]
}

func comm(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(b))
}

func namespacesOf(pid string) []string {
	var out []string
	for _, kind := range []string{"net", "mnt", "pid", "uts", "ipc", "cgroup"} {
		if l, err := os.Readlink("/proc/" + pid + "/ns/" + kind); err == nil {
			out = append(out, l)
		}
	}
	return out
}

// left returns what of the footprint is still there.
func (f footprint) left() []string {
	var out []string
	for pid, start := range f.pids {
		if s := startTime(pid); s != "" && s == start {
			out = append(out, fmt.Sprintf("process %d (%s)", pid, comm(pid)))
		}
	}
	for _, pid := range pids() {
		for _, ns := range namespacesOf(strconv.Itoa(pid)) {
			if who, ok := f.namespaces[ns]; ok {
				out = append(out, fmt.Sprintf("namespace %s of %s, held by %d (%s)", ns, who, pid, comm(pid)))
			}
		}
	}
	// A namespace can also be held by a bind mount.
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for ns := range f.namespaces {
		if strings.Contains(string(b), ns) {
			out = append(out, "a mount of namespace "+ns)
		}
	}
	return out
}

func killHost(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("kill %d: %v", pid, err)
	}
}

// Whatever is killed and however abruptly, Down leaves nothing; and while it runs
// a lab changes nothing on the host.
func TestDownLeavesNothing(t *testing.T) {
	victims := []struct {
		name string
		kill func(t *testing.T, ctx context.Context, l *cluster.Lab)
	}{
		{"nothing killed", func(*testing.T, context.Context, *cluster.Lab) {}},
		{"the lab's first process", func(t *testing.T, _ context.Context, l *cluster.Lab) {
			killHost(t, l.Status(context.Background()).PID)
		}},
		{"a node's init, containerd, kubelet and etcd", func(t *testing.T, ctx context.Context, l *cluster.Lab) {
			for _, c := range []string{plan.Containerd, plan.Kubelet} {
				if err := l.Kill(ctx, c, "node2"); err != nil {
					t.Error(err)
				}
			}
			if err := l.Kill(ctx, plan.Etcd, plan.ControlPlane); err != nil {
				t.Error(err)
			}
			killHost(t, pidOf(t, l, "node1"))
		}},
		{"all inits, with a command inside and the record lost", func(t *testing.T, ctx context.Context, l *cluster.Lab) {
			p, err := l.Start(ctx, "node1", cluster.IO{}, "sleep", "1000")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Wait() })
			for _, m := range []string{plan.ControlPlane, plan.Outside, "node1"} {
				killHost(t, pidOf(t, l, m))
			}
			// Without it Down finds the lab by its cgroup alone.
			if err := os.Remove(filepath.Join(l.Dir(), "lab-init.json")); err != nil {
				t.Error(err)
			}
		}},
	}
	for _, v := range victims {
		t.Run(v.name, func(t *testing.T) {
			ctx := testContext(t)
			const name = "it-leak"
			before := readHost(t)
			l := up(t, ctx, cluster.Options{Name: name, Nodes: 2, Family: plan.Dual})
			bridgeNetwork(t, ctx, l, "node2", 2)
			runPod(t, ctx, l, "web", "node2")
			eventually(t, 5*time.Second, func() string {
				return strings.Join(readHost(t).since(before, network()...), "\n")
			})
			f := readFootprint(t, name)
			if len(f.pids) < 20 || len(f.namespaces) < 15 {
				t.Fatalf("the lab has only %d processes and %d namespaces: the test looks in the wrong place", len(f.pids), len(f.namespaces))
			}
			v.kill(t, ctx, l)
			if d := down(t, name); d > 5*time.Second {
				t.Errorf("down took %v, want 5 s at most", d)
			}
			if left := f.left(); len(left) > 0 {
				t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
			}
			eventually(t, 5*time.Second, func() string {
				return strings.Join(readHost(t).since(before, append(network(), "cgroups")...), "\n")
			})
		})
	}
}

func pidOf(t *testing.T, l *cluster.Lab, machine string) int {
	t.Helper()
	pid, err := l.PID(machine)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// Two labs with the same addresses do not see each other, and the end of one does
// not touch the other.
func TestTwoLabs(t *testing.T) {
	ctx := testContext(t)
	a := up(t, ctx, cluster.Options{Name: "it-a", Nodes: 1})
	b := up(t, ctx, cluster.Options{Name: "it-b", Nodes: 1})
	for _, l := range []*cluster.Lab{a, b} {
		if _, err := l.Kubectl(ctx, "create", "namespace", "only-in-"+l.Name()); err != nil {
			t.Fatal(err)
		}
	}
	out, err := b.Kubectl(ctx, "get", "namespaces", "-o", "name")
	if err != nil || strings.Contains(out, "only-in-it-a") || !strings.Contains(out, "only-in-it-b") {
		t.Errorf("namespaces of the second lab: %q, %v", out, err)
	}
	if labs, err := cluster.List(); err != nil || !slices.Contains(labs, "it-a") || !slices.Contains(labs, "it-b") {
		t.Errorf("labs: %v, %v", labs, err)
	}
	down(t, "it-a")
	if st := b.Status(ctx); !st.Up || st.APIError != "" || !st.Machines[2].Running {
		t.Errorf("the second lab after the end of the first: %+v", st)
	}
	if _, err := b.Outside(ctx, "ping", "-c1", "-W2", "172.18.0.11"); err != nil {
		t.Error(err)
	}
}

// No packet of a lab can leave the machine: there is no way out of its networks.
func TestNoWayOut(t *testing.T) {
	ctx := testContext(t)
	l := up(t, ctx, cluster.Options{Name: "it-out", Nodes: 1, Family: plan.Dual})
	for _, machine := range []string{plan.ControlPlane, plan.Outside, "node1"} {
		for _, target := range []string{"1.1.1.1", "2001:db8::1"} {
			if out, err := l.Exec(ctx, machine, "ping", "-c1", "-W1", target); err == nil {
				t.Errorf("%s reaches %s: %s", machine, target, out)
			}
		}
	}
}
