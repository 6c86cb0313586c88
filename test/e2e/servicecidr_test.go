//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// moreNetworks are service networks that are added while the cluster runs.
var moreNetworks = map[bool]netip.Prefix{true: netip.MustParsePrefix("172.29.0.0/24"), false: netip.MustParsePrefix("fd00:29::/112")}

// serviceCIDR: a service with an address of an added network is reached from nodes and pods; nodes forget the network
// when it is removed.
func (c externalCheck) serviceCIDR() {
	const name = "e2e-more"
	object := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}}
	var addresses []string
	for _, is4 := range c.families() {
		object.Spec.CIDRs = append(object.Spec.CIDRs, moreNetworks[is4].String())
		addresses = append(addresses, host(moreNetworks[is4], 9).String())
	}
	cidrs := c.client.NetworkingV1().ServiceCIDRs()
	_, err := cidrs.Create(c.ctx, object, metav1.CreateOptions{})
	c.must(err)
	c.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), 5*time.Second)
		defer cancel()
		if err := cidrs.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			c.Error(err)
		}
	})
	c.eventually(func() error {
		now, err := cidrs.Get(c.ctx, name, metav1.GetOptions{})
		if err == nil && !meta.IsStatusConditionTrue(now.Status.Conditions, networkingv1.ServiceCIDRConditionReady) {
			err = fmt.Errorf("ServiceCIDR %s is not ready: %+v", name, now.Status.Conditions)
		}
		return err
	})
	s := c.service("more-networks", spread, func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = addresses[0], addresses })
	node := c.Nodes()[2]
	for _, is4 := range c.families() {
		c.measured("route to an added service network: after %v", c.eventually(func() error { return c.wantRoutes(node, is4, moreRoute(is4)) }))
		for _, from := range []int{0, 2} {
			for _, proto := range []string{tcp, udp} {
				c.mustSpread(c.nodes[from], proto, port(clusterIP(s, is4), servicePort), c.backends...)
				c.mustSpread(c.pods[from], proto, port(clusterIP(s, is4), servicePort), c.backends...)
			}
		}
	}
	c.must(c.client.CoreV1().Services(c.ns).Delete(c.ctx, s.Name, metav1.DeleteOptions{}))
	c.must(cidrs.Delete(c.ctx, name, metav1.DeleteOptions{}))
	for _, is4 := range c.families() {
		c.eventually(func() error {
			if c.wantRoutes(node, is4, moreRoute(is4)) == nil {
				return errors.New("the route to a removed service network is still there")
			}
			return nil
		})
	}
}

func moreRoute(is4 bool) route {
	return route{moreNetworks[is4].String(), names.MasqueradeNextHop(is4).String(), names.ExternalBridge}
}
