//go:build integration

package master

import (
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

const routerMAC = "02:42:ac:12:00:01"

// addGatewayNode adds a node whose agent has published everything, with two pods. Its number is its id.
func (l *live) addGatewayNode(id int, mode string) {
	l.t.Helper()
	node := fmt.Sprintf("n%d", id)
	l.sb.Ctl("chassis-add", "id-"+node, "geneve", fmt.Sprintf("192.0.2.%d", id), "--", "set", "Chassis", "id-"+node, "hostname="+node)
	l.addNode(node)
	l.annotateNode(node, map[string]string{
		names.NodeIDAnnotation:        fmt.Sprint(id),
		names.NodeChassisIDAnnotation: "id-" + node,
		names.HostCIDRsAnnotation:     fmt.Sprintf(`["172.18.0.1%d/24","fd00:172:18::1%d/64"]`, id, id),
		names.L3GatewayConfigAnnotation: fmt.Sprintf(`{"default":{"mode":%q,"bridge-id":"br-ex","interface-id":"br-ex_%s","mac-address":"02:42:ac:12:00:1%d",`+
			`"ip-addresses":["172.18.0.1%d/24","fd00:172:18::1%d/64"],"next-hops":["172.18.0.1","fd00:172:18::1"],"node-port-enable":"true","vlan-id":"0"}}`,
			mode, node, id, id, id),
	})
	for _, pod := range []string{"a", "b"} {
		l.addPod(fmt.Sprintf("%s%d", pod, id), node)
	}
}

// know gives a router port a neighbour, as if it had asked.
func (l *live) know(port, address, mac string) {
	datapath := strings.TrimSpace(l.sb.Ctl("--bare", "--columns=datapath", "find", "Port_Binding", "logical_port="+port))
	l.sb.Ctl("create", "MAC_Binding", "logical_port="+port, `ip="`+address+`"`, `mac="`+mac+`"`, "datapath="+datapath)
}

// knowNeighbours gives gateway routers the neighbours that ovn-trace needs: those outside, and those of the table
// Static_MAC_Binding, which it does not read.
func (l *live) knowNeighbours(nodes ...string) {
	for _, node := range nodes {
		for _, outside := range []string{"1", "12", "13"} {
			if node != "n"+outside[len(outside)-1:] {
				l.know(names.RouterToExternalPort(node), "172.18.0."+outside, routerMAC)
				l.know(names.RouterToExternalPort(node), "fd00:172:18::"+outside, routerMAC)
			}
		}
	}
	for line := range strings.Lines(l.sb.Ctl("--format=csv", "--no-headings", "--columns=logical_port,ip,mac", "list", "Static_MAC_Binding")) {
		fields := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `"`, ""), ",")
		l.know(fields[0], fields[1], fields[2])
	}
}

// inject returns what ovn-trace says of a packet.
func (l *live) inject(flow string, options ...string) string {
	l.t.Helper()
	args := append([]string{"--db=" + l.sb.Endpoint(), "--no-leader-only"}, options...)
	out, err := exec.Command("ovn-trace", append(args, flow)...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("ovn-trace: %v: %s", err, out)
	}
	return string(out)
}

// podPacket is a packet from a pod to an address that is not in its subnet.
func (l *live) podPacket(pod, to string) string {
	own, family := strings.Fields(l.address(pod)), "ip4"
	source := own[0]
	if !netip.MustParseAddr(to).Is4() {
		family, source = "ip6", own[1]
	}
	gateway := addr.Router(netip.PrefixFrom(netip.MustParseAddr(own[0]), 23))
	return fmt.Sprintf(`inport=="ns_%s" && eth.src==%s && eth.dst==%s && %s.src==%s && %s.dst==%s && ip.ttl==64 && tcp && tcp.src==40000 && tcp.dst==80`,
		pod, addr.MAC(netip.MustParseAddr(own[0])), addr.MAC(gateway), family, source, family, to)
}

func outputOf(trace string) string {
	at := "nowhere"
	for line := range strings.Lines(trace) {
		if _, rest, ok := strings.Cut(strings.TrimSpace(line), `output("`); ok {
			at, _, _ = strings.Cut(rest, `"`)
		}
	}
	return at
}

// outsidePacket is a packet from outside that reaches a node's external bridge, with the node's MAC.
func (l *live) outsidePacket(id int, to string) string {
	family, source := "ip4", "192.0.2.200"
	if !netip.MustParseAddr(to).Is4() {
		family, source = "ip6", "2001:db8::1"
	}
	return fmt.Sprintf(`inport=="br-ex_n%d" && eth.src==%s && eth.dst==02:42:ac:12:00:1%d && %s.src==%s && %s.dst==%s && ip.ttl==64 && tcp && tcp.src==80 && tcp.dst==40000`,
		id, routerMAC, id, family, source, family, to)
}

// newGateways is two nodes in shared mode, n2 and n3, and one in local mode, n4.
func newGateways(t *testing.T) *live {
	l := newLive(t)
	l.noSNAT = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:5::/48")}
	ovsdbtest.StartNorthd(t, l.nb, l.sb)
	l.addGatewayNode(2, names.GatewayModeShared)
	l.addGatewayNode(3, names.GatewayModeShared)
	l.addGatewayNode(4, names.GatewayModeLocal)
	l.run()
	l.await("pods are served", func() bool { return l.ports() == 6 && l.quiet() })
	l.nb.Ctl("--wait=sb", "sync")
	l.knowNeighbours("n2", "n3", "n4")
	return l
}

func TestGatewaysTraced(t *testing.T) {
	l := newGateways(t)
	for _, c := range []struct{ what, from, to, want, snat string }{
		{"the world", "a2", "192.0.2.200 2001:db8::1", "br-ex_n2", "172.18.0.12 fd00:172:18::12"},
		{"the world, other node", "a3", "192.0.2.200 2001:db8::1", "br-ex_n3", "172.18.0.13 fd00:172:18::13"},
		{"no SNAT", "a2", "198.51.100.7 2001:db8:5::7", "br-ex_n2", ""},
		{"pod of another node", "a2", "a3", "ns_a3", ""},
		{"pod of a node in the other mode", "a2", "a4", "ns_a4", ""},
		{"own node's host", "a2", "172.18.0.12 fd00:172:18::12", "k8s-n2", ""},
		// It sees the node of the pod. So does the host of a node that has asked a pod through a service with the policy Local.
		{"other node's host", "a2", "172.18.0.13 fd00:172:18::13", "br-ex_n2", "172.18.0.12 fd00:172:18::12"},
		{"other node's host, local mode", "a4", "172.18.0.13 fd00:172:18::13", "k8s-n4", ""},
		{"the world, local mode", "a4", "192.0.2.200 2001:db8::1", "k8s-n4", ""},
		{"own node's host, local mode", "a4", "172.18.0.14 fd00:172:18::14", "k8s-n4", ""},
	} {
		if strings.HasPrefix(c.to, "a") {
			c.to = l.address(c.to)
		}
		snat := strings.Fields(c.snat + " - -")
		for i, to := range strings.Fields(c.to) {
			out := l.inject(l.podPacket(c.from, to), "--minimal")
			if got := outputOf(out); got != c.want {
				t.Errorf("%s: %s → %s comes out at %q, want %q\n%s", c.what, c.from, to, got, c.want, out)
			}
			if is, want := strings.Contains(out, "ct_snat("), c.snat != ""; is != want || want && !strings.Contains(out, ".src="+snat[i]+")") {
				t.Errorf("%s: %s → %s, want SNAT to %s\n%s", c.what, c.from, to, snat[i], out)
			}
		}
	}
}

// Answers come back to pods, and what comes through the gateway router of one node is answered through the same.
func TestAnswersTraced(t *testing.T) {
	l := newGateways(t)
	for _, to := range []string{"172.18.0.12", "fd00:172:18::12"} {
		if out := l.inject(l.outsidePacket(2, to)); !strings.HasSuffix(strings.TrimSpace(out), "ct_snat;") {
			t.Errorf("what comes to %s is not looked up among the translated connections:\n%s", to, out)
		}
	}
	// As they are after that, and without SNAT as they come; also when the pod is on another node.
	for _, pod := range []string{"a2", "b3", "a4"} {
		for _, to := range strings.Fields(l.address(pod)) {
			if out := l.inject(l.outsidePacket(2, to), "--minimal"); outputOf(out) != "ns_"+pod {
				t.Errorf("from outside to %s comes out at %q\n%s", to, outputOf(out), out)
			}
		}
	}
	for _, to := range []string{"100.64.0.3", "fd98::3"} {
		for _, pod := range []string{"a2", "a3", "a4"} {
			out := l.inject(l.podPacket(pod, to))
			if !strings.Contains(out, `inport="rtoj-GR_n3"`) || strings.Contains(out, `inport="rtoj-GR_n2"`) || strings.Contains(out, "ct_snat(") {
				t.Errorf("an answer of %s to the gateway router of n3 (%s) does not go straight there:\n%s", pod, to, out)
			}
		}
	}
	// The host behind the masquerade addresses.
	for _, to := range []string{"169.254.169.2", "fd69::2"} {
		out := l.inject(l.outsidePacket(2, to), "--minimal")
		if outputOf(out) != "br-ex_n2" || !strings.Contains(out, "eth.dst = "+names.MasqueradeNextHopMAC().String()) {
			t.Errorf("%s is not reached through the masquerade next hop:\n%s", to, out)
		}
		if out := l.inject(l.podPacket("a2", to), "--minimal"); outputOf(out) != "nowhere" {
			t.Errorf("a pod reaches the host by %s, where no policy looks:\n%s", to, out)
		}
	}
}

// What comes from outside with more than pods can take is told so, in both families, by the address it used.
func TestTooBigForPodsIsAnswered(t *testing.T) {
	l := newGateways(t)
	flows := l.sb.Ctl("lflow-list", "GR_n2")
	for _, want := range []string{
		`(outport == "rtoj-GR_n2"), action=(reg9[1] = check_pkt_larger(1414);`, // With the Ethernet header.
		`ip4.src = 172.18.0.12; ip.ttl = 255; icmp4.type = 3; /* Destination Unreachable. */ icmp4.code = 4; /* Frag Needed and DF was Set. */ icmp4.frag_mtu = 1400;`,
		`ip6.src = fd00:172:18::12; ip.ttl = 255; icmp6.type = 2; /* Packet Too Big. */ icmp6.code = 0; icmp6.frag_mtu = 1400;`,
		// And what a pod with a larger MTU of its own sends.
		`ip4.src = 100.64.0.2; ip.ttl = 255; icmp4.type = 3;`,
		`ip6.src = fd98::2; ip.ttl = 255; icmp6.type = 2;`,
	} {
		if !strings.Contains(flows, want) {
			t.Errorf("GR_n2 has no flow with %s", want)
		}
	}
	if t.Failed() {
		t.Log(flows)
	}
}

// Gateway routers are neighbours of the cluster router only: flows and neighbours grow with the nodes, not with their pairs.
func TestGatewaysDoNotKnowEachOther(t *testing.T) {
	l := newGateways(t)
	if flows := l.sb.Ctl("lflow-list", "GR_n2"); strings.Contains(flows, "100.64.0.3") || strings.Contains(flows, "fd98::3") {
		t.Errorf("GR_n2 has flows for GR_n3:\n%s", flows)
	}
	neighbours := l.sb.Ctl("--bare", "--columns=ip,mac", "find", "Static_MAC_Binding", "logical_port=rtoj-GR_n2")
	if got := strings.Fields(neighbours); len(got) != 4 || !strings.Contains(neighbours, "100.64.0.1\n") || !strings.Contains(neighbours, "fd98::1\n") {
		t.Errorf("GR_n2 has neighbours %q on the join switch, want the cluster router with both addresses", got)
	}
}

// A restart over unchanged gateways writes nothing. Rows that carry no owner's mark go with their node, too, when it went
// while nobody looked.
func TestRestartsAndFormerGateways(t *testing.T) {
	l := newGateways(t)
	l.stop()
	before := l.nb.Transactions()
	l.run()
	l.await("the next master is done", l.quiet)
	if after := l.nb.Transactions(); after != before {
		t.Errorf("a restart over unchanged gateways made %d transactions", after-before)
	}
	l.stop()
	l.nb.Ctl("create", "Static_MAC_Binding", "logical_port=rtoe-GR_n2", "ip=192.0.2.9", `mac="02:00:00:00:00:09"`) // An operator's.
	l.do(func() {
		l.nodes.Remove("n3")
		n, _ := l.nodes.Get("n2")
		moved := *n
		moved.Annotations = maps.Clone(n.Annotations)
		moved.Annotations[names.L3GatewayConfigAnnotation] = strings.ReplaceAll(moved.Annotations[names.L3GatewayConfigAnnotation], "172.18.0.12/", "172.18.0.112/")
		l.nodes.Put(&moved)
	})
	l.run()
	l.await("n3's rows and those of n2's former address are gone", func() bool {
		all := l.nb.Ctl("show") + l.nb.Ctl("list", "Static_MAC_Binding") + l.nb.Ctl("list", "Logical_Router_Static_Route") + l.nb.Ctl("list", "NAT")
		return l.quiet() && !strings.Contains(all, "n3") && !strings.Contains(all, "100.64.0.3") && !strings.Contains(all, "172.18.0.12\n") && strings.Contains(all, "172.18.0.112")
	})
	if left := l.nb.Ctl("--bare", "--columns=logical_port,ip", "list", "Static_MAC_Binding"); strings.Count(left, "GR_n2") != 7 || !strings.Contains(left, "192.0.2.9") {
		t.Errorf("neighbours of n2 are %q, want six and the operator's", left)
	}
}
