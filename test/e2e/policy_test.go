//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy/oracle"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy/oracle/policygen"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// testPolicies holds real packets against the oracle: who reaches whom at which port, as policies, pods and labels come and go.
func testPolicies(e *env) {
	c := newPolicyLab(e)
	runParts(e, func(e *env) policyLab { c.env = e; return c }, []part[policyLab]{
		{"Recipes", policyLab.recipes},
		{"Itself", policyLab.itself},
		{"UnderTraffic", policyLab.underTraffic},
		{"Established", policyLab.established},
		{"Latency", policyLab.latency},
		{"Probes", policyLab.probes},
		{"Churn", policyLab.churn},
	})
}

// testPoliciesBriefly is for labs in which policies as such are not in question.
func testPoliciesBriefly(e *env) {
	c := newPolicyLab(e)
	runParts(e, func(e *env) policyLab { c.env = e; return c }, []part[policyLab]{
		{"Itself", policyLab.itself},
		{"Established", policyLab.established},
	})
}

// newPolicyLab starts who talks to whom.
func newPolicyLab(e *env) policyLab {
	e.Helper()
	second := &env{T: e.T, lab: e.lab, ctx: e.ctx}
	second.makeNamespace("policies-other")
	c := policyLab{env: e, other: second.ns, policies: map[string]*networkingv1.NetworkPolicy{}}
	c.label("namespaces", "", e.ns, `{"team":"blue"}`)
	c.label("namespaces", "", second.ns, `{"team":"red"}`)
	near, far := e.Nodes()[0], e.Nodes()[1]
	tcpPort := func(name string, n int32) corev1.ContainerPort {
		return corev1.ContainerPort{Name: name, ContainerPort: n}
	}
	c.ends = append(c.podEnds(e.ns,
		policyPod(e.ns, "web", near, "web", tcpPort("http", 80), tcpPort("admin", 81)),
		policyPod(e.ns, "web2", far, "web", tcpPort("http", 8080)),
		policyPod(e.ns, "db", far, "db", corev1.ContainerPort{Name: "http", ContainerPort: 80, Protocol: corev1.ProtocolUDP}),
	), c.podEnds(second.ns,
		policyPod(second.ns, "client", near, "client"),
		newPod(second.ns, "host", onNode(far), pausing, func(p *corev1.Pod) { p.Spec.HostNetwork, p.Labels["app"] = true, "client" }),
	)...)
	c.ends = append(c.ends, c.machineEnds()...)
	for _, p := range c.ends {
		if p.own || p.pod == "" { // The pod in the host's network is served by its node.
			c.serve(p)
		}
	}
	c.services = append(c.services, policyService{c.service("web", func(s *corev1.Service) {
		s.Spec.Selector = map[string]string{"app": "db"}
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].TargetPort = intstr.FromInt32(81)
		}
	}), oracle.Key(e.ns, "db"), 81})
	return c
}

// recipes are policies of the first namespace. OUT4, OUT6 is the host outside; WEB4, WEB6 is a pod.
var recipes = []struct {
	name  string
	specs []string
}{
	{"nothing", nil},
	{"default deny ingress", []string{`{podSelector: {}, policyTypes: [Ingress]}`}},
	{"default deny egress", []string{`{podSelector: {}, policyTypes: [Egress]}`}},
	{"default deny, allow the own namespace", []string{
		`{podSelector: {}, policyTypes: [Ingress, Egress]}`,
		`{podSelector: {}, ingress: [{from: [{podSelector: {}}]}], egress: [{to: [{podSelector: {}}]}]}`,
	}},
	{"from a namespace", []string{`{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: red}}}]}]}`}},
	{"from pods of a namespace, and from pods of the own", []string{`{podSelector: {matchLabels: {app: web}}, ingress: [{from: [
		{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [blue]}]}, podSelector: {matchLabels: {app: client}}}, {podSelector: {matchLabels: {app: db}}}],
		ports: [{port: 80}, {port: 81, protocol: UDP}]}]}`}},
	{"a name with a number of its own on each pod", []string{`{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{ports: [{port: http}, {port: http, protocol: UDP}]}],
		egress: [{to: [{podSelector: {}}], ports: [{port: http}]}]}`}},
	{"a name that nobody has", []string{`{podSelector: {}, ingress: [{ports: [{port: nosuch}]}]}`}},
	{"a range", []string{`{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{ports: [{port: 80, endPort: 81}]}], egress: [{ports: [{port: 81, endPort: 9000, protocol: UDP}]}]}`}},
	{"blocks with exceptions", []string{`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [OUT4/32, WEB4/32]}}, {ipBlock: {cidr: "::/0", except: [OUT6/128, WEB6/128]}}]}]}`,
		`{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: WEB4/32}}, {ipBlock: {cidr: WEB6/128}}]}]}`}},
	{"outside only", []string{`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: OUT4/32}}, {ipBlock: {cidr: OUT6/128}}], ports: [{port: 8080}]}]}`}},
	// Judged by the endpoint's port, not by the service's, and by the endpoint's labels.
	{"egress to a service", []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 81}, {port: 80, protocol: UDP}]}]}`}},
	{"a union", []string{
		`{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 80}]}]}`,
		`{podSelector: {matchExpressions: [{key: app, operator: In, values: [web]}]}, ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 81}]}]}`,
		`{podSelector: {}, policyTypes: [Egress], egress: [{}]}`,
	}},
}

// policy reads a spec, with addresses in it.
func (c policyLab) policy(name, spec string) *networkingv1.NetworkPolicy {
	c.Helper()
	outside, web := c.machine(plan.Outside), c.ends[0].Place
	text := func(p traffic.Place, is4 bool, otherwise string) string {
		if a := p.Address(is4); a.IsValid() {
			return a.String()
		}
		return otherwise
	}
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: c.ns, Name: name}}
	full := strings.NewReplacer("OUT4", text(outside, true, "203.0.113.9"), "OUT6", text(outside, false, "2001:db8:9::9"),
		"WEB4", text(web, true, "203.0.113.8"), "WEB6", text(web, false, "2001:db8:9::8")).Replace(spec)
	c.must(yaml.UnmarshalStrict([]byte(full), &p.Spec))
	return p
}

func (c policyLab) policiesOf(specs ...string) []*networkingv1.NetworkPolicy {
	c.Helper()
	var out []*networkingv1.NetworkPolicy
	for i, s := range specs {
		out = append(out, c.policy(fmt.Sprint("p", i), s))
	}
	return out
}

func (c policyLab) recipes() {
	for _, r := range recipes {
		c.apply(c.policiesOf(r.specs...)...)
		c.matrix(r.name)
	}
	c.apply(c.policiesOf(`{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: red}}, podSelector: {matchLabels: {role: friend}}}]}]}`)...)
	c.matrix("before labels change")
	c.label("pods", c.other, "client", `{"role":"friend"}`)
	c.matrix("a pod has got a label")
	c.label("namespaces", "", c.other, `{"team":"green"}`)
	c.matrix("its namespace has got another one")
	c.label("namespaces", "", c.other, `{"team":"red"}`)
	c.matrix("its namespace has its former label again")
	c.label("pods", c.ns, "web", `{"app":"former"}`)
	c.matrix("a pod is no longer selected")
	c.label("pods", c.ns, "web", `{"app":"web"}`)
	c.apply()
	c.matrix("no policy again")
}

// label changes labels of a pod or namespace.
func (c policyLab) label(kind, namespace, name, labels string) {
	c.Helper()
	patch := []byte(`{"metadata":{"labels":` + labels + `}}`)
	request := c.client.CoreV1().RESTClient().Patch(types.MergePatchType).Resource(kind).Name(name).Body(patch)
	if namespace != "" {
		request = request.Namespace(namespace)
	}
	c.must(request.Do(c.ctx).Error())
}

// itself: a pod that may neither send nor receive reaches itself through its service.
func (c policyLab) itself() {
	c.apply(c.policiesOf(`{podSelector: {}, policyTypes: [Ingress, Egress]}`)...)
	c.matrix("default deny of both directions")
	s := c.services[0]
	for _, p := range c.ends {
		if p.pod == s.backend {
			c.eachProtocol(s.Service, func(at netip.AddrPort, proto string) { c.mustEcho(p.Place, proto, at) })
		}
	}
	c.none()
}

// none ends a part as the next one begins: without policies, and without what is left of them.
func (c policyLab) none() {
	c.Helper()
	c.apply()
	c.matrix("no policy")
}

// mustEcho wants an answer, within some tries.
func (c policyLab) mustEcho(from traffic.Place, proto string, at netip.AddrPort) {
	c.Helper()
	c.settled(func() error { return c.echo(from, proto, at, time.Second) })
}

// probes: the kubelet reaches pods that nobody else reaches, from their start on.
func (c policyLab) probes() {
	c.apply(c.policiesOf(`{podSelector: {}, policyTypes: [Ingress, Egress]}`)...)
	c.create(newPod(c.ns, "probed", onNode(c.Nodes()[0]), probed(httpProbe("/hostname"), httpProbe("/hostname"))))
	took := c.ready("probed")
	time.Sleep(5 * time.Second) // Probes ask every second, and may fail once.
	if missing := c.notReady([]string{"probed"}); missing != "" {
		c.Error(missing)
	}
	if n := c.restartsOf("probed"); n > 0 {
		c.Errorf("the container was restarted %d times", n)
	}
	c.measured("a pod with probes under default deny is ready after %v", took.Round(time.Millisecond))
	c.none()
	c.delete("probed")
}

// churn: policies, labels and pods change together, and the master is killed meanwhile. What is left is as the oracle says.
func (c policyLab) churn() {
	seed := rand.IntN(1 << 20)
	c.measured("churn of policies and pods, seed %d", seed)
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	var blocks []netip.Prefix
	for _, p := range c.ends {
		for _, a := range p.Addresses {
			blocks = append(blocks, netip.PrefixFrom(a, a.BitLen()))
			blocks = append(blocks, netip.PrefixFrom(a, a.BitLen()/2).Masked())
		}
	}
	namespaces := []string{c.ns, c.other}
	const rounds, size = 30, 4
	began := time.Now()
	for i := range rounds {
		namespace := namespaces[r.IntN(2)]
		c.put(policygen.Policy(namespace, fmt.Sprint("q", r.IntN(6)), blocks).Example(seed + i))
		if i%4 == 3 {
			if keys := slices.Sorted(maps.Keys(c.policies)); len(keys) > 0 {
				c.drop(keys[r.IntN(len(keys))])
			}
		}
		// Pods that come and go without anybody waiting for them.
		name := fmt.Sprint("churn-", i%size)
		p := newPod(namespace, fmt.Sprint(name, "-", i), onNode(c.Nodes()[r.IntN(2)]), pausing)
		p.Labels = policygen.Labels().Example(seed + i)
		c.create(p)
		if i >= size {
			c.deleteChurned(namespaces, i-size)
		}
		if i == rounds/2 && c.Install() == plan.InstallProcess {
			c.kill(plan.Master, plan.ControlPlane)
		}
		c.label("pods", c.ns, "web", fmt.Sprintf(`{"app":%q,"tier":%q}`, []string{"web", "db"}[r.IntN(2)], []string{"web", "db"}[r.IntN(2)]))
	}
	for i := rounds - size; i < rounds; i++ {
		c.deleteChurned(namespaces, i)
	}
	c.measured("%d rounds of churn took %v; %d policies are left", rounds, time.Since(began).Round(time.Millisecond), len(c.policies))
	c.masterReady()
	c.matrix("after churn")
	c.label("pods", c.ns, "web", `{"app":"web","tier":null}`)
	c.apply()
	c.matrix("after the last policy")
}

// deleteChurned deletes the i-th pod of a churn, by force, once it is ready: a pod that goes before is an error in the agent's log.
func (c policyLab) deleteChurned(namespaces []string, i int) {
	c.Helper()
	now, name := int64(0), fmt.Sprint("churn-", i%4, "-", i)
	for _, n := range namespaces {
		if c.seen.pod(n, name) != nil {
			(&env{T: c.T, lab: c.lab, ctx: c.ctx, ns: n}).ready(name)
			c.must(c.client.CoreV1().Pods(n).Delete(c.ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
		}
	}
}
