//go:build e2e

package e2e

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// remoteHostEndpoint: the very first connection to an endpoint that is another node's host is answered, though OVN has
// forgotten all neighbours; so is each further one.
func (c externalCheck) remoteHostEndpoint() {
	far := c.Nodes()[2]
	c.start("remote", onNode(far), hostNetwork, labelled("remote"))
	external := map[bool]netip.Addr{true: netip.MustParseAddr("192.0.2.11"), false: netip.MustParseAddr("2001:db8::11")}
	c.routedTo(c.nodes[1], external)
	s := c.service("remote", kind(corev1.ServiceTypeNodePort), func(s *corev1.Service) {
		s.Spec.Ports[0].TargetPort, s.Spec.Ports[1].TargetPort = intstr.FromInt32(hostHTTPPort), intstr.FromInt32(hostUDPPort)
		for _, is4 := range c.families() {
			s.Spec.ExternalIPs = append(s.Spec.ExternalIPs, external[is4].String())
		}
	})
	c.eachProtocol(s, func(at netip.AddrPort, proto string) {
		for _, from := range []traffic.Place{c.nodes[0], c.nodes[1]} {
			c.on(plan.ControlPlane, "ovn-sbctl", "--all", "destroy", "MAC_Binding")
			c.nb("--wait=hv", "sync")
			c.mustSpread(from, proto, at, far)
		}
	})
	for _, is4 := range c.families() {
		for proto, at := range nodePorts(s) {
			// The client's own MAC has to be found out.
			for _, to := range []netip.AddrPort{port(external[is4], servicePort), port(c.nodes[1].Address(is4), at)} {
				c.eventually(func() error { return c.spreads(proto, to, []string{far}) })
			}
		}
	}
	c.acquaint()
	c.eachProtocol(s, func(at netip.AddrPort, proto string) { c.mustSpread(c.pods[1], proto, at, far) })
}

// acquaint lets pods' gateway routers find out the MACs of the nodes and of the client outside.
func (c externalCheck) acquaint() {
	c.Helper()
	client := traffic.Place{Name: "client outside", Addresses: c.Family().OutsideClient()}
	c.env.acquaint(c.pods, append(slices.Clone(c.nodes), client)...)
}

// nodeToLocalPolicy: nodes and their pods are outside for other nodes' ports of services with the policy Local. Backends see
// the node.
func (c externalCheck) nodeToLocalPolicy() {
	s := c.service("local-from-node", spread, kind(corev1.ServiceTypeNodePort), func(s *corev1.Service) {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	})
	asker := c
	for _, is4 := range c.families() {
		for proto, number := range nodePorts(s) {
			at := port(c.nodes[1].Address(is4), number)
			for _, from := range []traffic.Place{c.nodes[0], c.nodes[2], c.pods[0], c.pods[2]} {
				c.mustSpread(from, proto, at, c.backends[1])
			}
			asker.outside = c.nodes[2]
			seen, err := asker.clientSeen(proto, at)
			if err != nil || seen != c.nodes[2].Address(is4) {
				c.Errorf("over %s the backend saw %v, want the node's address %s (%v)", proto, seen, c.nodes[2].Address(is4), err)
			}
		}
	}
}
