//go:build integration

package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ktypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

const (
	testNode = "node1"
	testMTU  = 1400
)

// world is a node with Open vSwitch and ovn-controller, and an OVN central, all real.
type world struct {
	testing.TB
	dir       string
	kube      *fake.Clientset
	daemons   map[string]*exec.Cmd
	sandboxes int
}

func newWorld(t testing.TB) *world {
	w := &world{TB: t, kube: fake.NewClientset(), daemons: map[string]*exec.Cmd{}}
	var err error
	if w.dir, err = os.MkdirTemp(os.Getenv(insideEnv), "w-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(w.dir) })
	t.Cleanup(w.showLogs)
	w.startDatabases()
	w.start("ovs-vswitchd", "unix:"+w.path("db.sock"))
	w.run("ovs-vsctl", "--no-wait", "init")
	w.run("ovs-vsctl", "set", "Open_vSwitch", ".", "external_ids:system-id=chassis1", "external_ids:hostname="+testNode,
		"external_ids:ovn-remote=unix:"+w.path("central.sock"), "external_ids:ovn-encap-type=geneve", "external_ids:ovn-encap-ip=127.0.0.1",
		"external_ids:ovn-monitor-all=true")
	w.run("ovs-vsctl", "add-br", names.IntegrationBridge, "--", "set", "bridge", names.IntegrationBridge, "datapath_type=netdev", "fail_mode=secure")
	w.start("ovn-northd", "--ovnnb-db=unix:"+w.path("central.sock"), "--ovnsb-db=unix:"+w.path("central.sock"))
	w.run("ovn-nbctl", "--wait=sb", "ls-add", testNode)
	// ovn-controller 23.03 dies when the southbound database is still empty.
	w.start("ovn-controller", "unix:"+w.path("db.sock"))
	w.run("ovn-nbctl", "--wait=hv", "sync")
	return w
}

func (w *world) startDatabases() {
	for db, schema := range map[string]string{
		"conf.db": "/usr/share/openvswitch/vswitch.ovsschema",
		"nb.db":   "/usr/share/ovn/ovn-nb.ovsschema",
		"sb.db":   "/usr/share/ovn/ovn-sb.ovsschema",
	} {
		w.run("ovsdb-tool", "create", w.path(db), schema)
	}
	w.startLocalDatabase()
	w.start("ovsdb-server", "--unixctl="+w.path("central.ctl"), "--remote=punix:"+w.path("central.sock"), w.path("nb.db"), w.path("sb.db"))
	w.awaitFile(w.path("central.sock"))
}

func (w *world) startLocalDatabase() {
	w.daemons["local ovsdb-server"] = w.start("ovsdb-server", "--unixctl="+w.path("local.ctl"), "--remote=punix:"+w.path("db.sock"), w.path("conf.db"))
	w.awaitFile(w.path("db.sock"))
}

// showLogs shows the ends of the daemons' logs when the test has failed.
func (w *world) showLogs() {
	if !w.Failed() {
		return
	}
	for _, name := range []string{"ovs-vswitchd", "ovn-controller", "ovn-northd"} {
		data, err := os.ReadFile(w.path(name + ".log"))
		if err != nil {
			continue
		}
		w.Logf("%s:\n%s", name, data[max(0, len(data)-2000):])
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) env() []string {
	return append(os.Environ(), "OVS_RUNDIR="+w.dir, "OVS_LOGDIR="+w.dir, "OVS_DBDIR="+w.dir, "OVN_RUNDIR="+w.dir, "OVN_LOGDIR="+w.dir,
		"OVN_NB_DB=unix:"+w.path("central.sock"), "OVN_SB_DB=unix:"+w.path("central.sock"))
}

// start starts a daemon in the foreground; the test's end stops it.
func (w *world) start(name string, args ...string) *exec.Cmd {
	w.Helper()
	cmd := exec.Command(name, append([]string{"-vconsole:off", "-vsyslog:off", "-vfile:info", "--log-file=" + w.path(name+".log")}, args...)...)
	cmd.Env = w.env()
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.daemons[name] = cmd
	w.Cleanup(func() { stopDaemon(cmd) })
	return cmd
}

func stopDaemon(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// run runs a command and returns its output.
func (w *world) run(name string, args ...string) string {
	w.Helper()
	if name == "ovs-vsctl" || name == "ovn-nbctl" {
		args = append([]string{"--timeout=20"}, args...)
	}
	cmd := exec.Command(name, args...)
	cmd.Env = w.env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) awaitFile(path string) {
	w.Helper()
	w.eventually("file "+path, func() bool { _, err := os.Stat(path); return err == nil })
}

func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.Fatalf("did not happen: %s", what)
}

// agent is a running CNI server.
type agent struct {
	*Server
	stop func()
}

// startAgent starts a server and waits until it serves.
func (w *world) startAgent() *agent {
	w.Helper()
	s, err := New(Options{
		NodeName: testNode, MTU: testMTU, Userspace: true, OVSDB: []string{"unix:" + w.path("db.sock")}, Client: w.kube, Socket: w.socket(),
	})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	a := &agent{Server: s}
	stopped := false
	a.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			w.Errorf("Run: %v", err)
		}
	}
	w.Cleanup(a.stop)
	select {
	case <-s.Serving():
	case err := <-done:
		w.Fatalf("Run: %v", err)
	case <-time.After(20 * time.Second):
		w.Fatal("the server does not serve")
	}
	return a
}

func (w *world) socket() string { return filepath.Join(w.dir, "cni", "s") }

// pod is a pod with its sandbox.
type pod struct {
	name, uid, sandbox, netns string
	network                   annotations.PodNetwork
}

func (p *pod) hostName() string { return p.sandbox[:15] }

// newPod makes a pod number n without annotation and logical port, and its sandbox.
func (w *world) newPod(n int) *pod {
	w.Helper()
	w.sandboxes++
	p := &pod{
		name:    fmt.Sprintf("pod%d", n),
		uid:     fmt.Sprintf("00000000-0000-0000-0000-%012d", w.sandboxes),
		sandbox: fmt.Sprintf("%012x%052d", w.sandboxes, n),
		netns:   fmt.Sprintf("/run/netns/cni-%d", w.sandboxes),
	}
	v4 := netip.AddrFrom4([4]byte{10, 128, byte(n >> 8), byte(n + 10)})
	v6 := netip.MustParseAddr(fmt.Sprintf("fd01::%x", n+16))
	p.network = annotations.PodNetwork{
		Addresses: []netip.Prefix{netip.PrefixFrom(v4, 23), netip.PrefixFrom(v6, 64)},
		MAC:       addr.MAC(v4),
		Gateways:  []netip.Addr{netip.MustParseAddr("10.128.0.1"), netip.MustParseAddr("fd01::1")},
		Routes:    []annotations.Route{{Destination: netip.MustParsePrefix("192.0.2.0/24"), NextHop: netip.MustParseAddr("10.128.0.3")}},
	}
	w.addNetns(filepath.Base(p.netns))
	_, err := w.kube.CoreV1().Pods("default").Create(context.Background(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: p.name, UID: ktypes.UID(p.uid),
	}}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func (w *world) addNetns(name string) {
	w.Helper()
	w.run("ip", "netns", "add", name)
	w.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
}

// annotate does what the master does for a pod.
func (w *world) annotate(p *pod) {
	w.Helper()
	w.logicalPort(p)
	w.annotateOnly(p)
}

func (w *world) logicalPort(p *pod) {
	w.Helper()
	port := names.PodLogicalPort("default", p.name)
	w.run("ovn-nbctl", logicalPortArgs(p, port)...)
}

func logicalPortArgs(p *pod, port string) []string {
	addresses := p.network.MAC.String()
	for _, a := range p.network.Addresses {
		addresses += " " + a.Addr().String()
	}
	return []string{"--may-exist", "lsp-add", testNode, port, "--", "lsp-set-addresses", port, addresses,
		"--", "lsp-set-options", port, "requested-chassis=" + testNode, "iface-id-ver=" + p.uid}
}

func (w *world) annotateOnly(p *pod) {
	w.Helper()
	k, err := w.kube.CoreV1().Pods("default").Get(context.Background(), p.name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	k.Annotations = map[string]string{names.PodNetworksAnnotation: annotations.FormatPodNetwork(p.network)}
	if _, err := w.kube.CoreV1().Pods("default").Update(context.Background(), k, metav1.UpdateOptions{}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) deletePod(p *pod) {
	w.Helper()
	if err := w.kube.CoreV1().Pods("default").Delete(context.Background(), p.name, metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
}

// cni runs the plugin binary as a runtime does. prev goes to prevResult.
func (w *world) cni(ctx context.Context, command string, p *pod, prev *types100.Result) (*types100.Result, error) {
	w.Helper()
	conf := map[string]any{"cniVersion": "1.1.0", "name": names.CNINetworkName, "type": names.CNIPlugin}
	if prev != nil {
		conf["prevResult"] = prev
	}
	return w.cniConf(ctx, command, p, conf)
}

func (w *world) cniConf(ctx context.Context, command string, p *pod, conf map[string]any) (*types100.Result, error) {
	w.Helper()
	stdin, err := json.Marshal(conf)
	if err != nil {
		w.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, shimBinary())
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = []string{"CNI_COMMAND=" + command, "CNI_PATH=/opt/cni/bin", "OVNKUBE_CNI_SOCKET=" + w.socket()}
	if p != nil {
		cmd.Env = append(cmd.Env, "CNI_CONTAINERID="+p.sandbox, "CNI_NETNS="+p.netns, "CNI_IFNAME=eth0",
			"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME="+p.name+";K8S_POD_INFRA_CONTAINER_ID="+p.sandbox+";K8S_POD_UID="+p.uid)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		var cniErr types.Error
		if err := json.Unmarshal(stdout.Bytes(), &cniErr); err != nil {
			w.Fatalf("%s: no CNI error on stdout: %v\n%s%s", command, err, &stdout, &stderr)
		}
		return nil, &cniErr
	}
	if err != nil {
		w.Fatal(err)
	}
	if stdout.Len() == 0 {
		return nil, nil
	}
	result := &types100.Result{}
	if err := json.Unmarshal(stdout.Bytes(), result); err != nil {
		w.Fatalf("%s: %v\n%s", command, err, &stdout)
	}
	return result, nil
}

func (w *world) mustCNI(command string, p *pod, prev *types100.Result) *types100.Result {
	w.Helper()
	result, err := w.cni(context.Background(), command, p, prev)
	if err != nil {
		w.Fatalf("%s %s: %v", command, p.name, err)
	}
	return result
}

// leftovers returns the pods' ports and veths that there are.
func (w *world) leftovers() []string {
	w.Helper()
	var out []string
	for _, port := range strings.Fields(w.run("ovs-vsctl", "list-ports", names.IntegrationBridge)) {
		out = append(out, "port "+port)
	}
	links, err := net.Interfaces()
	if err != nil {
		w.Fatal(err)
	}
	for _, l := range links {
		if len(l.Name) == hostNameLength {
			out = append(out, "veth "+l.Name)
		}
	}
	return out
}
