//go:build integration

package cluster_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/lab/routes"
	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds the executable that is every machine's init.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ovnlab-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	self := filepath.Join(dir, "ovnlab")
	if out, err := exec.Command("go", "build", "-race", "-o", self, "../cmd/ovnlab").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build ovnlab: %v\n%s", err, out)
		return 1
	}
	if err := os.Setenv(cluster.SelfVariable, self); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// up brings a lab without the project's components up, and down at the end.
func up(t *testing.T, ctx context.Context, o cluster.Options) *cluster.Lab { //nolint:revive // t comes first in tests
	t.Helper()
	t.Cleanup(func() { down(t, o.Name) })
	o.Install, o.Out = plan.InstallNone, testWriter{t}
	l, err := cluster.Up(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// down takes a lab down and returns how long that took.
func down(t *testing.T, name string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	began := time.Now()
	if err := cluster.Down(ctx, name, testWriter{t}); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(cluster.Dir(name)); err != nil {
		t.Error(err)
	}
	return time.Since(began)
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until check returns nothing.
func eventually(t *testing.T, limit time.Duration, check func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		why := check()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", limit, why)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// bridgeNetwork gives a node a network of its own, without the project: enough
// for pods that talk to their own node and are reached by way of it.
func bridgeNetwork(t *testing.T, ctx context.Context, l *cluster.Lab, node string, n int) { //nolint:revive // t comes first in tests
	t.Helper()
	subnet := fmt.Sprintf("10.128.%d.0/24", n)
	conf := fmt.Sprintf(`{"cniVersion":"1.0.0","name":"test","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,
"ipam":{"type":"host-local","ranges":[[{"subnet":%q}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}`, subnet)
	path, err := l.Path(node, "/etc/cni/net.d/10-test.conflist")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := l.Client()
	if err != nil {
		t.Fatal(err)
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, routes.Annotation, fmt.Sprintf(`{"default":[%q]}`, subnet))
	if _, err := client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

const webPod = `apiVersion: v1
kind: Pod
metadata: {name: %[1]s}
spec:
  nodeName: %[2]s
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: registry.k8s.io/e2e-test-images/agnhost:2.63.0
    args: [netexec, --http-port=8080]
    readinessProbe: {httpGet: {path: /hostname, port: 8080}, periodSeconds: 1}
`

func runPod(t *testing.T, ctx context.Context, l *cluster.Lab, name, node string) { //nolint:revive // t comes first in tests
	t.Helper()
	err := l.RunKubectl(ctx, cluster.IO{Stdin: strings.NewReader(fmt.Sprintf(webPod, name, node)), Stdout: testWriter{t}, Stderr: testWriter{t}},
		"apply", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Kubectl(ctx, "wait", "--for=condition=Ready", "pod/"+name, "--timeout=60s"); err != nil {
		t.Fatal(err)
	}
}

// The lab runs real pods: image, sandbox, probe, exec, logs, and the API server's
// own way to them.
func TestPodsRun(t *testing.T) {
	ctx := testContext(t)
	l := up(t, ctx, cluster.Options{Name: "it-pods", Nodes: 2})
	for i, n := range l.Nodes() {
		bridgeNetwork(t, ctx, l, n, i+1)
	}
	if err := l.WaitNodesReady(ctx, l.Nodes()...); err != nil {
		t.Fatal(err)
	}
	runPod(t, ctx, l, "web1", "node1")
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"exec", []string{"exec", "web1", "--", "hostname"}, "web1"},
		{"logs", []string{"logs", "web1"}, "Started HTTP server"},
		{"proxy of the API server", []string{"get", "--raw", "/api/v1/namespaces/default/pods/web1:8080/proxy/hostname"}, "web1"},
	} {
		// A first proxied request may come before the route is there.
		eventually(t, 10*time.Second, func() string {
			out, err := l.Kubectl(ctx, tc.args...)
			if err != nil || !strings.Contains(out, tc.want) {
				return fmt.Sprintf("%s: got %q, %v", tc.name, out, err)
			}
			return ""
		})
	}
	t.Run("load an image", func(t *testing.T) { loadImage(t, ctx, l) })
	t.Run("power cycle", func(t *testing.T) { powerCycle(t, ctx, l) })
	t.Run("add and remove", func(t *testing.T) { addAndRemove(t, ctx, l) })
}

// An image that was exported from one node is loaded into all under its name. The export is --local: through
// containerd's transfer service ctr may end before it has written everything.
func loadImage(t *testing.T, ctx context.Context, l *cluster.Lab) { //nolint:revive // t comes first in tests
	const name = "example.com/loaded:1"
	archive := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	script := "ctr images tag registry.k8s.io/pause:3.10.2 " + name + " >&2 && ctr images export --local - " + name + " && ctr images rm " + name + " >&2"
	if err := l.Run(ctx, "node1", cluster.IO{Stdout: f, Stderr: testWriter{t}}, "sh", "-c", script); err != nil {
		t.Fatal(err)
	}
	if err := l.LoadImages(ctx, archive); err != nil {
		t.Fatal(err)
	}
	for _, n := range l.Nodes() {
		if out, err := l.Exec(ctx, n, "ctr", "images", "ls", "-q"); err != nil || !strings.Contains(out, name+"\n") {
			t.Errorf("%s has not got the image: %v\n%s", n, err, out)
		}
	}
}

// A node that was switched off has its disks when it is back, and not its memory.
func powerCycle(t *testing.T, ctx context.Context, l *cluster.Lab) { //nolint:revive // t comes first in tests
	if _, err := l.Exec(ctx, "node1", "sh", "-c", "touch /etc/kept /var/lib/kept /opt/kept /run/lost /tmp/lost"); err != nil {
		t.Fatal(err)
	}
	if err := l.StopNode(ctx, "node1"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Exec(ctx, "node1", "true"); err == nil {
		t.Error("a command ran on a node that is off")
	}
	if _, err := l.Outside(ctx, "ping", "-c1", "-W1", "172.18.0.11"); err == nil {
		t.Error("a node that is off answers")
	}
	if err := l.StartNode(ctx, "node1"); err != nil {
		t.Fatal(err)
	}
	out, err := l.Exec(ctx, "node1", "sh", "-c", "ls /etc/kept /var/lib/kept /opt/kept; ls /run/lost /tmp/lost 2>/dev/null || true")
	if err != nil || out != "/etc/kept\n/opt/kept\n/var/lib/kept\n" {
		t.Errorf("files after a power cycle: %q, %v", out, err)
	}
	if _, err := l.Outside(ctx, "ping", "-c1", "-W2", "172.18.0.11"); err != nil {
		t.Errorf("a node that is on again does not answer: %v", err)
	}
	if _, err := l.Kubectl(ctx, "wait", "--for=condition=Ready", "pod/web1", "--timeout=60s"); err != nil {
		t.Errorf("its pod did not come back: %v", err)
	}
}

func addAndRemove(t *testing.T, ctx context.Context, l *cluster.Lab) { //nolint:revive // t comes first in tests
	if err := l.AddNode(ctx, "node7"); err != nil {
		t.Fatal(err)
	}
	client, err := l.Client()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() string {
		if _, err := client.CoreV1().Nodes().Get(ctx, "node7", metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
	if _, err := l.Exec(ctx, "node1", "ping", "-c1", "-W2", "node7"); err != nil {
		t.Errorf("an older node does not know the new one: %v", err)
	}
	if err := l.RemoveNode(ctx, "node7"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Nodes().Get(ctx, "node7", metav1.GetOptions{}); err == nil {
		t.Error("the removed node is still registered")
	}
	if _, err := os.Stat(filepath.Join(l.Dir(), "node7")); err == nil {
		t.Error("the removed node's disks are still there")
	}
	again, err := cluster.Open(l.Name())
	if err != nil || len(again.Nodes()) != 2 {
		t.Errorf("nodes of the lab opened again: %v, %v", again.Nodes(), err)
	}
}

// Every component that is killed comes back by itself.
func TestKilledComponentsComeBack(t *testing.T) {
	ctx := testContext(t)
	l := up(t, ctx, cluster.Options{Name: "it-kill", Nodes: 1, Family: plan.Dual})
	for machine, components := range map[string][]string{
		plan.ControlPlane: {plan.Etcd, plan.APIServer, plan.ControllerManager, plan.Scheduler, plan.NBDB, plan.SBDB, plan.Northd, plan.Routes},
		"node1":           {plan.Containerd, plan.Kubelet, plan.OVSDB, plan.VSwitchd, plan.OVNController},
	} {
		for _, c := range components {
			// What was killed before it may be what it waits for.
			before := running(t, ctx, l, machine, c, 0)
			if err := l.Kill(ctx, c, machine); err != nil {
				t.Error(err)
				continue
			}
			running(t, ctx, l, machine, c, before)
		}
	}
	eventually(t, 30*time.Second, func() string {
		if _, err := l.Kubectl(ctx, "get", "nodes"); err != nil {
			return err.Error()
		}
		return ""
	})
	if out, err := l.Exec(ctx, "node1", "ovs-vsctl", "show"); err != nil || !strings.Contains(out, "ovs_version") {
		t.Errorf("ovs-vsctl show: %q, %v", out, err)
	}
}

// running waits until a component runs as another process than pid, and returns which.
func running(t *testing.T, ctx context.Context, l *cluster.Lab, machine, name string, pid int) int { //nolint:revive // t comes first in tests
	t.Helper()
	var st supervise.Status
	eventually(t, time.Minute, func() string {
		if st = componentStatus(t, ctx, l, machine, name); st.State != supervise.StateRunning || st.PID == pid {
			return fmt.Sprintf("%s on %s: %+v", name, machine, st)
		}
		return ""
	})
	return st.PID
}

func componentStatus(t *testing.T, ctx context.Context, l *cluster.Lab, machine, name string) supervise.Status { //nolint:revive // t comes first in tests
	t.Helper()
	list, err := l.Components(ctx, machine)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range list {
		if st.Name == name {
			return st
		}
	}
	t.Fatalf("%s has no component %s", machine, name)
	return supervise.Status{}
}

// A step that cannot succeed says which one, what it ran and what that said.
func TestFailureNamesStepCommandAndLog(t *testing.T) {
	ctx := testContext(t)
	root := t.TempDir()
	for _, f := range []string{"usr/sbin/ovs-vswitchd", "usr/bin/ovn-northd", "usr/bin/ovn-controller", "usr/bin/ovsdb-tool"} {
		path := filepath.Join(root, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("no program"), 0o755); err != nil { //nolint:gosec // meant to be executable
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { down(t, "it-fail") })
	_, err := cluster.Up(ctx, cluster.Options{Name: "it-fail", Nodes: 1, Install: plan.InstallNone, OVNRoot: root, Out: testWriter{t}})
	if err == nil {
		t.Fatal("a lab with a broken Open vSwitch came up")
	}
	for _, want := range []string{"step", "/bin/sh", "init.log"} { // The folder has no shell to make databases with.
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %q:\n%v", want, err)
		}
	}
}
