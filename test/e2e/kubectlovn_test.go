//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// tracedPort is where the scenario's servers answer; the network policies are about it and the next.
const tracedPort = 5000

// kubectlOVN is the scenario of the plugin: what it says is held against packets.
type kubectlOVN struct {
	*env
	places map[string]traffic.Place
}

func testKubectlOVN(e *env) {
	near, far := e.Nodes()[0], e.Nodes()[1]
	k := newKubectlOVN(e)
	k.compare(verdicts(near, far)...)
	k.explains()
	k.fromOutside(near, far)
	k.plans()
	k.inPods(near)
	k.captures(near, near)
	k.bundles(near)
	k.checks()
	k.status(far)
}

// newKubectlOVN starts pods, two services and two policies, and waits until OVN has them.
func newKubectlOVN(e *env) kubectlOVN {
	e.Helper()
	near, far := e.Nodes()[0], e.Nodes()[1]
	app := func(p *corev1.Pod) { p.Labels["app"] = p.Name }
	pods := []*corev1.Pod{
		newPod(e.ns, "server", onNode(far), pausing, app, labelled("served")), newPod(e.ns, "friend", onNode(near), pausing, app),
		newPod(e.ns, "stranger", onNode(far), pausing, app, labelled("inner")), newPod(e.ns, "quiet", onNode(near), pausing, app),
	}
	k := kubectlOVN{env: e, places: map[string]traffic.Place{"node/" + near: e.machine(near), "node/" + far: e.machine(far), "outside": e.machine(plan.Outside)}}
	for i, place := range e.startAll(pods...) {
		k.places[pods[i].Name] = place
	}
	for _, server := range []string{"server", "outside", "stranger"} {
		for _, a := range k.places[server].Addresses {
			for _, port := range []uint16{tracedPort, tracedPort + 1} {
				echo, err := traffic.ServeEcho(k.places[server], netip.AddrPortFrom(a, port))
				e.must(err)
				e.Cleanup(echo.Close)
			}
		}
	}
	e.service("served", toTraced)
	e.service("nobody")
	local := corev1.ServiceInternalTrafficPolicyLocal
	e.service("inner", toTraced, func(s *corev1.Service) { s.Spec.InternalTrafficPolicy = &local })
	k.policy("only-friend", `{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}], ports: [{port: 5000}, {port: 5000, protocol: UDP}]}]}`)
	k.policy("no-egress", `{podSelector: {matchLabels: {app: quiet}}, policyTypes: [Egress]}`)
	k.settle()
	return k
}

// toTraced leads a service to the scenario's servers.
func toTraced(s *corev1.Service) {
	for i := range s.Spec.Ports {
		s.Spec.Ports[i].TargetPort = intstr.FromInt32(tracedPort)
	}
}

func (k kubectlOVN) policy(name, spec string) {
	k.Helper()
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: k.ns, Name: name}}
	k.must(yaml.UnmarshalStrict([]byte(spec), &p.Spec))
	_, err := k.client.NetworkingV1().NetworkPolicies(k.ns).Create(k.ctx, p, metav1.CreateOptions{})
	k.must(err)
}

// run runs the plugin beside the databases.
func (k kubectlOVN) run(args ...string) (string, int) {
	k.Helper()
	out, err := k.Exec(k.ctx, plan.ControlPlane, append([]string{"kubectl", "ovn"}, args...)...)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() < 0) {
		k.Fatalf("kubectl ovn %v: %v", args, err)
	}
	if err != nil && out == "" {
		k.Logf("kubectl ovn %v: %v", args, err)
	}
	code := 0
	if exit != nil {
		code = exit.ExitCode()
	}
	return out, code
}

// settle waits until OVN has the policies, on all nodes.
func (k kubectlOVN) settle() {
	k.Helper()
	k.eventually(func() error {
		out, _ := k.run("list", "policies", "-n", k.ns, "-o", "json")
		var list []struct {
			Name     string
			Pods     int
			Problems []string
		}
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		in := 0
		for _, p := range list {
			if p.Pods == 1 && len(p.Problems) == 0 {
				in++
			}
		}
		if in != 2 {
			return fmt.Errorf("2 policies should be in effect on a pod each: %s", out)
		}
		return nil
	})
	if out, code := k.run("nbctl", "--", "--wait=hv", "sync"); code != 0 {
		k.Fatalf("wait for the nodes: %s", out)
	}
}

// verdict is what trace should say of a connection, in part.
type verdict struct {
	from, to, protocol string
	port               uint16
	says               string
}

// verdicts have all kinds of ends, with the networks of two nodes among them.
func verdicts(near, far string) []verdict {
	return []verdict{
		{"friend", "server", tcp, tracedPort, "allowed: arrives at pod NS/server"},
		{"friend", "server", udp, tracedPort, "allowed: arrives"},
		{"friend", "server", tcp, tracedPort + 1, "dropped by NetworkPolicy NS/only-friend (ingress rule 0 does not allow tcp/5001)"},
		{"stranger", "server", tcp, tracedPort, "dropped by NetworkPolicy NS/only-friend (ingress rule 0 does not allow from NS/stranger)"},
		{"quiet", "stranger", udp, tracedPort, "dropped by NetworkPolicy NS/no-egress (it has no egress rules)"},
		{"quiet", "outside", tcp, tracedPort, "dropped by NetworkPolicy NS/no-egress"},
		{"friend", "stranger", udp, tracedPort + 1, "allowed: arrives"},
		{"friend", "service/served", tcp, servicePort, "allowed: arrives at pod NS/server"},
		{"friend", "service/served", udp, servicePort, "allowed: arrives"},
		{"stranger", "service/served", tcp, servicePort, "dropped by NetworkPolicy NS/only-friend"},
		{"friend", "service/nobody", tcp, servicePort, "rejected: service NS/nobody has no endpoint"},
		{"friend", "outside", tcp, tracedPort, "allowed: leaves"},
		{"node/" + far, "server", tcp, tracedPort + 1, "allowed: arrives"},
		{"node/" + near, "server", tcp, tracedPort, "dropped by NetworkPolicy NS/only-friend"},
		{"node/" + far, "stranger", tcp, tracedPort, "allowed: arrives"},
		{"friend", "service/inner", tcp, servicePort, "rejected"},
		{"server", "service/inner", udp, servicePort, "allowed: arrives at pod NS/stranger"},
		{"node/" + far, "service/inner", tcp, servicePort, "allowed: arrives at pod NS/stranger"},
	}
}

// compare holds what trace says against packets.
func (k kubectlOVN) compare(list ...verdict) {
	k.Helper()
	for _, c := range list {
		for _, is4 := range k.families() {
			to := k.address(c.to, is4)
			at, named := netip.AddrPortFrom(to, c.port), fmt.Sprintf("%s:%d", c.to, c.port)
			if c.to == "outside" {
				named = at.String()
			}
			args := []string{"trace", c.from, named, "-n", k.ns, "--protocol", c.protocol}
			if !is4 {
				args = append(args, "-6")
			}
			out, code := k.run(args...)
			if want := strings.ReplaceAll(c.says, "NS", k.ns); !strings.Contains(lastLine(out), want) {
				k.Errorf("kubectl ovn %v: want %q in the verdict:\n%s", args, want, out)
			}
			if reached := k.reaches(c.from, c.protocol, at, code == 0); reached != (code == 0) {
				k.Errorf("kubectl ovn %v: exit code %d, but a packet to %s arrives: %v\n%s", args, code, at, reached, out)
			}
		}
	}
}

func (k kubectlOVN) address(name string, is4 bool) netip.Addr {
	k.Helper()
	if service, ok := strings.CutPrefix(name, "service/"); ok {
		s, err := k.client.CoreV1().Services(k.ns).Get(k.ctx, service, metav1.GetOptions{})
		k.must(err)
		return clusterIP(s, is4)
	}
	return k.places[name].Address(is4)
}

// reaches tells whether a packet comes back. Where one should, it may be lost for another reason, and gets a second chance; where none
// should, one of a friend's has to come back in the same time.
func (k kubectlOVN) reaches(from, protocol string, to netip.AddrPort, should bool) bool {
	k.Helper()
	echo := func(from string, to netip.AddrPort) func(context.Context) error {
		return func(ctx context.Context) error { return traffic.EchoOnce(ctx, k.places[from], protocol, to, 10) }
	}
	if !should {
		return !k.unanswered(echo(from, to), echo("friend", netip.AddrPortFrom(k.address("server", to.Addr().Is4()), tracedPort)))
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(k.ctx, time.Second)
		err := echo(from, to)(ctx)
		cancel()
		if err == nil {
			return true
		}
	}
	return false
}

// explains looks whether objects lead to rows, and rows to objects.
func (k kubectlOVN) explains() {
	k.Helper()
	for object, rows := range map[string][]string{
		"pod/server": {names.PodLogicalPort(k.ns, "server"), names.IsolationPortGroup(k.ns, true)}, "service/served": {names.ServiceLoadBalancer(k.ns, "served", "TCP", "")},
		"networkpolicy/only-friend": {"NP:" + k.ns + ":only-friend:Ingress:0", names.IsolationPortGroup(k.ns, true)}, "node/" + k.Nodes()[0]: {names.GatewayRouter(k.Nodes()[0])},
	} {
		out, code := k.run("explain", object, "-n", k.ns)
		for _, row := range rows {
			if code != 0 || !strings.Contains(out, row) {
				k.Errorf("explain %s (exit code %d) lacks %s:\n%s", object, code, row, out)
			}
		}
	}
	uuid, _ := k.run("nbctl", "--", "--bare", "--columns=_uuid", "find", "Logical_Switch_Port", "name="+names.PodLogicalPort(k.ns, "server"))
	if out, _ := k.run("explain", strings.TrimSpace(uuid)); !strings.Contains(out, "Pod/"+k.ns+"/server") {
		k.Errorf("explain %s does not lead to the pod:\n%s", uuid, out)
	}
}

// plans looks whether what plan says comes true, and nothing else.
func (k kubectlOVN) plans() {
	k.Helper()
	const spec = `{podSelector: {matchLabels: {app: stranger}}, ingress: [{from: [{podSelector: {matchLabels: {app: server}}}, {namespaceSelector: {}}], ports: [{port: 5001}]}]}`
	file := "/root/planned.yaml"
	manifest := fmt.Sprintf("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: planned}, spec: %s}", spec)
	k.must(os.WriteFile(k.path(plan.ControlPlane, file), []byte(manifest), 0o600))
	look := func() map[string]string {
		out, code := k.run("plan", "-n", k.ns, "-f", file, "-o", "json")
		var report struct {
			Changes []struct{ Action, Table, Row string }
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 {
			k.Fatalf("plan: %v, exit code %d: %s", err, code, out)
		}
		rows := map[string]string{}
		for _, c := range report.Changes {
			if c.Action == "add" {
				rows[c.Row] = c.Table
			} else if c.Action != "put" {
				k.Errorf("a new policy would %s %s %s", c.Action, c.Table, c.Row)
			}
		}
		if len(report.Changes) == 0 {
			return nil
		}
		return rows
	}
	there := func(table, row string) bool {
		out, _ := k.run("nbctl", "--", "--bare", "--columns=_uuid", "find", table, `external_ids:"`+names.RowIDKey+`"="`+row+`"`)
		return strings.TrimSpace(out) != ""
	}
	planned := look()
	if len(planned) < 3 {
		k.Errorf("planned are %v: want a rule, its pods' group and its peers' sets", planned)
	}
	for row, table := range planned {
		if there(table, row) {
			k.Errorf("%s %s would be added, but is there", table, row)
		}
	}
	k.policy("planned", spec)
	for row, table := range planned {
		k.eventually(func() error {
			if !there(table, row) {
				return fmt.Errorf("%s %s was planned, but is not there", table, row)
			}
			return nil
		})
	}
	if again := look(); again != nil {
		k.Errorf("once it is there, %v would be added", again)
	}
	k.plansDeletion(file, planned, there)
}

// inPods runs a program of Open vSwitch by way of the API server and a pod, as where the components are pods.
func (k kubectlOVN) inPods(node string) {
	k.Helper()
	in := &env{T: k.T, lab: k.lab, ctx: k.ctx, ns: names.Namespace}
	tools := newPod(names.Namespace, "tools", onNode(node), func(p *corev1.Pod) {
		p.Spec.HostNetwork, p.Labels = true, names.PodLabels(names.NodePods)
		c := &p.Spec.Containers[0]
		c.Name, c.Command, c.Args, c.ReadinessProbe = names.ControllerContainer, []string{"/usr/bin/sleep", "3600"}, nil, nil
		for name, path := range map[string]string{"usr": "/usr", "bin": "/bin", "lib": "/lib", "lib64": "/lib64", "run": "/run/openvswitch"} {
			source := path
			if name != "run" {
				source = strings.Replace("/usr"+path, "/usr/usr", "/usr", 1)
			}
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: source}}})
			target := path
			if name == "run" {
				target = "/var/run/openvswitch"
			}
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: target})
		}
	})
	in.create(tools)
	defer in.delete("tools")
	in.ready("tools")
	out, code := k.run("--access", "pods", "vsctl", node, "--", "list-br")
	if code != 0 || strings.TrimSpace(out) != names.ExternalBridge+"\n"+names.IntegrationBridge {
		k.Errorf("bridges of %s, by way of a pod (exit code %d): %q", node, code, out)
	}
	if _, code := k.run("--access", "pods", "vsctl", node, "--", "br-exists", "nosuch"); code != 2 {
		k.Errorf("exit code %d of br-exists in a pod, want ovs-vsctl's own, 2", code)
	}
}

// status tells what is wrong by its exit code, and by name.
func (k kubectlOVN) status(node string) {
	k.Helper()
	if out, code := k.run("status", "--wait", "--timeout", "2m"); code != 0 {
		k.Errorf("exit code %d:\n%s", code, out)
	}
	for _, c := range []struct {
		component, machine string
		code               int
		says               string
	}{
		{plan.OVNController, node, 2, node + ": ovn-controller is"},
		{plan.Northd, plan.ControlPlane, 3, "northd"},
	} {
		start := k.stopped(c.component, c.machine)
		k.eventually(func() error { // A busy machine's others may be late, too, for a while.
			if out, code := k.run("status"); code != c.code || !strings.Contains(out, c.says) {
				return fmt.Errorf("without %s on %s: exit code %d, want %d and %q:\n%s", c.component, c.machine, code, c.code, c.says, out)
			}
			return nil
		})
		start()
		if out, code := k.run("status", "--wait", "--timeout", "2m", "--verbose"); code != 0 {
			k.Errorf("with %s on %s again: exit code %d:\n%s", c.component, c.machine, code, out)
		}
	}
}
