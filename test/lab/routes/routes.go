// Package routes keeps, in the control plane's network, a route to the pods of
// every node by way of the node. The API server is no member of the pod network,
// but proxies to pods and calls their webhooks and aggregated APIs.
package routes

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// Annotation holds a node's pod subnets: {"default": ["10.128.0.0/23", ...]}.
const Annotation = "k8s.ovn.org/node-subnets"

// protocol marks the routes as ours, see rtm_protocol in rtnetlink(7); numbers
// above RTPROT_STATIC are for whoever wants one.
const protocol = 201

// Wanted returns the routes that nodes ask for: subnet to next hop. A node that
// says something else than it should gets no route.
func Wanted(nodes []*corev1.Node) map[netip.Prefix]netip.Addr {
	out := map[netip.Prefix]netip.Addr{}
	for _, n := range nodes {
		for _, subnet := range subnets(n) {
			for _, a := range n.Status.Addresses {
				ip, err := netip.ParseAddr(a.Address)
				if a.Type == corev1.NodeInternalIP && err == nil && ip.Is4() == subnet.Addr().Is4() {
					out[subnet] = ip
					break
				}
			}
		}
	}
	return out
}

func subnets(n *corev1.Node) []netip.Prefix {
	text, ok := n.Annotations[Annotation]
	if !ok {
		return nil
	}
	byNetwork := map[string][]netip.Prefix{}
	if err := json.Unmarshal([]byte(text), &byNetwork); err != nil {
		// Older masters write one string instead of a list.
		single := map[string]netip.Prefix{}
		if err := json.Unmarshal([]byte(text), &single); err != nil {
			klog.InfoS("Node has subnets that cannot be read", "node", n.Name, "value", text)
			return nil
		}
		return []netip.Prefix{single["default"]}
	}
	return byNetwork["default"]
}

// Run keeps routes until ctx ends.
func Run(ctx context.Context, kubeconfig string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	poke := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	lw := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "nodes", "", fields.Everything())
	store, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: lw, ObjectType: &corev1.Node{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { poke() },
			UpdateFunc: func(any, any) { poke() },
			DeleteFunc: func(any) { poke() },
		},
	})
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return ctx.Err()
	}
	poke()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		var nodes []*corev1.Node
		for _, o := range store.List() {
			if n, ok := o.(*corev1.Node); ok {
				nodes = append(nodes, n)
			}
		}
		if err := apply(Wanted(nodes)); err != nil {
			klog.ErrorS(err, "Cannot set routes")
			time.AfterFunc(time.Second, poke)
		}
	}
}

// apply makes the routes of our protocol those that are wanted.
func apply(wanted map[netip.Prefix]netip.Addr) error {
	have, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: protocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range have {
		if p, ok := prefix(r.Dst); ok {
			if gw, ok := netip.AddrFromSlice(r.Gw); ok && wanted[p] == gw.Unmap() {
				delete(wanted, p)
				continue
			}
		}
		if err := netlink.RouteDel(&r); err != nil {
			return fmt.Errorf("delete route %s: %w", r, err)
		}
	}
	for p, gw := range wanted {
		r := &netlink.Route{Dst: ipNet(p), Gw: gw.AsSlice(), Protocol: protocol}
		if err := netlink.RouteReplace(r); err != nil {
			return fmt.Errorf("route %s via %s: %w", p, gw, err)
		}
		klog.InfoS("Route set", "subnet", p, "via", gw)
	}
	return nil
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones), ok
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
