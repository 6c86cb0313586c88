//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/netns"
)

// claim is a frame that a pod sends, and who may get it.
type claim struct {
	what  string
	frame func(n uint16) []byte
	// gets are those who must get it; nobody else who listens may.
	gets []*traffic.Wire
	// may, if any, may get it, as it does no harm there.
	may *traffic.Wire
}

// truth is a claim that some must get.
func truth(what string, frame func(n uint16) []byte, gets ...*traffic.Wire) claim {
	return claim{what: what, frame: frame, gets: gets}
}

// lie is a claim that nobody may get.
func lie(what string, frame func(n uint16) []byte) claim { return claim{what: what, frame: frame} }

// liars are a pod that sends what it likes, and those who listen.
type liars struct {
	*env
	is4 bool
	// self sends, near is on the same node, far on another; router is what they know as their router.
	self, near, far, router identity
	// wires by the name of the place.
	out                   *traffic.Wire
	atNear, atFar, atHost *traffic.Wire
	marks                 *uint16
}

func testSpoofing(e *env) {
	node := e.Nodes()[0]
	p := e.startAll(newPod(e.ns, "self", onNode(node)), newPod(e.ns, "near", onNode(node)), newPod(e.ns, "far", onNode(e.Nodes()[1])))
	wire := func(p traffic.Place, device string) *traffic.Wire {
		w, err := p.Wire(device)
		e.must(err)
		e.Cleanup(func() { _ = w.Close() })
		return w
	}
	mark := uint16(0)
	l := liars{env: e, out: wire(p[0], "eth0"), atNear: wire(p[1], "eth0"), atFar: wire(p[2], "eth0"), atHost: wire(e.machine(node), names.ExternalBridge), marks: &mark}
	for _, l.is4 = range e.families() {
		l.self, l.near, l.far = e.identityOf("self", l.is4), e.identityOf("near", l.is4), e.identityOf("far", l.is4)
		l.router = l.routerOf(node)
		l.judge(l.addresses())
		l.judge(l.elsewhere())
		if l.is4 {
			l.judge(l.arps())
		} else {
			l.judge(l.discoveries())
		}
	}
	for _, l.is4 = range e.families() {
		l.self, l.near, l.far = e.identityOf("self", l.is4), e.identityOf("near", l.is4), e.identityOf("far", l.is4)
		l.fragments(p[0], p[1])
	}
	for _, place := range p {
		e.must(believesRouters(place))
	}
	// Nobody believed any of it.
	for _, way := range [][2]traffic.Place{{p[1], p[2]}, {p[2], p[1]}} {
		e.mustReach(way[0], way[1], tcp, httpPort)
	}
}

// believesRouters fails when a place has a route from a router advertisement.
func believesRouters(p traffic.Place) error {
	const fromAdvertisement = 9 // RTPROT_RA of linux/rtnetlink.h
	return netns.Do(p.NetNS, func() error {
		routes, err := netlink.RouteList(nil, netlink.FAMILY_V6)
		if err != nil {
			return err
		}
		for _, r := range routes {
			if r.Protocol == fromAdvertisement {
				return fmt.Errorf("%s believes a router advertisement: %v", p, r)
			}
		}
		return nil
	})
}

// identityOf is a pod's MAC and its address of a family.
func (e *env) identityOf(pod string, is4 bool) identity {
	e.Helper()
	network, err := annotations.ParsePodNetwork(e.seen.pod(e.ns, pod).Annotations)
	e.must(err)
	for _, a := range network.Addresses {
		if a.Addr().Is4() == is4 {
			return identity{network.MAC, a.Addr()}
		}
	}
	e.Fatalf("pod %s has no address of the family", pod)
	return identity{}
}

func (l liars) routerOf(node string) identity {
	var all []netip.Addr
	var own netip.Addr
	for _, s := range l.subnets(node) {
		all = append(all, addr.Router(s))
		if s.Addr().Is4() == l.is4 {
			own = addr.Router(s)
		}
	}
	return identity{addr.MAC(all...), own}
}

// judge sends each claim, then what everybody must get, and looks who got what. The order of frames is kept on the way, so what
// has not come before the latter does not come.
func (l liars) judge(claims []claim) {
	l.Helper()
	for _, c := range claims {
		*l.marks += 2
		n, honest := *l.marks, *l.marks+1
		for range 3 {
			l.must(l.out.Send(c.frame(n)))
		}
		ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
		for wire, to := range map[*traffic.Wire]identity{l.atNear: l.near, l.atFar: {l.router.mac, l.far.ip}} {
			l.must(l.out.Send(datagram(l.self, to, 40000, udpPort, honest)))
			if err := wire.Await(ctx, honest); err != nil {
				l.Errorf("an honest datagram to %s after %q: %v", to.ip, c.what, err)
			}
		}
		for _, w := range c.gets {
			if err := w.Await(ctx, n); err != nil {
				l.Errorf("%s does not arrive: %v", c.what, err)
			}
		}
		cancel()
		got := map[*traffic.Wire]bool{}
		for _, w := range append(c.gets, c.may) {
			got[w] = true
		}
		for wire, name := range map[*traffic.Wire]string{l.atNear: "the pod on the same node", l.atFar: "the pod on another node", l.atHost: "the host"} {
			if !got[wire] && wire.Saw(n) {
				l.Errorf("%s reaches %s", c.what, name)
			}
		}
	}
}

// addresses are claims about the sender's addresses in IP packets.
func (l liars) addresses() []claim {
	viaRouter := identity{l.router.mac, l.far.ip}
	other := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	list := []claim{
		truth("the own addresses", func(n uint16) []byte { return datagram(l.self, l.near, 40001, udpPort, n) }, l.atNear),
		truth("the own addresses, to another node", func(n uint16) []byte { return datagram(l.self, viaRouter, 40001, udpPort, n) }, l.atFar),
		lie("a VLAN tag", func(n uint16) []byte { return tagged(datagram(l.self, l.near, 40001, udpPort, n), 7) }),
		lie("a priority tag", func(n uint16) []byte { return tagged(datagram(l.self, l.near, 40001, udpPort, n), 0) }),
	}
	for what, mac := range map[string]net.HardwareAddr{"an invented MAC": other, "the MAC of a pod": l.near.mac, "the router's MAC": l.router.mac} {
		list = append(list,
			lie(what, func(n uint16) []byte { return datagram(identity{mac, l.self.ip}, l.near, 40002, udpPort, n) }),
			lie(what+", to another node", func(n uint16) []byte { return datagram(identity{mac, l.self.ip}, viaRouter, 40002, udpPort, n) }))
	}
	foreign := map[string]netip.Addr{
		"the address of a pod": l.near.ip, "the address of a pod of another node": l.far.ip, "the router's address": l.router.ip,
		"the address of the node": l.machine(l.Nodes()[0]).Address(l.is4), "an address from outside": netip.MustParseAddr("192.0.2.77"), "a loopback address": netip.MustParseAddr("127.0.0.1"),
		"a masquerade address": names.MasqueradeHost(l.is4), "a multicast address": netip.MustParseAddr("224.0.0.5"),
	}
	if !l.is4 {
		foreign["an address from outside"], foreign["a loopback address"] = netip.MustParseAddr("2001:db8::77"), netip.IPv6Loopback()
		foreign["a multicast address"], foreign["an IPv4-mapped address"] = allNodes, netip.MustParseAddr("::ffff:192.0.2.7")
		foreign["somebody's link-local address"] = linkLocal(l.near.mac)
	}
	for what, ip := range foreign {
		list = append(list,
			lie(what, func(n uint16) []byte { return datagram(identity{l.self.mac, ip}, l.near, 40003, udpPort, n) }),
			lie(what+", to another node", func(n uint16) []byte { return datagram(identity{l.self.mac, ip}, viaRouter, 40003, udpPort, n) }))
	}
	return list
}

// elsewhere are claims about the destination: what is for nobody, or for somebody who must not get it from a pod.
func (l liars) elsewhere() []claim {
	var list []claim
	for _, a := range []netip.Addr{names.MasqueradeOVN(l.is4), names.MasqueradeHost(l.is4), names.MasqueradeHostLocal(l.is4), names.MasqueradeNextHop(l.is4), names.MasqueradeHairpin(l.is4)} {
		list = append(list, lie("a datagram to "+a.String(), func(n uint16) []byte {
			return datagram(l.self, identity{l.router.mac, a}, 40004, udpPort, n)
		}))
	}
	if l.is4 {
		list = append(list,
			truth("a source route", func(n uint16) []byte { return sourceRouted(l.self, l.near, l.far.ip, n) }, l.atNear),
			lie("a DHCP server's answer", func(n uint16) []byte {
				return datagram(l.self, identity{broadcast, netip.MustParseAddr("255.255.255.255")}, 67, 68, n)
			}),
			lie("a DHCP server's answer to a pod", func(n uint16) []byte { return datagram(l.self, l.near, 67, 68, n) }))
		return list
	}
	return append(list,
		lie("a DHCPv6 server's answer", func(n uint16) []byte { return datagram(l.self, identity{allNodesMAC, allNodes}, 547, 546, n) }),
		lie("a DHCPv6 server's answer to a pod", func(n uint16) []byte { return datagram(l.self, l.near, 547, 546, n) }))
}

// arps are claims in ARP messages.
func (l liars) arps() []claim {
	b := l.router.ip.As4()
	b[3] = 250 // Pods get the first that are free.
	free := netip.AddrFrom4(b)
	list := []claim{
		truth("an ARP request", func(n uint16) []byte { return arp(l.self.mac, broadcast, layers.ARPRequest, l.self, free, n) }, l.atNear),
		truth("a gratuitous ARP of its own", func(n uint16) []byte { return arp(l.self.mac, broadcast, layers.ARPReply, l.self, l.self.ip, n) }, l.atNear),
		lie("an ARP request with another frame's source", func(n uint16) []byte { return arp(l.near.mac, broadcast, layers.ARPRequest, l.self, free, n) }),
		lie("an ARP request for an invented MAC", func(n uint16) []byte {
			return arp(l.self.mac, broadcast, layers.ARPRequest, identity{net.HardwareAddr{2, 0, 0, 0, 0, 9}, l.self.ip}, free, n)
		}),
	}
	for what, ip := range map[string]netip.Addr{"a pod": l.near.ip, "the router": l.router.ip, "somebody unknown": free} {
		who := identity{l.self.mac, ip}
		list = append(list,
			lie("a gratuitous ARP request for "+what, func(n uint16) []byte { return arp(l.self.mac, broadcast, layers.ARPRequest, who, ip, n) }),
			lie("a gratuitous ARP reply for "+what, func(n uint16) []byte { return arp(l.self.mac, broadcast, layers.ARPReply, who, ip, n) }),
			lie("an ARP reply for "+what, func(n uint16) []byte { return arp(l.self.mac, l.near.mac, layers.ARPReply, who, l.near.ip, n) }))
	}
	return list
}

// discoveries are claims in messages of neighbour discovery.
func (l liars) discoveries() []claim {
	local := identity{l.self.mac, linkLocal(l.self.mac)}
	b := l.router.ip.As16()
	b[14], b[15] = 0xfa, 0xfa
	free := netip.AddrFrom16(b)
	list := []claim{
		truth("a solicitation", func(n uint16) []byte { return solicitation(l.self, l.self.mac, free, n) }, l.atNear),
		truth("an unsolicited advertisement of its own", func(n uint16) []byte { return advertisement(l.self, l.self.ip, l.self.mac, n) }, l.atNear),
		// OVN 23.03 lets solicitations pass whatever MAC they name. They are about the sender's own address: who believes it sends the
		// answers to somebody else, who does not want them.
		{what: "a solicitation for another MAC", frame: func(n uint16) []byte { return solicitation(l.self, l.near.mac, free, n) }, may: l.atNear},
		lie("an advertisement of its own address at another MAC", func(n uint16) []byte { return advertisement(l.self, l.self.ip, l.near.mac, n) }),
		// No ACL of OVN stops these; pods' interfaces do not listen to them, see believesRouters.
		{what: "a router advertisement", frame: func(n uint16) []byte { return routerAdvertisement(local, n) }, may: l.atNear},
		{what: "a router advertisement from its address", frame: func(n uint16) []byte { return routerAdvertisement(l.self, n) }, may: l.atNear},
		lie("a router advertisement from the router", func(n uint16) []byte {
			return routerAdvertisement(identity{l.router.mac, linkLocal(l.router.mac)}, n)
		}),
		lie("a redirect", func(n uint16) []byte {
			return discovery(local, l.near, layers.ICMPv6TypeRedirect, &layers.ICMPv6Redirect{
				TargetAddress: local.ip.AsSlice(), DestinationAddress: l.far.ip.AsSlice(), Options: layers.ICMPv6Options{markOption(n)},
			})
		}),
	}
	for what, ip := range map[string]netip.Addr{"a pod": l.near.ip, "the router": l.router.ip, "the router's link-local address": linkLocal(l.router.mac)} {
		for from, who := range map[string]identity{"its own": l.self, "its link-local": local, "the other's": {l.self.mac, ip}} {
			list = append(list, lie(
				fmt.Sprintf("an unsolicited advertisement for %s from %s address", what, from),
				func(n uint16) []byte { return advertisement(who, ip, l.self.mac, n) }))
		}
	}
	return list
}

// fragments try to get around a policy: only the first part of a datagram says for which port it is.
func (l liars) fragments(from, to traffic.Place) {
	c, err := from.ListenUDP(netip.AddrPortFrom(l.self.ip, 0))
	l.must(err)
	defer c.Close()
	// The mark is at the end: what is longer than the MTU has it in its second fragment.
	send := func(at uint16, size int) uint16 {
		*l.marks++
		_, err := c.WriteToUDPAddrPort(append(make([]byte, size), traffic.Mark(*l.marks)...), netip.AddrPortFrom(l.near.ip, at))
		l.must(err)
		return *l.marks
	}
	arrives := func(n uint16) error {
		ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
		defer cancel()
		return l.atNear.Await(ctx, n)
	}
	const small, large = 100, 1900
	// Fragments do arrive, if not each time.
	l.eventually(func() error {
		n := send(9999, large)
		ctx, cancel := context.WithTimeout(l.ctx, 500*time.Millisecond)
		defer cancel()
		return l.atNear.Await(ctx, n)
	})
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: l.ns, Name: "one-port"}}
	l.must(yaml.UnmarshalStrict([]byte(`{podSelector: {matchLabels: {app: near}}, ingress: [{ports: [{port: 8081, protocol: UDP}]}]}`), &p.Spec))
	policies := l.client.NetworkingV1().NetworkPolicies(l.ns)
	_, err = policies.Create(l.ctx, p, metav1.CreateOptions{})
	l.must(err)
	defer func() { l.must(policies.Delete(l.ctx, p.Name, metav1.DeleteOptions{})) }()
	// The connection to the forbidden port ends with the policy, so this is another.
	l.eventually(func() error {
		closed := send(9998, small)
		if err := arrives(send(udpPort, small)); err != nil {
			return err
		}
		if l.atNear.Saw(closed) {
			return errors.New("the policy is not in effect")
		}
		return nil
	})
	for range 10 {
		forbidden := []uint16{send(9997, large), *l.marks + 1}
		*l.marks++
		l.must(l.out.Send(laterFragment(l.self, l.near, *l.marks)))
		l.must(arrives(send(udpPort, small)))
		for i, n := range forbidden {
			if l.atNear.Saw(n) {
				l.Errorf("%s gets past the policy of %s", []string{"a datagram in fragments", "a fragment without the first"}[i], to)
			}
		}
	}
}
