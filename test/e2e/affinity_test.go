//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// manyClients have one endpoint of two only once in 30,000 times.
const manyClients = 16

// clientsAffinity: each client outside keeps its endpoint, and they do not all have the same one, though their packets have the same source MAC. OVN 23.03 cannot
// tell those of IPv6 apart.
func (c externalCheck) clientsAffinity() {
	external := map[bool]netip.Addr{true: netip.MustParseAddr("192.0.2.12"), false: netip.MustParseAddr("2001:db8::12")}
	c.routedTo(c.nodes[0], external)
	c.service("sticky", spread, func(s *corev1.Service) {
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		for _, is4 := range c.families() {
			s.Spec.ExternalIPs = append(s.Spec.ExternalIPs, external[is4].String())
		}
	})
	for _, is4 := range c.families() {
		all := answered{}
		client := traffic.Place{Addresses: c.Family().OutsideServer()}.Address(is4) // Those behind it are free.
		for range manyClients {
			client = client.Next()
			c.askAs(client, c.nodes[0].Address(is4), port(external[is4], servicePort), all)
		}
		c.measured("endpoints of %d clients with IPv4 %v: %s", manyClients, is4, all)
		// In local mode all come from the node's host.
		if len(all) < len(c.backends) && (is4 || c.selectsByIPv6()) && c.gatewayMode(c.Nodes()[0]) == names.GatewayModeShared {
			c.Errorf("%d clients with affinity, IPv4 %v, are all answered by %s", manyClients, is4, all)
		}
	}
}

// askAs asks from an address of the host outside, which it has for that long only, and counts who answers it.
func (c externalCheck) askAs(client, node netip.Addr, at netip.AddrPort, all answered) {
	c.Helper()
	// The device is the one that leads to the node.
	fields := strings.Fields(c.on(plan.Outside, "ip", "route", "get", node.String()))
	device := fields[slices.Index(fields, "dev")+1]
	prefix := netip.PrefixFrom(client, client.BitLen()).String()
	c.on(plan.Outside, "ip", "address", "add", prefix, "dev", device, "nodad")
	route := []string{"ip", "route", "replace", at.Addr().String(), "via", node.String()}
	c.on(plan.Outside, append(slices.Clone(route), "src", client.String())...)
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), 5*time.Second)
		defer cancel()
		for _, command := range [][]string{route, {"ip", "address", "del", prefix, "dev", device}} { // A route goes with its source.
			if _, err := c.Exec(ctx, plan.Outside, command...); err != nil {
				c.Error(err)
			}
		}
	}()
	for _, proto := range []string{tcp, udp} {
		got := c.askMany(c.outside, proto, at, 4)
		if len(got) != 1 {
			c.Errorf("%s over %s with affinity is answered by %s", client, proto, got)
		}
		for name := range got {
			all[name]++
		}
	}
}

// selectsByIPv6: OVN's load balancers can choose by IPv6 addresses.
func (c externalCheck) selectsByIPv6() bool {
	version := c.Status(c.ctx).OVN
	var major int
	if _, err := fmt.Sscanf(version, "%d.", &major); err != nil {
		c.Fatalf("no version in %q: %v", version, err)
	}
	return major >= 25
}
