//go:build integration

package master

import (
	"net/netip"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

// In local gateway mode a load balancer that is not for everybody is the gateway router's, while pods' packets to the outside are the
// host's. Clients get their answers all the same, and those out of the ranges none.
func TestRestrictedLoadBalancerInLocalMode(t *testing.T) {
	onItsOwn(t, testRestrictedLoadBalancerInLocalMode)
}

func testRestrictedLoadBalancerInLocalMode(t *testing.T) {
	l := newLive(t)
	ovsdbtest.StartNorthd(t, l.nb, l.sb)
	l.addGatewayNode(2, names.GatewayModeLocal)
	l.run()
	l.await("pods are served", func() bool { return l.ports() == 2 && l.quiet() })
	h := l.podHost(t)
	h.plug("world", "br-ex", 1500, "external_ids:x=y")
	h.sh(`for a in 172.18.0.1/24 172.18.0.9/24; do ip -n world addr add $a dev eth0; done
		for a in fd00:172:18::1/64 fd00:172:18::9/64; do ip -n world addr add $a dev eth0 nodad; done
		ip -n world route add 203.0.113.0/24 via 172.18.0.12 src 172.18.0.1; ip -n world route add 203.0.113.128/25 via 172.18.0.12 src 172.18.0.9
		ip -n world route add 2001:db8:113::/64 via fd00:172:18::12 src fd00:172:18::1; ip -n world route add 2001:db8:113:0:8000::/65 via fd00:172:18::12 src fd00:172:18::9`)
	h.serve("pod", "8080")
	l.newServices(t, testService{name: "restricted", number: 2, endpoints: []string{"a2"}, change: func(s *kube.Service) {
		withNodePorts(s)
		s.ExternalLocal = true
		for _, a := range []string{"203.0.113.1", "203.0.113.200", "2001:db8:113::1", "2001:db8:113:0:8000::1"} {
			s.LoadBalancerIPs = append(s.LoadBalancerIPs, netip.MustParseAddr(a))
		}
		s.SourceRanges = []netip.Prefix{netip.MustParsePrefix("172.18.0.0/29"), netip.MustParsePrefix("fd00:172:18::/125")}
	}})
	for _, c := range []struct{ to, seen string }{{"203.0.113.1", "100.64.0.2"}, {"2001:db8:113::1", "fd98::2"}} {
		if _, got := h.reach("world", c.to, "80"); got != c.seen {
			t.Errorf("a client of the ranges gets from %s %q, want %q", c.to, got, c.seen)
		}
	}
	for _, to := range []string{"203.0.113.200", "2001:db8:113:0:8000::1"} {
		if got := h.ask(h.dial("world", to, "80"), 1e9); got != "nothing" {
			t.Errorf("a client out of the ranges gets from %s %q", to, got)
		}
	}
}
