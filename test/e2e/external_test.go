//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// externalCheck is what the parts of testExternalServices have in common: a backend on each of the first two nodes,
// none on the last.
type externalCheck struct {
	*env
	outside traffic.Place
	// nodes are the machines, pods has a client on each.
	nodes, pods []traffic.Place
	backends    []string
}

// testExternalServices covers the ways to a service that do not begin in a pod's network: from nodes, pods in a node's
// network and from outside, and node ports from everywhere.
func testExternalServices(e *env) {
	nodes := e.Nodes()
	c := externalCheck{outside: e.machine(plan.Outside)}
	var pods []*corev1.Pod
	for i, n := range nodes {
		pods = append(pods, newPod(e.ns, fmt.Sprintf("client-%d", i), onNode(n), portsApart))
		c.nodes = append(c.nodes, e.machine(n))
	}
	for i, n := range nodes[:len(nodes)-1] {
		c.backends = append(c.backends, fmt.Sprintf("backend-%d", i))
		pods = append(pods, newPod(e.ns, c.backends[i], onNode(n), labelled("spread")))
	}
	c.pods = e.startAll(pods...)[:len(nodes)]
	bind := func(e *env) externalCheck { c.env = e; return c }
	bind(e).acquaint()
	runParts(e, bind, []part[externalCheck]{
		{"ClusterIPFromNode", externalCheck.clusterIPFromNode},
		{"NodePort", externalCheck.nodePort},
		{"ExternalIP", externalCheck.externalIP},
		{"LoadBalancer", externalCheck.loadBalancer},
		{"SourceRanges", externalCheck.sourceRanges},
		{"ClientsAffinity", externalCheck.clientsAffinity},
		{"ExternalTrafficLocal", externalCheck.externalTrafficLocal},
		{"PolicyChanges", externalCheck.policyChanges},
		{"InternalPolicyIsInternal", externalCheck.internalPolicy},
		{"LocalHostEndpoint", externalCheck.localHostEndpoint},
		{"RemoteHostEndpoint", externalCheck.remoteHostEndpoint},
		{"NodeToLocalPolicy", externalCheck.nodeToLocalPolicy},
		{"HealthCheckNodePort", externalCheck.healthCheckNodePort},
		{"ServiceCIDR", externalCheck.serviceCIDR},
		{"NoService", externalCheck.noService},
	})
}

// portsApart has a pod's connections begin at other ports than those of its node, whose address they get on their way out: the userspace datapath does not
// know the node's own, and a server would take the pod's for one of them that it has not forgotten.
func portsApart(p *corev1.Pod) {
	p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "net.ipv4.ip_local_port_range", Value: "10000 29999"}}}
}

// policyChanges: a node port follows a change of the policy, there and back.
func (c externalCheck) policyChanges() {
	s := c.service("changing", spread, kind(corev1.ServiceTypeNodePort))
	for _, policy := range []corev1.ServiceExternalTrafficPolicy{
		corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal, corev1.ServiceExternalTrafficPolicyCluster,
	} {
		s.Spec.ExternalTrafficPolicy = policy
		var err error
		s, err = c.client.CoreV1().Services(c.ns).Update(c.ctx, s, metav1.UpdateOptions{})
		c.must(err)
		want := c.backends
		if policy == corev1.ServiceExternalTrafficPolicyLocal {
			want = c.backends[:1]
		}
		for _, is4 := range c.families() {
			for proto, at := range nodePorts(s) {
				c.eventually(func() error { return c.spreads(proto, port(c.nodes[0].Address(is4), at), want) })
			}
		}
	}
}

// spreads is mustSpread for a state that is on its way.
func (c externalCheck) spreads(proto string, at netip.AddrPort, want []string) error {
	got, failed := c.askAtOnce(c.outside, proto, at, enough)
	if len(failed) > 0 {
		return failed[0]
	}
	if who := slices.Sorted(maps.Keys(got)); !slices.Equal(who, want) {
		return fmt.Errorf("%s was answered over %s by %s, want each of %v", at, proto, got, want)
	}
	return nil
}

// internalPolicy: internalTrafficPolicy Local says nothing about node ports.
func (c externalCheck) internalPolicy() {
	local := corev1.ServiceInternalTrafficPolicyLocal
	s := c.service("internal", spread, kind(corev1.ServiceTypeNodePort), func(s *corev1.Service) { s.Spec.InternalTrafficPolicy = &local })
	for _, from := range []traffic.Place{c.outside, c.nodes[2]} {
		for _, is4 := range c.families() {
			for proto, at := range nodePorts(s) {
				c.mustSpread(from, proto, port(c.nodes[2].Address(is4), at), c.backends...)
			}
		}
	}
}

// localHostEndpoint: a backend in its node's network, as those of ingress controllers often are, is reached with policy Local.
func (c externalCheck) localHostEndpoint() {
	c.start("in-host", onNode(c.Nodes()[0]), hostNetwork, labelled("in-host"))
	s := c.service("in-host", kind(corev1.ServiceTypeNodePort), func(s *corev1.Service) {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		s.Spec.Ports[0].TargetPort, s.Spec.Ports[1].TargetPort = intstr.FromInt32(hostHTTPPort), intstr.FromInt32(hostUDPPort)
	})
	for _, is4 := range c.families() {
		for proto, at := range nodePorts(s) {
			c.mustSpread(c.outside, proto, port(c.nodes[0].Address(is4), at), c.Nodes()[0])
			c.mustSeeOutside(proto, port(c.nodes[0].Address(is4), at))
		}
	}
}

func (c externalCheck) clusterIPFromNode() {
	s := c.service("cluster-ip", spread)
	for _, from := range c.nodes {
		c.eachProtocol(s, func(at netip.AddrPort, proto string) { c.mustSpread(from, proto, at, c.backends...) })
	}
}

func kind(t corev1.ServiceType) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.Type = t }
}

// nodePorts are a service's node ports by protocol.
func nodePorts(s *corev1.Service) map[string]uint16 {
	out := map[string]uint16{}
	for _, p := range s.Spec.Ports {
		out[p.Name] = uint16(p.NodePort)
	}
	return out
}

// nodePort is reached at every node's address from everywhere.
func (c externalCheck) nodePort() {
	s := c.service("node-port", spread, kind(corev1.ServiceTypeNodePort))
	clients := []traffic.Place{c.outside, c.nodes[0], c.nodes[2], c.pods[0], c.pods[2]}
	for _, from := range clients {
		for _, node := range c.nodes {
			for _, is4 := range c.families() {
				for proto, at := range nodePorts(s) {
					c.mustSpread(from, proto, port(node.Address(is4), at), c.backends...)
				}
			}
		}
	}
}

// testAddresses are handed out to services as external addresses (RFC 5737, RFC 3849).
var testAddresses = map[bool]netip.Addr{true: netip.MustParseAddr("192.0.2.10"), false: netip.MustParseAddr("2001:db8::10")}

// routed lets the outside reach the test address through a node until the part ends.
func (c externalCheck) routed(node traffic.Place) {
	c.Helper()
	c.routedTo(node, testAddresses)
}

func (c externalCheck) routedTo(node traffic.Place, addresses map[bool]netip.Addr) {
	c.Helper()
	for _, is4 := range c.families() {
		to := addresses[is4].String()
		c.on(plan.Outside, "ip", "route", "replace", to, "via", node.Address(is4).String())
		c.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), 5*time.Second)
			defer cancel()
			if _, err := c.Exec(ctx, plan.Outside, "ip", "route", "del", to); err != nil {
				c.Error(err)
			}
		})
	}
}

// mustServe asks at the test address from outside, a node and a pod.
func (c externalCheck) mustServe() {
	c.Helper()
	for _, from := range []traffic.Place{c.outside, c.nodes[2], c.pods[0]} {
		for _, is4 := range c.families() {
			for _, proto := range []string{tcp, udp} {
				c.mustSpread(from, proto, port(testAddresses[is4], servicePort), c.backends...)
			}
		}
	}
}

func (c externalCheck) externalIP() {
	c.routed(c.nodes[1])
	c.service("external-ip", spread, func(s *corev1.Service) {
		for _, is4 := range c.families() {
			s.Spec.ExternalIPs = append(s.Spec.ExternalIPs, testAddresses[is4].String())
		}
	})
	c.mustServe()
}

func (c externalCheck) loadBalancer() {
	c.routed(c.nodes[2])
	c.balanced(c.service("load-balancer", spread, kind(corev1.ServiceTypeLoadBalancer)))
	c.mustServe()
}

// balanced does what a cloud's controller does: it gives the service the test addresses.
func (c externalCheck) balanced(s *corev1.Service) {
	c.Helper()
	c.balancedAt(s, testAddresses)
}

func (c externalCheck) balancedAt(s *corev1.Service, addresses map[bool]netip.Addr) *corev1.Service {
	c.Helper()
	for _, is4 := range c.families() {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: addresses[is4].String()})
	}
	s, err := c.client.CoreV1().Services(c.ns).UpdateStatus(c.ctx, s, metav1.UpdateOptions{})
	c.must(err)
	return s
}

// externalTrafficLocal: backends see who asks, and only nodes with a backend answer.
func (c externalCheck) externalTrafficLocal() {
	s := c.service("local", spread, kind(corev1.ServiceTypeNodePort), func(s *corev1.Service) {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	})
	for _, is4 := range c.families() {
		for i, backend := range c.backends {
			for proto, at := range nodePorts(s) {
				c.mustSpread(c.outside, proto, port(c.nodes[i].Address(is4), at), backend)
				c.mustSeeOutside(proto, port(c.nodes[i].Address(is4), at))
			}
		}
		for proto, at := range nodePorts(s) {
			without := port(c.nodes[len(c.nodes)-1].Address(is4), at)
			if name, err := askName(c.ctx, c.outside, proto, without); err == nil {
				c.Errorf("%s, which has no backend, answers over %s: %s", without, proto, name)
			}
		}
	}
}

// mustSeeOutside wants the backend at an address to see the client's own address.
func (c externalCheck) mustSeeOutside(proto string, at netip.AddrPort) {
	c.Helper()
	want := c.outsideAddress(at.Addr().Is4())
	if seen, err := c.clientSeen(proto, at); err != nil || seen != want {
		c.Errorf("the backend at %s saw %v over %s, want the client's own address %s (%v)", at, seen, proto, want, err)
	}
}

// outsideAddress is what the outside's own connections come from.
func (c externalCheck) outsideAddress(is4 bool) netip.Addr {
	return traffic.Place{Addresses: c.Family().OutsideClient()}.Address(is4)
}

// clientSeen asks a backend who asks.
func (c externalCheck) clientSeen(proto string, at netip.AddrPort) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(c.ctx, answerTime)
	defer cancel()
	if proto == tcp {
		return seenAddress(httpGet(ctx, c.outside, at, "/clientip"))
	}
	return seenAddress(traffic.Ask(ctx, c.outside, proto, at, "clientip"))
}

// healthCheckNodePort tells load balancers which nodes have a backend.
func (c externalCheck) healthCheckNodePort() {
	s := c.service("healthy", spread, kind(corev1.ServiceTypeLoadBalancer), func(s *corev1.Service) {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	})
	at := uint16(s.Spec.HealthCheckNodePort)
	for _, is4 := range c.families() {
		for i, node := range c.nodes {
			c.eventually(func() error {
				ctx, cancel := context.WithTimeout(c.ctx, time.Second)
				defer cancel()
				body, err := httpGet(ctx, c.outside, port(node.Address(is4), at), "/")
				if has := i < len(c.backends); (err == nil) != has {
					return errors.Join(fmt.Errorf("health check of %s answers %q; it has a backend: %v", node, body, has), err)
				}
				return nil
			})
		}
	}
}
