//go:build integration

package master

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

// newPolicyTest is two nodes with pods a1, b1, a2 and b2 in namespace ns: their label "app" is the letter, the last digit their node's. On a pods the port
// "http" is 80, on b pods 8080.
func newPolicyTest(t *testing.T) *live {
	l := newLive(t)
	ovsdbtest.StartNorthd(t, l.nb, l.sb)
	for i := 1; i <= 2; i++ {
		node := fmt.Sprintf("n%d", i)
		l.sb.Ctl("chassis-add", "id-"+node, "geneve", fmt.Sprintf("192.0.2.%d", i), "--", "set", "Chassis", "id-"+node, "hostname="+node)
		l.addNode(node)
		l.annotateNode(node, map[string]string{
			names.NodeChassisIDAnnotation: "id-" + node,
			names.HostCIDRsAnnotation:     fmt.Sprintf(`["172.18.0.1%d/24","fd00:172:18::1%d/64"]`, i, i),
		})
		for app, port := range map[string]uint16{"a": 80, "b": 8080} {
			name := fmt.Sprint(app, i)
			l.addPod(name, node)
			l.changePod(name, func(p *kube.Pod) {
				p.Labels = map[string]string{"app": app}
				p.Ports = []kube.ContainerPort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: port}}
			})
		}
	}
	l.namespaces.Put(&kube.Namespace{Name: "ns", Labels: map[string]string{"team": "x"}})
	l.run()
	l.await("pods are served", func() bool { return l.ports() == 4 && l.quiet() })
	return l
}

func (l *live) setPolicies(specs ...string) {
	l.t.Helper()
	l.do(func() {
		for _, p := range l.policies.All() {
			l.policies.Remove(p.Key())
		}
		for i, text := range specs {
			p := &kube.NetworkPolicy{Namespace: "ns", Name: fmt.Sprint("p", i), UID: l.nextUID()}
			if err := yaml.UnmarshalStrict([]byte(text), &p.Spec); err != nil {
				l.t.Fatal(err)
			}
			l.policies.Put(p)
		}
	})
	l.await("policies are served", func() bool {
		acls := l.nb.Ctl("--bare", "--columns=external_ids", "list", "ACL")
		for i := range 5 {
			if strings.Contains(acls, fmt.Sprintf("k8s.ovn.org/name=ns/p%d ", i)) && i >= len(specs) {
				return false
			}
		}
		return l.quiet() && l.engine.worker.Len() == 0 && strings.Contains(acls, "owner-type=Isolation") == (len(specs) > 0)
	})
	l.nb.Ctl("--wait=sb", "sync")
}

// Egress is judged on the endpoint, not on the service; neighbours are asked for in spite of isolation.
func TestPoliciesAndServicesTraced(t *testing.T) {
	l := newPolicyTest(t)
	endpoint := strings.Fields(l.address("b2"))[0]
	l.do(func() {
		l.putEndpoints("web", endpoint)
		l.putService("web", "172.30.0.9")
	})
	for policy, want := range map[string]bool{
		// Not by the service's port 80.
		`{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: b}}}], ports: [{port: 8080}]}]}`: true,
		`{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 172.30.0.9/32}}]}]}`:                              false,
		`{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: b}}}], ports: [{port: 80}]}]}`:   false,
	} {
		l.setPolicies(policy)
		trace := l.serve(corev1.ProtocolTCP, "a1", "172.30.0.9")
		if at, _ := outcome(trace); (at == "ns_b2") != want {
			t.Errorf("through the service with %s comes out at %s, want it to pass: %v\n%s", policy, at, want, trace)
		}
	}
	l.setPolicies(`{podSelector: {}, policyTypes: [Ingress, Egress]}`)
	own := strings.Fields(l.address("a1"))[0]
	// A pod reaches itself through a service, for OVN turns packets around before it judges egress.
	flows := l.sb.Ctl("lflow-list", "n1")
	if turn, judge := strings.Index(flows, "(ls_in_hairpin "), strings.Index(flows, "(ls_in_acl_after_lb"); turn < 0 || judge < turn ||
		!strings.Contains(flows, "match=((reg0[6] == 1 || reg0[12] == 1)), action=(eth.dst <-> eth.src; outport = inport; flags.loopback = 1; output;)") {
		t.Errorf("egress is judged before hairpins are turned around, or they are not:\n%s", flows)
	}
	arp := l.inject(fmt.Sprintf(`inport=="ns_a1" && eth.src==%s && eth.dst==ff:ff:ff:ff:ff:ff && arp && arp.op==1 && arp.sha==%[1]s && arp.spa==%s && arp.tpa==10.128.0.1`, l.macOf(own), own))
	if !strings.Contains(arp, "arp.op = 2") {
		t.Errorf("an isolated pod is not told its router's MAC:\n%s", arp)
	}
}

// ACLs lead to the policy and the rule, and log when the namespace wants it.
func TestPolicyRowsForOperators(t *testing.T) {
	l := newPolicyTest(t)
	l.setPolicies(`{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`)
	l.do(func() {
		l.namespaces.Put(&kube.Namespace{Name: "ns", Labels: map[string]string{"team": "x"}, ACLLogging: `{"allow":"info","deny":"alert"}`})
	})
	find := func(what ...string) string {
		return strings.TrimSpace(l.nb.Ctl(append([]string{"--bare", "--columns=action,direction,log,meter,name,priority,severity", "find", "ACL"}, what...)...))
	}
	l.await("logging is on", func() bool {
		return strings.Contains(find("external_ids:k8s.ovn.org/name=ns/p0"), "info") && strings.Contains(find("name=NP\\:ns\\:Ingress"), "alert")
	})
	if got, want := strings.Fields(find("external_ids:k8s.ovn.org/name=ns/p0")), "allow-related to-lport true acl-logging NP:ns:p0:Ingress:0 1001 info"; strings.Join(got, " ") != want {
		t.Errorf("the policy's ACL: %v, want %s", got, want)
	}
	if got := strings.Fields(l.nb.Ctl("--bare", "--columns=fair,unit", "find", "Meter", "name=acl-logging")); strings.Join(got, " ") != "true pktps" {
		t.Errorf("meter: %v", got)
	}
	l.stop()
	before := l.nb.Transactions()
	l.run()
	l.await("the next master is done", l.quiet)
	if after := l.nb.Transactions(); after != before {
		t.Errorf("a restart over unchanged policies made %d transactions", after-before)
	}
}
