//go:build integration

package master

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy/oracle"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy/oracle/policygen"
)

// tracedWorld is a cluster of two nodes whose master works on real databases with ovn-northd, beside an oracle that is told the same.
type tracedWorld struct {
	*live
	oracle.Cluster
	tracer *ovsdbtest.Tracer
	pools  []netip.Prefix
	// balanced are services: what they are connected to at which port.
	balanced map[string]backend
	// compared counts flows and allowed ones of them, states the clusters they were compared in.
	compared, allowed, states int
}

// backend is the only endpoint of a service.
type backend struct {
	pod      string
	protocol corev1.Protocol
	port     uint16
}

var (
	policyNodes      = []string{"n1", "n2"}
	policyNamespaces = []string{"a", "b", "c"}
	// Most things are in the first namespace, so that policies meet.
	homes            = []string{"a", "a", "b", "c"}
	podNames         = []string{"p1", "p2", "p3", "p4", "p5"}
	policyNames      = []string{"q1", "q2", "q3", "q4"}
	outsideAddresses = []netip.Addr{
		netip.MustParseAddr("192.0.2.200"), netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:9::9"),
	}
)

func newTracedWorld(t *testing.T, pools ...string) *tracedWorld {
	l := &live{t: t, nb: ovsdbtest.Start(t, ovsdbtest.NB()), sb: ovsdbtest.Start(t, ovsdbtest.SB())}
	l.harness = newHarness(t, pools...)
	ovsdbtest.StartNorthd(t, l.nb, l.sb)
	w := &tracedWorld{live: l, tracer: ovsdbtest.NewTracer(t, l.sb), balanced: map[string]backend{}}
	w.Namespaces, w.Pods, w.Policies = map[string]*corev1.Namespace{}, map[string]*corev1.Pod{}, map[string]*networkingv1.NetworkPolicy{}
	for _, p := range l.pools {
		w.pools = append(w.pools, p.Prefix)
	}
	for i, node := range policyNodes {
		l.sb.Ctl("chassis-add", "id-"+node, "geneve", fmt.Sprintf("192.0.2.%d", i+1), "--", "set", "Chassis", "id-"+node, "hostname="+node,
			"other_config:ct-no-masked-label=true", "other_config:ovn-ct-lb-related=true")
		var hosts []string
		for _, a := range w.hostAddresses(node) {
			hosts = append(hosts, fmt.Sprintf("%q", netip.PrefixFrom(a, map[bool]int{true: 24, false: 64}[a.Is4()])))
		}
		l.addNode(node)
		l.annotateNode(node, map[string]string{names.NodeChassisIDAnnotation: "id-" + node, names.HostCIDRsAnnotation: "[" + strings.Join(hosts, ",") + "]"})
	}
	l.run()
	l.await("nodes are connected", func() bool {
		return l.quiet() && strings.Count(l.nb.Ctl("ls-list"), "(n") == len(policyNodes)
	})
	return w
}

// hostAddresses are a node's own in the families of the cluster.
func (w *tracedWorld) hostAddresses(node string) []netip.Addr {
	all := []netip.Addr{netip.MustParseAddr("172.18.0.1" + node[1:]), netip.MustParseAddr("fd00:172:18::1" + node[1:])}
	return slices.DeleteFunc(all, func(a netip.Addr) bool { return !w.serves(a) })
}

// serves tells whether the cluster has the family of a.
func (w *tracedWorld) serves(a netip.Addr) bool {
	_, ok := addr.Pick(w.pools, a, netip.Prefix.Addr)
	return ok
}

// subnets of a node.
func (w *tracedWorld) subnets(node string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range strings.Fields(w.subnetsOf(node)) {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// blocks is what policies' blocks are drawn from: everything, the pods' own ranges and single addresses, and some of the world.
func (w *tracedWorld) blocks() []netip.Prefix {
	out := []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.0.2.200/32"),
		netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2001:db8::/64"), netip.MustParsePrefix("172.18.0.0/16"), netip.MustParsePrefix("10.128.0.1/15"),
	}
	out = append(out, w.pools...)
	for _, node := range policyNodes {
		for _, s := range w.subnets(node) {
			out = append(out, s, addr.HostPrefix(addr.Management(s)))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.Pods)) {
		for _, a := range w.addressesOf(w.Pods[key]) {
			out = append(out, addr.HostPrefix(a))
		}
	}
	return out
}

// addressesOf are what others reach a pod by; none while it has none.
func (w *tracedWorld) addressesOf(p *corev1.Pod) []netip.Addr {
	if p.Spec.HostNetwork {
		return w.hostAddresses(p.Spec.NodeName)
	}
	var out []netip.Addr
	for _, a := range w.networkOf(p).Addresses {
		out = append(out, a.Addr())
	}
	return out
}

func (w *tracedWorld) networkOf(p *corev1.Pod) annotations.PodNetwork {
	kept, ok := w.pods.Get(oracle.Key(p.Namespace, p.Name))
	if !ok {
		return annotations.PodNetwork{}
	}
	network, _ := parseNetwork(kept)
	return network
}

// running are the pods that have not finished, on the cluster network or all.
func (w *tracedWorld) running(all bool) []*corev1.Pod {
	var out []*corev1.Pod
	for _, key := range slices.Sorted(maps.Keys(w.Pods)) {
		if p := w.Pods[key]; p.Status.Phase == corev1.PodRunning && (all || !p.Spec.HostNetwork) {
			out = append(out, p)
		}
	}
	return out
}

// What follows changes the API server and the oracle alike.

func (w *tracedWorld) putPod(p *corev1.Pod) {
	key := oracle.Key(p.Namespace, p.Name)
	w.do(func() {
		kept := kube.NewPod(p)
		if old, ok := w.pods.Get(key); ok && old.UID == p.UID {
			kept.Network = old.Network
		}
		w.pods.Put(kept)
	})
	w.Pods[key] = p
	if p.Status.Phase == corev1.PodRunning {
		// What is drawn next must not depend on when the master gets to it.
		w.await("pod has addresses", func() bool { return len(w.addressesOf(p)) > 0 })
	}
}

func (w *tracedWorld) removePod(key string) {
	w.do(func() { w.pods.Remove(key) })
	delete(w.Pods, key)
	for name, b := range w.balanced {
		if b.pod == key {
			w.removeService(name)
		}
	}
}

func (w *tracedWorld) putNamespace(n *corev1.Namespace) {
	w.do(func() { w.namespaces.Put(kube.NewNamespace(n)) })
	w.Namespaces[n.Name] = n
}

func (w *tracedWorld) putPolicy(p *networkingv1.NetworkPolicy) {
	if old := w.Policies[oracle.Key(p.Namespace, p.Name)]; old != nil {
		p.UID = old.UID
	} else {
		p.UID = w.nextUID()
	}
	w.do(func() { w.policies.Put(kube.NewNetworkPolicy(p)) })
	w.Policies[oracle.Key(p.Namespace, p.Name)] = p
}

func (w *tracedWorld) removePolicy(key string) {
	w.do(func() { w.policies.Remove(key) })
	delete(w.Policies, key)
}

// putService makes a service in front of one pod.
func (w *tracedWorld) putService(name string, number int, b backend) {
	svc := &kube.Service{Namespace: "a", Name: name, UID: w.nextUID()}
	svc.Ports = []kube.ServicePort{{Protocol: b.protocol, Port: 80}}
	w.do(func() {
		for _, a := range w.addressesOf(w.Pods[b.pod]) {
			svc.ClusterIPs = append(svc.ClusterIPs, serviceAddress(number, a.Is4()))
			w.endpointSlices.Put(&kube.EndpointSlice{
				Namespace: "a", Name: fmt.Sprint(name, "-", a.Is4()), Service: name, Ports: []kube.EndpointPort{{Protocol: b.protocol, Port: b.port}},
				Endpoints: []kube.Endpoint{{Address: a, Ready: true, Serving: true, Node: w.Pods[b.pod].Spec.NodeName}},
			})
		}
		w.services.Put(svc)
	})
	w.balanced[name] = b
}

func serviceAddress(number int, is4 bool) netip.Addr {
	if is4 {
		return netip.MustParseAddr(fmt.Sprintf("172.30.0.%d", number))
	}
	return netip.MustParseAddr(fmt.Sprintf("fd02::%x", number))
}

func (w *tracedWorld) removeService(name string) {
	w.do(func() {
		w.services.Remove("a/" + name)
		for _, is4 := range []bool{true, false} {
			w.endpointSlices.Remove(fmt.Sprint("a/", name, "-", is4))
		}
	})
	delete(w.balanced, name)
}

// clear removes everything but the nodes.
func (w *tracedWorld) clear() {
	for key := range maps.Clone(w.Policies) {
		w.removePolicy(key)
	}
	for key := range maps.Clone(w.Pods) {
		w.removePod(key)
	}
	for name := range w.Namespaces {
		w.do(func() { w.namespaces.Remove(name) })
	}
	clear(w.Namespaces)
}

// changes are what can happen to a cluster.
func (w *tracedWorld) changes() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"put policy": w.somePolicy, "put another policy": w.somePolicy,
		"remove policy": func(t *rapid.T) {
			if key, ok := pick(t, w.Policies); ok {
				w.removePolicy(key)
			}
		},
		"put pod": w.somePod, "label pod": w.labelPod, "finish pod": w.finishPod,
		"remove pod": func(t *rapid.T) {
			if key, ok := pick(t, w.Pods); ok {
				w.removePod(key)
			}
		},
		"label namespace": func(t *rapid.T) {
			w.putNamespace(policygen.Namespace(rapid.SampledFrom(policyNamespaces).Draw(t, "namespace")).Draw(t, "labels"))
		},
		"put service": w.someService,
		"restart":     func(*rapid.T) { w.stop(); w.run() },
	}
}

func pick[T any](t *rapid.T, of map[string]T) (string, bool) {
	if len(of) == 0 {
		return "", false
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(of))).Draw(t, "object"), true
}

func (w *tracedWorld) somePolicy(t *rapid.T) {
	namespace, name := rapid.SampledFrom(homes).Draw(t, "namespace"), rapid.SampledFrom(policyNames).Draw(t, "name")
	w.putPolicy(policygen.Policy(namespace, name, w.blocks()).Draw(t, "policy"))
}

// somePod is a new one, which may take the place of one of the same name.
func (w *tracedWorld) somePod(t *rapid.T) {
	namespace, name := rapid.SampledFrom(homes).Draw(t, "namespace"), rapid.SampledFrom(podNames).Draw(t, "name")
	p := policygen.Pod(namespace, name, policyNodes).Draw(t, "pod")
	w.removePod(oracle.Key(namespace, name))
	p.UID, p.CreationTimestamp = w.nextUID(), metav1.NewTime(w.clock)
	w.putPod(p)
}

func (w *tracedWorld) labelPod(t *rapid.T) {
	if key, ok := pick(t, w.Pods); ok {
		p := w.Pods[key].DeepCopy()
		p.Labels = policygen.Labels().Draw(t, "labels")
		w.putPod(p)
	}
}

func (w *tracedWorld) finishPod(t *rapid.T) {
	if key, ok := pick(t, w.Pods); ok {
		p := w.Pods[key].DeepCopy()
		p.Status.Phase = corev1.PodSucceeded
		w.removePod(key)
		w.putPod(p)
	}
}

func (w *tracedWorld) someService(t *rapid.T) {
	running := w.running(false)
	if len(running) == 0 {
		return
	}
	p := rapid.SampledFrom(running).Draw(t, "backend")
	number := rapid.IntRange(1, 2).Draw(t, "service")
	name := fmt.Sprint("s", number)
	w.removeService(name)
	w.putService(name, number, backend{oracle.Key(p.Namespace, p.Name), policygen.Protocol().Draw(t, "protocol"), policygen.Port().Draw(t, "port")})
}

// logicalFlows counts what ovn-northd has made of everything.
func (w *tracedWorld) logicalFlows() int {
	w.await("pods are served", func() bool { return w.quiet() && w.ports() == len(w.running(false)) })
	w.nb.Ctl("--wait=sb", "sync")
	return strings.Count(w.sb.Ctl("--bare", "--columns=pipeline", "list", "Logical_Flow"), "gress")
}

// What policies cost ovn-northd and all nodes: a few logical flows each, and none for each pod that they select or name.
func TestLogicalFlowsOfPolicies(t *testing.T) {
	w := newTracedWorld(t, "10.128.0.0/14/23", "fd01::/48/64")
	tcp, number := corev1.ProtocolTCP, intstr.FromInt32(8080)
	all := []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}
	ports := []networkingv1.NetworkPolicyPort{{Protocol: &tcp, Port: &number}}
	pods := 0
	addPods := func(n int) int {
		before := w.logicalFlows()
		for range n {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: fmt.Sprint("p", pods), UID: w.nextUID(), Labels: map[string]string{"app": "web"}}}
			p.Spec.NodeName, p.Status.Phase = policyNodes[pods%len(policyNodes)], corev1.PodRunning
			w.putPod(p)
			pods++
		}
		return w.logicalFlows() - before
	}
	addPods(1)
	const n = 10
	without, before := addPods(n), w.logicalFlows()
	for i := range n {
		p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: fmt.Sprint("q", i)}}
		p.Spec.PodSelector = metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{fmt.Sprint(i)}},
		}}
		p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
		p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: all, Ports: ports}}
		p.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{To: all, Ports: ports}}
		w.putPolicy(p)
	}
	policies := w.logicalFlows() - before
	t.Logf("%d policies for ingress and egress, one rule each, on the switches of %d nodes: %d logical flows (%.1f a policy)", n, len(policyNodes), policies, float64(policies)/n)
	if with := addPods(n); with != without {
		t.Errorf("%d pods cost %d logical flows with policies, %d without", n, with, without)
	}
}
