//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// restrictedAddresses are those of a load balancer that is not for everybody (RFC 5737, RFC 3849).
var restrictedAddresses = map[bool]netip.Addr{true: netip.MustParseAddr("192.0.2.20"), false: netip.MustParseAddr("2001:db8::20")}

// sourceRanges: a load balancer serves those in its ranges, and leaves others without an answer.
func (c externalCheck) sourceRanges() {
	c.routedTo(c.nodes[1], restrictedAddresses)
	var friends, strangers []string
	for _, is4 := range c.families() {
		own := c.outsideAddress(is4)
		friends = append(friends, netip.PrefixFrom(own, own.BitLen()).String())
		strangers = append(strangers, map[bool]string{true: "198.51.100.0/24", false: "2001:db8:51::/48"}[is4])
	}
	s := c.service("restricted", spread, kind(corev1.ServiceTypeLoadBalancer), func(s *corev1.Service) { s.Spec.LoadBalancerSourceRanges = friends })
	s = c.balancedAt(s, restrictedAddresses)
	each := func(f func(proto string, at netip.AddrPort)) {
		for _, is4 := range c.families() {
			for _, proto := range []string{tcp, udp} {
				f(proto, port(restrictedAddresses[is4], servicePort))
			}
		}
	}
	each(func(proto string, at netip.AddrPort) {
		// In local mode no gateway router has met the client before.
		c.eventually(func() error { return c.spreads(proto, at, c.backends) })
		c.mustNotServe(c.pods[0], proto, at)
	})
	s.Spec.LoadBalancerSourceRanges = strangers
	_, err := c.client.CoreV1().Services(c.ns).Update(c.ctx, s, metav1.UpdateOptions{})
	c.must(err)
	each(func(proto string, at netip.AddrPort) { c.mustNotServe(c.outside, proto, at) })
}

// mustNotServe waits until an address no longer answers, and wants it to stay so.
func (c externalCheck) mustNotServe(from traffic.Place, proto string, at netip.AddrPort) {
	c.Helper()
	c.eventually(func() error {
		if name, err := askName(c.ctx, from, proto, at); err == nil {
			return fmt.Errorf("%s → %s over %s is answered by %s", from, at, proto, name)
		}
		return nil
	})
	if name, err := askName(c.ctx, from, proto, at); err == nil {
		c.Errorf("%s → %s over %s is answered by %s again", from, at, proto, name)
	}
}
