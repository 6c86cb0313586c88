//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// testKubectlOVNThroughPods is the plugin where users have it: everything that it asks is in the chart's pods.
func testKubectlOVNThroughPods(e *env) {
	e.errorsExpected = true // An agent is stopped.
	near, far := e.Nodes()[0], e.Nodes()[1]
	e.on(plan.ControlPlane, "sh", "-c", "kubectl -n "+names.Namespace+" exec ovnkube-db-0 -c nb-ovsdb -- cat /usr/bin/kubectl-ovn >/root/kubectl-ovn && chmod +x /root/kubectl-ovn && /root/kubectl-ovn --version")
	k := newKubectlOVN(e)
	k.compare(
		verdict{"friend", "server", tcp, tracedPort, "allowed: arrives at pod NS/server"},
		verdict{"stranger", "service/served", tcp, servicePort, "dropped by NetworkPolicy NS/only-friend"},
		verdict{"friend", "service/inner", tcp, servicePort, "rejected"},
		verdict{"node/" + far, "server", udp, tracedPort, "allowed: arrives"},
	)
	k.flows()
	if out, code := k.run("vsctl", near, "--", "list-br"); code != 0 || strings.TrimSpace(out) != names.ExternalBridge+"\n"+names.IntegrationBridge {
		k.Errorf("bridges of %s (exit code %d): %q", near, code, out)
	}
	if _, code := k.run("vsctl", near, "--", "br-exists", "nosuch"); code != 2 {
		k.Errorf("exit code %d of br-exists in a pod, want ovs-vsctl's own, 2", code)
	}
	k.captures(near, plan.ControlPlane)
	k.bundlesPods(near)
	k.looksIntoNodes()
	k.seesDeadAgent(far)
}

var droppedBy = regexp.MustCompile(`dropped in table \d+ of br-int, flow (0x[0-9a-f]+)`)

// flows looks at what a node's own flows do, and whether the one that drops a packet leads back to what it comes from.
func (k kubectlOVN) flows() {
	k.Helper()
	if out, _ := k.run("trace", "friend", fmt.Sprintf("server:%d", tracedPort), "-n", k.ns); !strings.Contains(out, "the node's flows\n") || !strings.Contains(out, "tunnel to ") {
		k.Errorf("a trace to another node does not end at a tunnel:\n%s", out)
	}
	out, _ := k.run("trace", "stranger", fmt.Sprintf("server:%d", tracedPort), "-n", k.ns)
	m := droppedBy.FindStringSubmatch(out)
	if m == nil {
		k.Errorf("a trace does not say which flow drops the packet:\n%s", out)
		return
	}
	if out, code := k.run("explain", m[1]); code != 0 || !strings.Contains(out, names.IsolationPortGroup(k.ns, true)) {
		k.Errorf("explain %s (exit code %d) does not lead to the isolation of namespace %s:\n%s", m[1], code, k.ns, out)
	}
}

// bundlesPods looks whether a bundle has what is in pods: databases, a node, the components' logs; and no secret.
func (k kubectlOVN) bundlesPods(node string) {
	k.Helper()
	_, err := k.client.CoreV1().Secrets(names.Namespace).Create(k.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "planted"}, StringData: map[string]string{"x": planted}}, metav1.CreateOptions{})
	k.must(err)
	defer func() {
		k.must(k.client.CoreV1().Secrets(names.Namespace).Delete(k.ctx, "planted", metav1.DeleteOptions{}))
	}()
	file := "/root/bundle.tar.gz"
	if out, code := k.run("bundle", "-o", file, "--nodes", node); code != 0 {
		k.Fatalf("bundle: exit code %d: %s", code, out)
	}
	files := k.unpack(k.path(plan.ControlPlane, file))
	want := map[string]string{
		"ovn/nb/OVN_Northbound.db": "OVSDB", "ovn/sb/show.txt": node, "objects/network/daemonsets.json": "ovnkube-node", "status.txt": "The network is ok.",
		"nodes/" + node + "/flows-br-int.txt": "table=", "nodes/" + node + "/host.txt": names.ManagementPort, "pods/ovnkube-db-0/nb-ovsdb.log": " ",
	}
	for _, p := range k.seen.podsOf(names.Namespace) {
		if p.Labels[names.PodComponentLabel] == names.NodePods {
			want["pods/"+p.Name+"/"+names.AgentContainer+".log"] = p.Spec.NodeName
		}
	}
	for name, part := range want {
		if !strings.Contains(files[name], part) {
			k.Errorf("bundle: %s lacks %q: %.200q", name, part, files[name])
		}
	}
	for name, text := range files {
		if strings.Contains(text, planted) {
			k.Errorf("bundle: the secret is in %s", name)
		}
	}
}

// looksIntoNodes wants versions and tunnels of all nodes.
func (k kubectlOVN) looksIntoNodes() {
	k.Helper()
	out, code := k.run("status", "--wait", "--timeout", "2m", "--verbose", "-o", "json")
	var report struct {
		Nodes []struct {
			Name      string
			Versions  struct{ OVNKube, OVS, OVN string }
			TunnelsTo []struct{ State string }
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || len(report.Nodes) != len(k.Nodes()) {
		k.Errorf("status: %v, exit code %d: %s", err, code, out)
	}
	for _, n := range report.Nodes {
		if n.Versions.OVNKube == "" || n.Versions.OVS == "" || n.Versions.OVN == "" || len(n.TunnelsTo) != len(k.Nodes())-1 {
			k.Errorf("of %s are known %+v: want all versions, and tunnels to the others", n.Name, n)
		}
	}
}

// seesDeadAgent stops a node's agent for a while, and wants status to tell of it.
func (k kubectlOVN) seesDeadAgent(node string) {
	k.Helper()
	agent := k.on(node, "pgrep", "-o", "-f", "^/usr/bin/ovnkube node ")
	k.on(node, "kill", "-STOP", agent)
	goOn := func() { k.on(node, "kill", "-CONT", agent) }
	defer goOn()
	k.eventually(func() error {
		if out, code := k.run("status"); code != 2 || !strings.Contains(out, node+": the agent is not ready") {
			return fmt.Errorf("the agent of %s is stopped, and status ends with exit code %d:\n%s", node, code, out)
		}
		return nil
	})
	goOn()
	if out, code := k.run("status", "--wait", "--timeout", "2m"); code != 0 {
		k.Errorf("with the agent of %s again: exit code %d:\n%s", node, code, out)
	}
}
