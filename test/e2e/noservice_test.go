//go:build e2e

package e2e

import (
	"net/netip"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// noService: a cluster IP, or a port of it, that no service has is refused at once, from pods, nodes and pods in a node's network.
func (c externalCheck) noService() {
	s := c.service("short-lived", spread)
	clients := []traffic.Place{c.pods[0], c.pods[2], c.nodes[0], c.nodes[2]}
	for _, from := range clients {
		c.eachProtocol(s, func(at netip.AddrPort, proto string) {
			c.mustSpread(from, proto, at, c.backends...)
			c.mustBeRefused(from, proto, port(at.Addr(), at.Port()+1))
		})
	}
	c.must(c.client.CoreV1().Services(c.ns).Delete(c.ctx, s.Name, metav1.DeleteOptions{}))
	for _, from := range clients {
		c.eachProtocol(s, func(at netip.AddrPort, proto string) { c.mustBeRefused(from, proto, at) })
	}
}
