//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// neighbours are objects that nobody has done anything to.
type neighbours struct {
	*env
	from, server traffic.Place
	untouched    *corev1.Service
}

// testHostileObjects creates what the API server lets through and no sane person writes. Each does its work or says why not where its author
// looks, and neighbours go on as before.
func testHostileObjects(e *env) {
	e.errorsExpected = true // The agent says of each bad annotation what is wrong with it.
	p := e.startAll(newPod(e.ns, "client", onNode(e.Nodes()[0])), newPod(e.ns, "server", onNode(e.Nodes()[1])))
	n := neighbours{e, p[0], p[1], e.service("server", func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "server"} })}
	for _, step := range []struct {
		name string
		run  func()
	}{{"annotations", n.annotated}, {"long names", n.longNames}, {"labels", n.manyLabels}, {"ports", n.manyPorts}, {"slices", n.slices}} {
		step.run()
		n.goOn(step.name)
	}
	e.checkAddressesUnique()
}

// goOn fails when the neighbours do not reach each other.
func (n neighbours) goOn(after string) {
	n.Helper()
	n.mustReach(n.from, n.server, tcp, httpPort)
	for _, is4 := range n.families() {
		took := n.eventually(func() error {
			_, err := askName(n.ctx, n.from, tcp, port(clusterIP(n.untouched, is4), servicePort))
			return err
		})
		n.measured("after %s: the neighbours' service answers after %v", after, took.Round(time.Millisecond))
	}
}

// annotated pods come with annotations that are not theirs to write.
func (n neighbours) annotated() {
	theft := n.seen.pod(n.ns, "server").Annotations[names.PodNetworksAnnotation]
	deep := strings.Repeat(`{"default":`, 10_000)
	bad := map[string]string{
		"theft": theft, "deep": deep, "types": `{"default":{"ip_addresses":7,"mac_address":[]}}`, "text": "\"", "empty": `{"default":{}}`,
		"outside":   `{"default":{"ip_addresses":["192.0.2.7/24"],"mac_address":"0a:58:c0:00:02:07"}}`,
		"router":    `{"default":{"ip_addresses":["` + n.subnets(n.Nodes()[0])[0].Addr().Next().String() + `/23"],"mac_address":"0a:58:0a:80:00:01"}}`,
		"multicast": `{"default":{"ip_addresses":["224.0.0.5/24"],"mac_address":"ff:ff:ff:ff:ff:ff"}}`,
		"mapped":    `{"default":{"ip_addresses":["::ffff:10.0.0.5/120"],"mac_address":"0a:58:0a:00:00:05"}}`,
		"long":      `{"default":{"ip_addresses":["` + strings.Repeat("1", 200_000) + `"],"mac_address":"0a:58:0a:00:00:05"}}`,
	}
	var pods []*corev1.Pod
	for name, value := range bad {
		pods = append(pods, newPod(n.ns, "annotated-"+name, onNode(n.Nodes()[0]), pausing, func(p *corev1.Pod) {
			p.Annotations = map[string]string{names.PodNetworksAnnotation: value}
		}))
	}
	places := n.startAll(pods...)
	for i, place := range places {
		n.mustReach(n.from, place, icmp, 0)
		value := n.seen.pod(n.ns, pods[i].Name).Annotations[names.PodNetworksAnnotation]
		if value == pods[i].Annotations[names.PodNetworksAnnotation] || len(value) > 1000 {
			n.Errorf("%s keeps its annotation %.200s", pods[i].Name, value)
		}
		n.eventually(func() error {
			told := n.events(pods[i].Name)
			if !slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, "PodNetworkReplaced: ") && len(s) < 1100 }) {
				return fmt.Errorf("%s: its author is not told: %.2000q", pods[i].Name, told)
			}
			return nil
		})
	}
}

// longNames are as long as kubelet takes them: namespace, name and UID are one name of a folder.
func (n neighbours) longNames() {
	namespace := "n" + strings.Repeat("-x", 30) + n.ns[len(n.ns)-2:]
	_, err := n.lab.client.CoreV1().Namespaces().Create(n.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	n.must(err)
	defer func() { n.must(n.lab.client.CoreV1().Namespaces().Delete(n.ctx, namespace, metav1.DeleteOptions{})) }()
	n.until(func() string {
		if _, ok, _ := n.seen.accounts.GetByKey(namespace + "/default"); !ok {
			return "no service account"
		}
		return ""
	})
	pod := newPod(namespace, strings.Repeat("a.b-c", 30)+"x", onNode(n.Nodes()[1]), func(p *corev1.Pod) { p.Labels = nil })
	n.create(pod)
	n.until(func() string {
		if p := n.seen.pod(namespace, pod.Name); p == nil || !isReady(p) {
			return describeNamed(p, pod.Name)
		}
		return ""
	})
	n.mustReach(n.from, n.placesOf(n.seen.pod(namespace, pod.Name))[0], tcp, httpPort)
	policy := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: strings.Repeat("p.q-r", 50) + "xyz"},
		Spec:       networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{}, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
	}
	_, err = n.lab.client.NetworkingV1().NetworkPolicies(namespace).Create(n.ctx, policy, metav1.CreateOptions{})
	n.must(err)
	place := n.placesOf(n.seen.pod(namespace, pod.Name))[0]
	n.eventually(func() error {
		if _, err := askName(n.ctx, n.from, tcp, port(place.Addresses[0], httpPort)); err == nil {
			return fmt.Errorf("the policy with a long name is not in effect")
		}
		return nil
	})
}

// manyLabels on one pod, one of which a policy selects.
func (n neighbours) manyLabels() {
	pod := newPod(n.ns, "labels", onNode(n.Nodes()[1]), func(p *corev1.Pod) {
		for i := range 5000 {
			p.Labels[fmt.Sprintf("example.com/label-%d", i)] = strings.Repeat("v", 63)
		}
	})
	place := n.startAll(pod)[0]
	n.mustReach(n.from, place, tcp, httpPort)
	_, err := n.lab.client.NetworkingV1().NetworkPolicies(n.ns).Create(n.ctx, &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.ns, Name: "by-label"},
		Spec: networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"example.com/label-4999": strings.Repeat("v", 63)}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
	}, metav1.CreateOptions{})
	n.must(err)
	n.eventually(func() error {
		if _, err := askName(n.ctx, n.from, tcp, port(place.Addresses[0], httpPort)); err == nil {
			return fmt.Errorf("the policy does not select the pod with 5,000 labels")
		}
		return nil
	})
}

// manyPorts of one service lead to the same port of its pod.
func (n neighbours) manyPorts() {
	const many = 1000
	s := n.service("ports", func(s *corev1.Service) {
		s.Spec.Selector, s.Spec.Ports = map[string]string{"app": "server"}, nil
		for i := range many {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprintf("p%d", i), Port: int32(1000 + i), TargetPort: intstr.FromInt32(httpPort)})
		}
	})
	for _, is4 := range n.families() {
		for _, at := range []uint16{1000, 1000 + many/2, 1000 + many - 1} {
			n.askMany(n.from, tcp, port(clusterIP(s, is4), at), 3)
		}
	}
	n.must(n.lab.client.CoreV1().Services(n.ns).Delete(n.ctx, s.Name, metav1.DeleteOptions{}))
}

// slices of endpoints that are nobody's: as many as the API server lets through, beside a good one.
func (n neighbours) slices() {
	s := n.service("odd", func(s *corev1.Service) {
		s.Spec.Selector = nil
		s.Spec.Ports = []corev1.ServicePort{{Name: "p", Port: servicePort, TargetPort: intstr.FromInt32(httpPort)}}
	})
	name, zero, good := "p", int32(0), int32(httpPort)
	passed := 0
	put := func(address string, number *int32) bool {
		family := discoveryv1.AddressTypeIPv6
		if a, err := netip.ParseAddr(address); err == nil && a.Is4() {
			family = discoveryv1.AddressTypeIPv4
		}
		_, err := n.lab.client.DiscoveryV1().EndpointSlices(n.ns).Create(n.ctx, &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{GenerateName: "odd-", Namespace: n.ns, Labels: map[string]string{discoveryv1.LabelServiceName: "odd"}},
			AddressType: family, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address}}},
			Ports: []discoveryv1.EndpointPort{{Name: &name, Port: number}},
		}, metav1.CreateOptions{})
		return err == nil
	}
	for _, a := range []string{"::ffff:10.0.0.5", "fe80::1%eth0", "fd01::1%eth0", "127.0.0.1", "::1", "169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "::", "010.0.0.1", "255.255.255.255", "169.254.169.2", "fd69::2", "x"} {
		if put(a, &good) {
			n.Logf("the API server takes the endpoint %s", a)
			passed++
		}
	}
	for _, is4 := range n.families() {
		address := n.server.Address(is4).String()
		for what, number := range map[string]*int32{"without a port": nil, "with port 0": &zero} {
			if put(address, number) {
				n.Logf("the API server takes an endpoint %s", what)
				passed++
			}
		}
		if !put(address, &good) {
			n.Fatalf("the API server refuses %s", address)
		}
	}
	n.measured("%d odd slices were let through", passed)
	for _, is4 := range n.families() {
		got := n.askMany(n.from, tcp, port(clusterIP(s, is4), servicePort), 30)
		if got["server"] != 30 {
			n.Errorf("30 requests to a service with one good endpoint: %v", got)
		}
	}
}
