//go:build integration

package master

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Gateway routers ask nobody for the MAC of a service's endpoint outside the cluster network: they let the host forward. What
// is answered goes its usual way.
func TestForwardingTraced(t *testing.T) {
	l := newServiceTest(t)
	l.newServices(t, testService{name: "api", number: 1, endpoints: []string{"host-n3"}, change: func(s *kube.Service) {
		s.ExternalIPs = []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:9::1")}
	}})
	toHost := "MAC binding to " + names.MasqueradeNextHopMAC().String()
	for _, to := range []string{"172.30.0.1", "203.0.113.1", "fd02::1", "2001:db8:9::1"} {
		for _, protocol := range testProtocols {
			for _, state := range []string{"new", "est"} {
				out := l.inject(l.servicePacket(protocol, "outside-2", to), "--ct="+state, "--ct="+state)
				if at, _ := outcome(out); state == "new" && (at != "br-ex_n2" || !strings.Contains(out, toHost)) || strings.Contains(out, "arp {") || strings.Contains(out, "nd_ns") {
					t.Errorf("%s to %s (%s) comes out at %q, not for the host to forward:\n%s", protocol, to, state, at, out)
				}
			}
		}
	}
	// What the router has not tracked, and what pods send, goes to the next hop as ever.
	for _, flow := range []string{
		l.outsidePacket(2, "192.0.2.77"), l.outsidePacket(2, "2001:db8::77"), l.podPacket("a2", "192.0.2.77"), l.podPacket("a2", "2001:db8::77"),
	} {
		if out := l.inject(flow); strings.Contains(out, toHost) || !strings.Contains(out, "MAC binding to "+routerMAC) {
			t.Errorf("%s goes elsewhere than to the next hop:\n%s", flow, out)
		}
	}
}
