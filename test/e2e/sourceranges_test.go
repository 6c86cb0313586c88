//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"time"

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
		c.mustNotServe(c.pods[0], s, proto, at)
	})
	s.Spec.LoadBalancerSourceRanges = strangers
	s, err := c.client.CoreV1().Services(c.ns).Update(c.ctx, s, metav1.UpdateOptions{})
	c.must(err)
	each(func(proto string, at netip.AddrPort) { c.mustNotServe(c.outside, s, proto, at) })
}

// mustNotServe waits until an address of a service no longer answers while its node ports do, which are for everybody, and wants it to
// stay so.
func (c externalCheck) mustNotServe(from traffic.Place, s *corev1.Service, proto string, at netip.AddrPort) {
	c.Helper()
	open := port(c.nodes[0].Address(at.Addr().Is4()), nodePorts(s)[proto])
	name := ""
	silent := func() bool {
		return c.unanswered(func(ctx context.Context) (err error) {
			name, err = askName(ctx, from, proto, at)
			return err
		}, func(ctx context.Context) error {
			_, err := askName(ctx, from, proto, open)
			return err
		})
	}
	c.eventually(func() error {
		if !silent() {
			return fmt.Errorf("%s → %s over %s is answered by %s", from, at, proto, name)
		}
		return nil
	})
	if !silent() {
		c.Errorf("%s → %s over %s is answered by %s again", from, at, proto, name)
	}
}

// unanswered tells whether a question gets no answer in a second in which control, which is asked at the same time, gets one: else
// nothing would be judged but how busy the machine is, and both are asked again.
func (e *env) unanswered(question, control func(context.Context) error) bool {
	e.Helper()
	var got error
	e.eventually(func() error {
		ctx, cancel := context.WithTimeout(e.ctx, time.Second)
		defer cancel()
		asked := make(chan error, 1)
		go func() { asked <- question(ctx) }()
		err := control(ctx)
		if got = <-asked; got != nil && err != nil {
			return fmt.Errorf("what should be answered is not: %w", err)
		}
		return nil
	})
	return got != nil
}
