//go:build integration

package master

import (
	"encoding/csv"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// expandTemplates does in the northbound database what ovn-controller does on each chassis, for ovn-trace does not know the variables
// of nodes: load balancers get the addresses of the nodes that they are in effect on. The master must have stopped.
func (l *live) expandTemplates(nodes map[string][2]string) {
	l.t.Helper()
	rows, err := csv.NewReader(strings.NewReader(l.nb.Ctl("--format=csv", "--no-headings", "--data=bare", "--columns=_uuid,name,vips", "list", "Load_Balancer"))).ReadAll()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, row := range rows {
		var vips []string
		for _, vip := range strings.Fields(row[2]) {
			from, backends, _ := strings.Cut(vip, "=")
			variable, port, _ := strings.Cut(from, ":")
			for node, addresses := range nodes {
				if strings.Contains(row[1], "_node_") && !strings.Contains(row[1]+"_", "_"+node+"_") {
					continue // another node's own
				}
				switch variable {
				case "^" + names.NodeAddressVariable(true, 0):
					vips = append(vips, fmt.Sprintf(`vips:"%s:%s"="%s"`, addresses[0], port, backends))
				case "^" + names.NodeAddressVariable(false, 0):
					vips = append(vips, fmt.Sprintf(`vips:"[%s]:%s"="%s"`, addresses[1], port, backends))
				}
			}
		}
		if vips != nil {
			l.nb.Ctl(append([]string{"clear", "Load_Balancer", row[0], "vips", "--", "set", "Load_Balancer", row[0], "options:template=false"}, vips...)...)
		}
	}
	l.nb.Ctl("--wait=sb", "sync")
	l.passUnSNAT()
}

// passUnSNAT lets traces go on behind "ct_snat;", where ovn-trace ends at gateway routers, as if nothing were to be translated back. What is
// sent to a port of the router's own address passes it since OVN 25.03. northd stands still from here on.
func (l *live) passUnSNAT() {
	l.t.Helper()
	l.nb.PauseNorthd()
	var edits []string
	for _, flow := range strings.Fields(l.sb.Ctl("--bare", "--columns=_uuid", "find", "Logical_Flow", "pipeline=ingress", `actions="ct_snat;"`)) {
		edits = append(edits, "--", "set", "Logical_Flow", flow, `actions="next;"`)
	}
	if edits != nil {
		l.sb.Ctl(edits[1:]...)
	}
}

// managementPacket is what a node's host sends on by its management port for a client outside.
func (l *live) managementPacket(node, pod, to string) string {
	own, source, family := strings.Fields(l.address(pod)), "192.0.2.200", "ip4"
	subnet := netip.PrefixFrom(netip.MustParseAddr(own[0]), 23)
	if !netip.MustParseAddr(to).Is4() {
		source, family = "2001:db8::1", "ip6"
	}
	return fmt.Sprintf(`inport=="%s" && eth.src==%s && eth.dst==%s && %s.src==%s && %s.dst==%s && ip.ttl==64 && tcp && tcp.src==40000 && tcp.dst==80`,
		names.ManagementLogicalPort(node), addr.MAC(addr.Management(subnet)), addr.MAC(addr.Router(subnet)), family, source, family, to)
}

// Node ports of all protocols, as OVN itself judges them.
func TestNodePortsTraced(t *testing.T) {
	l := newServiceTest(t)
	l.newServices(t,
		testService{name: "port", number: 1, endpoints: []string{"b3"}, change: withNodePorts},
		testService{name: "local", number: 2, endpoints: []string{"b2"}, change: func(s *kube.Service) { withNodePorts(s); s.ExternalLocal = true }},
		testService{name: "none", number: 3, change: withNodePorts},
		testService{name: "host", number: 4, endpoints: []string{"host-n2"}, change: withNodePorts},
	)
	l.stop()
	l.expandTemplates(map[string][2]string{"n2": {"172.18.0.12", "fd00:172:18::12"}, "n3": {"172.18.0.13", "fd00:172:18::13"}})
	n2, n3, toLocal := "172.18.0.12 fd00:172:18::12", "172.18.0.13 fd00:172:18::13", names.MasqueradeHostLocal(true).String()+" "+names.MasqueradeHostLocal(false).String()
	for _, c := range []struct {
		what, from, to string
		port           int
		want, snat     string
	}{
		{"from outside", "outside-2", n2, 30001, "ns_b3", "done"},
		{"from outside, at the endpoint's node", "outside-3", n3, 30001, "ns_b3", "force_snat"},
		{"from a pod, at its own node", "a2", n2, 30001, "ns_b3", ""},
		{"from a pod, at another node", "a2", n3, 30001, "ns_b3", ""},
		{"policy Local, at the endpoint's node", "outside-2", n2, 30002, "ns_b2", "skip_snat"},
		{"policy Local, at another node", "outside-3", n3, 30002, "nowhere", "skip_snat"},
		{"policy Local, by way of the host", "mgmt-2", toLocal, 30002, "ns_b2", ""},
		{"policy Local, by way of a host without endpoint", "mgmt-3", toLocal, 30002, "nowhere", ""},
		{"policy Local, from a pod", "a3", n3, 30002, "ns_b2", ""},
		{"no endpoints", "outside-2", n2, 30003, "refused to br-ex_n2", ""},
		{"a host, through another node", "outside-3", n3, 30004, "br-ex_n3", "force_snat"},
	} {
		for _, to := range strings.Fields(c.to) {
			for _, protocol := range testProtocols {
				packet := ""
				if node, ok := strings.CutPrefix(c.from, "mgmt-"); ok {
					packet = strings.ReplaceAll(l.managementPacket("n"+node, "a"+node, to), "tcp", strings.ToLower(string(protocol)))
				} else {
					packet = l.servicePacket(protocol, c.from, to)
				}
				out := l.inject(strings.Replace(packet, ".dst==80", fmt.Sprintf(".dst==%d", c.port), 1), "--ct=new", "--ct=new")
				if at, snat := outcome(out); at != c.want || snat != c.snat {
					t.Errorf("%s: %s %s → %s port %d comes out at %q with SNAT %q, want %q with %q\n%s", c.what, protocol, c.from, to, c.port, at, snat, c.want, c.snat, out)
				}
			}
		}
	}
	if t.Failed() {
		t.Log(l.nb.Ctl("--columns=name,vips", "list", "Load_Balancer"))
	}
}
