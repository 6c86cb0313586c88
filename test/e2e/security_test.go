//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// testSecurity takes the credentials of components and tries what they must not be good for.
func testSecurity(e *env) {
	nodes := e.Nodes()
	e.start("victim", onNode(nodes[0]))
	e.part("StolenAgentCertificate", func(e *env) {
		e.checkAgent(e.as(nodes[0], "ovnkube-node"), nodes[0], nodes[1])
	})
	e.part("StolenAgentToken", func(e *env) {
		e.checkAgent(e.withToken(nodes[0]), nodes[0], nodes[1])
	})
	e.part("StolenKubeletCertificate", func(e *env) { e.checkKubelet(nodes[0]) })
	e.part("Master", testMasterRights)
	e.part("Certificates", testCertificateRequests)
	e.part("ManyRequests", testManyRequests)
	e.part("Southbound", testSouthboundAccess)
	e.part("Rotation", testRotation)
}

// as is a client with the credentials that a component finds on a machine.
func (e *env) as(machine, component string) kubernetes.Interface {
	e.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", e.path(machine, "/etc/kubernetes/"+component+".kubeconfig"))
	e.must(err)
	return e.clientOf(config)
}

func (e *env) clientOf(config *rest.Config) kubernetes.Interface {
	e.Helper()
	reachable, err := e.RESTConfig()
	e.must(err)
	config.Host, config.Dial, config.QPS = reachable.Host, reachable.Dial, -1
	client, err := kubernetes.NewForConfig(config)
	e.must(err)
	return client
}

// withToken is a client with the token that an agent in a pod on the node has.
func (e *env) withToken(node string) kubernetes.Interface {
	e.Helper()
	pod := newPod(names.Namespace, "agent", onNode(node), hostNetwork)
	pod.Spec.ServiceAccountName = "ovnkube-node"
	created, err := e.client.CoreV1().Pods(names.Namespace).Create(e.ctx, pod, metav1.CreateOptions{})
	e.must(err)
	e.Cleanup(func() {
		zero := int64(0)
		_ = e.client.CoreV1().Pods(names.Namespace).Delete(context.WithoutCancel(e.ctx), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero})
	})
	token, err := e.client.CoreV1().ServiceAccounts(names.Namespace).CreateToken(e.ctx, "ovnkube-node", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{
			Kind: "Pod", APIVersion: "v1", Name: created.Name, UID: created.UID,
		}},
	}, metav1.CreateOptions{})
	e.must(err)
	config, err := e.RESTConfig()
	e.must(err)
	config = rest.AnonymousClientConfig(config)
	config.BearerToken = token.Status.Token
	return e.clientOf(config)
}

// attempt is something that a credential is tried on.
type attempt struct {
	what    string
	allowed bool
	do      func() error
}

func (e *env) try(list []attempt) {
	e.Helper()
	for _, a := range list {
		err := a.do()
		switch {
		case a.allowed && err != nil:
			e.Errorf("%s is refused: %v", a.what, err)
		case !a.allowed && err == nil:
			e.Errorf("%s is allowed", a.what)
		case !a.allowed && !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err):
			e.Errorf("%s fails for another reason than rights: %v", a.what, err)
		}
	}
}

// patch changes an object's metadata without effect: all judge it, nothing is stored.
func (e *env) patch(c kubernetes.Interface, resource, namespace, name, sub string, metadata map[string]any) error {
	body, err := json.Marshal(map[string]any{"metadata": metadata})
	e.must(err)
	return c.CoreV1().RESTClient().Patch(types.MergePatchType).NamespaceIfScoped(namespace, namespace != "").
		Resource(resource).Name(name).SubResource(sub).Param("dryRun", "All").Body(body).Do(e.ctx).Error()
}

func annotation(key string, value any) map[string]any {
	return map[string]any{"annotations": map[string]any{key: value}}
}

// checkAgent: an agent's credentials are good for what it says of its own Node.
func (e *env) checkAgent(c kubernetes.Interface, own, other string) {
	e.Helper()
	node := func(name string, metadata map[string]any) func() error {
		return func() error { return e.patch(c, "nodes", "", name, "status", metadata) }
	}
	pod := func(sub string) func() error {
		return func() error {
			return e.patch(c, "pods", e.ns, "victim", sub, annotation(names.PodNetworksAnnotation, "{}"))
		}
	}
	e.try([]attempt{
		{"own Node, an annotation of the agent", true, node(own, annotation(names.HostCIDRsAnnotation, `["192.0.2.1/24"]`))},
		{"own Node, the master's annotation", false, node(own, annotation(names.NodeSubnetsAnnotation, `{"default":["192.0.2.0/24"]}`))},
		{"own Node, the master's annotation removed", false, node(own, annotation(names.NodeSubnetsAnnotation, nil))},
		{"own Node, somebody else's annotation", false, node(own, annotation("example.com/a", "b"))},
		{"own Node, another chassis", false, node(own, annotation(names.NodeChassisIDAnnotation, e.systemID(other)))},
		{"own Node, no chassis", false, node(own, annotation(names.NodeChassisIDAnnotation, nil))},
		{"own Node, the chassis it has a certificate for", false, node(own, annotation(names.NodeCertifiedChassisAnnotation, e.systemID(other)))},
		{"own Node, a label", false, node(own, map[string]any{"labels": map[string]any{"a": "b"}})},
		{"another Node", false, node(other, annotation(names.HostCIDRsAnnotation, `["192.0.2.1/24"]`))},
		{"a Node's specification", false, func() error {
			return e.patch(c, "nodes", "", own, "", annotation(names.HostCIDRsAnnotation, `["192.0.2.1/24"]`))
		}},
		{"own Node's conditions", false, func() error {
			body := []byte(`{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`)
			return c.CoreV1().RESTClient().Patch(types.StrategicMergePatchType).Resource("nodes").Name(own).SubResource("status").
				Param("dryRun", "All").Body(body).Do(e.ctx).Error()
		}},
		{"a pod's annotation", false, pod("")},
		{"a pod's annotation, with its status", false, pod("status")},
		{"secrets", false, func() error { return secrets(e.ctx, c, "") }},
		{"the authorities' keys", false, func() error { return secret(e.ctx, c, names.Namespace, names.Authorities) }},
	})
}

func secrets(ctx context.Context, c kubernetes.Interface, namespace string) error {
	_, err := c.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{})
	return err
}

func secret(ctx context.Context, c kubernetes.Interface, namespace, name string) error {
	_, err := c.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	return err
}

// checkKubelet: kubelet may say much of its Node and its pods, but not where pods are.
func (e *env) checkKubelet(node string) {
	c := e.as(node, "kubelet")
	e.try([]attempt{
		{"own Node, an annotation of kubelet's", true, func() error {
			return e.patch(c, "nodes", "", node, "", annotation("volumes.kubernetes.io/a", "b"))
		}},
		{"own Node, subnets", false, func() error {
			return e.patch(c, "nodes", "", node, "", annotation(names.NodeSubnetsAnnotation, `{"default":["192.0.2.0/24"]}`))
		}},
		{"own Node, subnets, with the status", false, func() error {
			return e.patch(c, "nodes", "", node, "status", annotation(names.NodeSubnetsAnnotation, nil))
		}},
		{"a pod's addresses", false, func() error {
			return e.patch(c, "pods", e.ns, "victim", "status", annotation(names.PodNetworksAnnotation, "{}"))
		}},
	})
}

func testMasterRights(e *env) {
	c := e.as(plan.ControlPlane, "ovnkube-master")
	e.try([]attempt{
		{"a Node's annotation", true, func() error {
			return e.patch(c, "nodes", "", e.Nodes()[0], "status", annotation(names.NodeIDAnnotation, "9"))
		}},
		{"the authorities' keys", true, func() error { return secret(e.ctx, c, names.Namespace, names.Authorities) }},
		{"all secrets", false, func() error { return secrets(e.ctx, c, "") }},
		{"its own namespace's secrets", false, func() error { return secrets(e.ctx, c, names.Namespace) }},
		{"one other secret", false, func() error { return secret(e.ctx, c, names.Namespace, "other") }},
		{"a new secret", false, func() error {
			_, err := c.CoreV1().Secrets(names.Namespace).Create(e.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "other"}}, metav1.CreateOptions{})
			return err
		}},
		{"a Node's specification", false, func() error {
			return e.patch(c, "nodes", "", e.Nodes()[0], "", annotation(names.NodeIDAnnotation, "9"))
		}},
		{"a pod's specification", false, func() error { return e.patch(c, "pods", e.ns, "victim", "", annotation("a", "b")) }},
	})
}

func (e *env) systemID(node string) string {
	e.Helper()
	return strings.Trim(e.on(node, "ovs-vsctl", "get", "Open_vSwitch", ".", "external_ids:"+names.OVSSystemID), `"`)
}

// transact sends a transaction to the southbound database over TLS, from a machine.
func (e *env) transact(machine string, operation string, flags ...string) (string, error) {
	argv := append([]string{"timeout", "10", "ovsdb-client"}, flags...)
	argv = append(argv, "transact", e.Southbound(), `["OVN_Southbound", `+operation+`]`)
	return e.Exec(e.ctx, machine, argv...)
}

const pkiDir = names.CertificateDir + "/"

func nodeFlags() []string {
	pair := pkiDir + names.NodeCertificateFile
	return []string{"--private-key=" + pair, "--certificate=" + pair, "--ca-cert=" + pkiDir + names.ServerCAFile}
}

// testSouthboundAccess: who has a node's certificate may do what its ovn-controller does, and only for its chassis.
func testSouthboundAccess(e *env) {
	own, other := e.Nodes()[0], e.Nodes()[1]
	update := func(table, column, value, row string) string {
		return fmt.Sprintf(`{"op": "update", "table": %q, "row": {%q: %s}, "where": [%s]}`, table, column, value, row)
	}
	named := func(node string) string { return fmt.Sprintf(`["name", "==", %q]`, e.systemID(node)) }
	marked := `["map", [["e2e", "was here"]]]`
	for _, c := range []struct {
		what, operation string
		allowed         bool
	}{
		{"read", `{"op": "select", "table": "Chassis", "where": [], "columns": ["name"]}`, true},
		{"its own chassis", update("Chassis_Private", "external_ids", marked, named(own)), true},
		{"another chassis", update("Chassis", "external_ids", marked, named(other)), false},
		{"another private chassis", update("Chassis_Private", "external_ids", marked, named(other)), false},
		{"a chassis of another name", `{"op": "insert", "table": "Chassis", "row": {"name": "intruder", "encaps": ["named-uuid", "x"]}},
			{"op": "insert", "table": "Encap", "uuid-name": "x", "row": {"type": "geneve", "ip": "192.0.2.1", "chassis_name": "intruder"}}`, false},
		{"removal of a chassis", fmt.Sprintf(`{"op": "delete", "table": "Chassis", "where": [%s]}`, named(other)), false},
		{"another's tunnels", update("Encap", "ip", `"192.0.2.1"`, fmt.Sprintf(`["chassis_name", "==", %q]`, e.systemID(other))), false},
		{"logical flows", `{"op": "delete", "table": "Logical_Flow", "where": []}`, false},
		{"the access rules", update("Connection", "role", `""`, ""), false},
	} {
		out, err := e.transact(own, c.operation, nodeFlags()...)
		if err != nil {
			e.Errorf("%s: %v", c.what, err)
		} else if refused := strings.Contains(out, "permission error"); refused == c.allowed {
			e.Errorf("%s: refused %t, want %t: %s", c.what, refused, !c.allowed, out)
		}
	}
	e.checkStrangers(own)
}

// checkStrangers: without a certificate of this cluster there is no connection at all.
func (e *env) checkStrangers(node string) {
	e.Helper()
	const read = `{"op": "select", "table": "SB_Global", "where": []}`
	e.on(node, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
		"-subj", "/CN="+e.systemID(node), "-keyout", "/tmp/self.key", "-out", "/tmp/self.crt")
	e.on(node, "cp", "/etc/kubernetes/pki/kubelet.key", "/etc/kubernetes/pki/kubelet.crt", "/tmp/") // Open vSwitch's tools may run in a root of their own
	for what, flags := range map[string][]string{
		"a certificate signed by itself": {"--private-key=/tmp/self.key", "--certificate=/tmp/self.crt", "--ca-cert=" + pkiDir + names.ServerCAFile},
		"kubelet's certificate":          {"--private-key=/tmp/kubelet.key", "--certificate=/tmp/kubelet.crt", "--ca-cert=" + pkiDir + names.ServerCAFile},
	} {
		if out, err := e.transact(node, read, flags...); err == nil {
			e.Errorf("%s is good for a connection: %s", what, out)
		}
	}
	remotes := []string{strings.Replace(e.Southbound(), "ssl:", "tcp:", 1)}
	for _, address := range e.ControlPlaneListeners() {
		remotes = append(remotes, "tcp:"+address, "ssl:"+address)
	}
	for _, remote := range remotes {
		argv := append([]string{"timeout", "10", "ovsdb-client"}, nodeFlags()...)
		if out, err := e.Exec(e.ctx, node, append(argv, "list-dbs", remote)...); err == nil {
			e.Errorf("%s answers a node: %s", remote, out)
		}
	}
	for _, machine := range append(e.Nodes(), plan.ControlPlane) {
		for line := range strings.Lines(e.on(machine, "stat", "-c", "%a %U %n", pkiDir, pkiDir+map[bool]string{true: names.MasterCertificateFile, false: names.NodeCertificateFile}[machine == plan.ControlPlane])) {
			if !strings.HasPrefix(line, "700 root /etc/ovn/pki/") && !strings.HasPrefix(line, "600 root /etc/ovn/pki/") {
				e.Errorf("%s: %s", machine, line)
			}
		}
	}
}

// southboundConnections is how often a node's ovn-controller has connected to the southbound database.
func (e *env) southboundConnections(node string) int {
	e.Helper()
	log, err := os.ReadFile(e.LogFile(node, plan.OVNController))
	e.must(err)
	return strings.Count(string(log), "|reconnect|INFO|"+e.Southbound()+": connected")
}

// testRotation: a certificate that is missing is replaced, and nobody loses a connection over it.
func testRotation(e *env) {
	node := e.Nodes()[0]
	file := e.path(node, pkiDir+names.NodeCertificateFile)
	before, err := os.ReadFile(file)
	e.must(err)
	connections := func() int { return e.southboundConnections(node) }
	connected := func() error {
		if s := e.on(node, "ovn-appctl", "-t", "ovn-controller", "connection-status"); s != "connected" {
			return fmt.Errorf("ovn-controller is %s", s)
		}
		return nil
	}
	opened := connections()
	e.must(os.Remove(file))
	e.restart(plan.NodeAgent, node)
	e.eventually(func() error {
		now, err := os.ReadFile(file)
		if err == nil && string(now) == string(before) {
			err = fmt.Errorf("the certificate is the old one")
		}
		return err
	})
	e.agentReady(node)
	e.must(connected())
	if now := connections(); now != opened || now == 0 {
		e.Errorf("ovn-controller has connected %d times, %d before", now, opened)
	}
	e.kill(plan.SBDB, plan.ControlPlane)
	// What it says of its connection may be about the one that has just been cut off.
	took := e.eventually(func() error {
		if connections() == opened {
			return errors.New("ovn-controller has not connected again")
		}
		return connected()
	})
	e.measured("ovn-controller is connected to a restarted database, with its new certificate, after %v", took.Round(time.Millisecond))
	e.masterReady()
}
