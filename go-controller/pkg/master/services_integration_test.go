//go:build integration

package master

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/service"
)

// testService is ns/NAME in both families, with ports for each protocol, whose endpoints are pods and hosts.
type testService struct {
	name      string
	number    int // of the cluster IPs
	endpoints []string
	change    func(*kube.Service)
}

var (
	testProtocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
	// hosts are nodes as endpoints.
	hosts = map[string][]string{"host-n2": {"172.18.0.12", "fd00:172:18::12"}, "host-n3": {"172.18.0.13", "fd00:172:18::13"}}
)

func (s testService) vips() []string {
	return []string{fmt.Sprintf("172.30.0.%d", s.number), fmt.Sprintf("fd02::%x", s.number)}
}

func (l *live) addTestService(s testService) {
	svc := &kube.Service{Namespace: "ns", Name: s.name, UID: l.nextUID()}
	for _, v := range s.vips() {
		svc.ClusterIPs = append(svc.ClusterIPs, netip.MustParseAddr(v))
	}
	families := []*kube.EndpointSlice{{Name: s.name + "-4"}, {Name: s.name + "-6"}}
	for _, p := range testProtocols {
		svc.Ports = append(svc.Ports, kube.ServicePort{Name: string(p), Protocol: p, Port: 80})
		for _, f := range families {
			f.Namespace, f.Service = "ns", s.name
			f.Ports = append(f.Ports, kube.EndpointPort{Name: string(p), Protocol: p, Port: 8080})
		}
	}
	if s.change != nil {
		s.change(svc)
	}
	for _, e := range s.endpoints {
		addresses, ok := hosts[e]
		if !ok {
			addresses = strings.Fields(l.address(e))
		}
		for i, f := range families {
			f.Endpoints = append(f.Endpoints, kube.Endpoint{
				Address: netip.MustParseAddr(addresses[i]), Ready: true, Serving: true, Node: "n" + e[len(e)-1:],
			})
		}
	}
	l.do(func() {
		for _, f := range families {
			l.endpointSlices.Put(f)
		}
		l.services.Put(svc) // Last: rows of the service have all endpoints from the first.
	})
}

func (l *live) newServices(t *testing.T, list ...testService) {
	t.Helper()
	for _, s := range list {
		l.addTestService(s)
	}
	l.await("services are served", func() bool { return l.quiet() && l.haveServices(list) })
	l.nb.Ctl("--wait=sb", "sync")
}

func (l *live) haveServices(list []testService) bool {
	have := l.nb.Ctl("--bare", "--columns=name", "list", "Load_Balancer")
	return !slices.ContainsFunc(list, func(s testService) bool { return !strings.Contains(have, "Service_ns/"+s.name+"_SCTP_") })
}

// serve traces a packet to port 80 of an address; from is a pod, "outside-ID" for a client outside of a node's bridge, or "host-ID" for
// its host.
func (l *live) serve(protocol corev1.Protocol, from, to string) string {
	l.t.Helper()
	return l.inject(l.servicePacket(protocol, from, to), "--ct=new", "--ct=new")
}

func (l *live) servicePacket(protocol corev1.Protocol, from, to string) string {
	flow := ""
	id, host := strings.CutPrefix(from, "host-")
	outside := false
	if !host {
		id, outside = strings.CutPrefix(from, "outside-")
	}
	if host || outside {
		flow = strings.NewReplacer("tcp.src==80", "tcp.src==40000", "tcp.dst==40000", "tcp.dst==80").Replace(
			l.outsidePacket(int(id[0]-'0'), to))
	} else {
		flow = l.podPacket(from, to)
	}
	if host {
		flow = strings.NewReplacer("192.0.2.200", names.MasqueradeHost(true).String(), "2001:db8::1", names.MasqueradeHost(false).String()).Replace(flow)
	}
	return strings.ReplaceAll(flow, "tcp", strings.ToLower(string(protocol)))
}

// outcome is where a packet comes out, or how it is refused; snat is what gateway routers do with its source.
func outcome(trace string) (at, snat string) {
	at = "nowhere"
	for line := range strings.Lines(trace) {
		line = strings.TrimSpace(line)
		// What gateway routers do about the source; ovn-trace forgets it in ct_lb_mark.
		for _, flag := range []string{"force_snat", "skip_snat"} {
			if strings.HasSuffix(line, "; "+flag+");") {
				snat = flag
			}
		}
		if rest, ok := strings.CutPrefix(line, `/* output to "`); ok && (strings.Contains(rest, `type ""`) || strings.Contains(rest, `type "localnet"`)) {
			at, _, _ = strings.Cut(rest, `"`)
		}
	}
	for _, refusal := range []string{"\ntcp_reset", "\nsctp_abort", "\nicmp4", "\nicmp6"} {
		if strings.Contains(strings.ReplaceAll(trace, " ", ""), refusal) {
			at = "refused to " + at
		}
	}
	if strings.Contains(trace, "ct_snat(") {
		snat = "done"
	}
	return at, snat
}

func newServiceTest(t *testing.T) *live {
	l := newLive(t)
	ovsdbtest.StartNorthd(t, l.nb, l.sb)
	l.addGatewayNode(2, names.GatewayModeShared)
	l.addGatewayNode(3, names.GatewayModeShared)
	for _, chassis := range []string{"id-n2", "id-n3"} { // As ovn-controller does: northd makes other flows without.
		l.sb.Ctl("set", "Chassis", chassis, "other_config:ct-no-masked-label=true", "other_config:ovn-ct-lb-related=true")
	}
	l.run()
	l.await("pods are served", func() bool { return l.ports() == 4 && l.quiet() })
	l.nb.Ctl("--wait=sb", "sync")
	l.knowNeighbours("n2", "n3")
	return l
}

// What the rows mean is judged by OVN itself.
func TestServicesTraced(t *testing.T) {
	l := newServiceTest(t)
	external := func(s *kube.Service) {
		s.ExternalIPs = []netip.Addr{netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8:9::9")}
	}
	l.newServices(t,
		testService{name: "near", number: 1, endpoints: []string{"b2"}},
		testService{name: "far", number: 2, endpoints: []string{"b3"}},
		testService{name: "none", number: 3, change: func(s *kube.Service) {
			s.ExternalIPs = []netip.Addr{netip.MustParseAddr("203.0.113.3"), netip.MustParseAddr("2001:db8:9::3")}
		}},
		testService{name: "own", number: 4, endpoints: []string{"a2"}},
		testService{name: "host", number: 5, endpoints: []string{"host-n2"}, change: func(s *kube.Service) {
			s.ExternalIPs = []netip.Addr{netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("2001:db8:9::5")}
		}},
		testService{name: "inside", number: 6, endpoints: []string{"b2"}, change: func(s *kube.Service) { s.InternalLocal = true }},
		testService{name: "everywhere", number: 7, endpoints: []string{"b3"}, change: external},
		testService{name: "outside", number: 8, endpoints: []string{"b2"}, change: func(s *kube.Service) {
			s.ExternalLocal = true
			s.LoadBalancerIPs = []netip.Addr{netip.MustParseAddr("203.0.113.8"), netip.MustParseAddr("2001:db8:9::8")}
		}},
		testService{name: "some", number: 10, endpoints: []string{"b2"}, change: func(s *kube.Service) {
			s.LoadBalancerIPs = []netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8:9::10")}
			s.SourceRanges = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("2001:db8::/64")}
		}},
		testService{name: "pods-only", number: 11, endpoints: []string{"b2"}, change: func(s *kube.Service) {
			s.LoadBalancerIPs = []netip.Addr{netip.MustParseAddr("203.0.113.11"), netip.MustParseAddr("2001:db8:9::11")}
			s.SourceRanges = []netip.Prefix{netip.MustParsePrefix("10.128.0.0/14"), netip.MustParsePrefix("fd01::/48")}
		}},
	)
	for _, c := range []struct{ what, from, to, want, snat string }{
		{"endpoint on the client's node", "a2", "172.30.0.1 fd02::1", "ns_b2", ""},
		{"endpoint on another node", "a2", "172.30.0.2 fd02::2", "ns_b3", ""},
		{"no endpoints", "a2", "172.30.0.3 fd02::3", "refused to ns_a2", ""},
		// From the address that was asked.
		// Neither leaves through the gateway nor waits: nobody has the address.
		{"no such service", "a2", "172.30.99.9 fd02::99", "refused to ns_a2", ""},
		{"no such service, from a host", "host-2", "172.30.99.9 fd02::99", "refused to nowhere", "done"}, // ovn-trace does not know the way back through SNAT
		{"a service, from a host", "host-2", "172.30.0.2 fd02::2", "ns_b3", "done"},
		{"no endpoints, from outside", "outside-2", "203.0.113.3 2001:db8:9::3", "refused to br-ex_n2", ""},
		{"a host, from a pod", "a2", "172.30.0.5 fd02::5", "k8s-n2", ""},
		{"another node's host, from a pod", "a3", "172.30.0.5 fd02::5", "br-ex_n3", "done"},
		{"a host, from outside through another node", "outside-3", "203.0.113.5 2001:db8:9::5", "br-ex_n3", "force_snat"},
		{"a host, from outside through its own node", "outside-2", "203.0.113.5 2001:db8:9::5", "br-ex_n2", "force_snat"},
		{"internal policy, here", "a2", "172.30.0.6 fd02::6", "ns_b2", ""},
		{"internal policy, elsewhere", "a3", "172.30.0.6 fd02::6", "nowhere", ""},
		{"external IP, from a pod", "a2", "203.0.113.9 2001:db8:9::9", "ns_b3", ""},
		{"external IP, from outside", "outside-2", "203.0.113.9 2001:db8:9::9", "ns_b3", "done"},
		{"external policy, from a pod elsewhere", "a3", "203.0.113.8 2001:db8:9::8", "ns_b2", ""},
		{"external policy, here", "outside-2", "203.0.113.8 2001:db8:9::8", "ns_b2", "skip_snat"},
		{"within the source ranges", "outside-3", "203.0.113.10 2001:db8:9::10", "ns_b2", "done"},
		{"a pod outside the source ranges", "a3", "203.0.113.10 2001:db8:9::10", "nowhere", ""},
		{"source ranges are about the load balancer's addresses", "a3", "172.30.0.10 fd02::a", "ns_b2", ""},
		{"outside the source ranges", "outside-3", "203.0.113.11 2001:db8:9::11", "nowhere", ""},
		{"a pod within the source ranges", "a2", "203.0.113.11 2001:db8:9::11", "ns_b2", ""},
		{"external policy, elsewhere", "outside-3", "203.0.113.8 2001:db8:9::8", "nowhere", "skip_snat"},
	} {
		for _, to := range strings.Fields(c.to) {
			for _, protocol := range testProtocols {
				out := l.serve(protocol, c.from, to)
				if at, snat := outcome(out); at != c.want || snat != c.snat {
					t.Errorf("%s: %s %s → %s comes out at %q with SNAT %q, want %q with %q\n%s", c.what, protocol, c.from, to, at, snat, c.want, c.snat, out)
				}
			}
		}
	}
}

// Between the first packet of a connection and the first answer OVN translates the destination before it looks for load balancers,
// and forgets the client's address.
func TestBurstsTraced(t *testing.T) {
	l := newServiceTest(t)
	for _, c := range []struct{ pod, snat string }{{"b2", "- -"}, {"b3", "100.64.0.2 fd98::2"}} {
		for i, to := range strings.Fields(l.address(c.pod)) {
			for _, state := range []string{"new", "est,rpl"} {
				out := l.inject(l.outsidePacket(2, to), "--ct="+state, "--ct="+state)
				_, after, done := strings.Cut(out, "ct_snat(ip")
				want := strings.Fields(c.snat)[i]
				if done = done && state == "new"; done != (want != "-" && state == "new") || done && !strings.Contains(after[:40], want) || outputOf(l.inject(l.outsidePacket(2, to), "--minimal")) != "ns_"+c.pod {
					t.Errorf("from outside through n2 to %s at %s (%s), want SNAT to %s:\n%s", c.pod, to, state, want, out)
				}
			}
		}
	}
}

// What ovn-trace cannot judge: it knows neither template variables nor the memory of affinity.
func TestNodePortsAndAffinity(t *testing.T) {
	l := newServiceTest(t)
	l.newServices(t,
		testService{name: "port", number: 1, endpoints: []string{"b2"}, change: withNodePorts},
		testService{name: "sticky", number: 2, endpoints: []string{"b2", "b3"}, change: func(s *kube.Service) {
			withNodePorts(s)
			s.AffinityTimeout = 7 * time.Second
		}},
		testService{name: "hashed", number: 3, endpoints: []string{"b2", "b3"}, change: func(s *kube.Service) {
			withNodePorts(s)
			s.AffinityTimeout = 3 * time.Hour
		}},
	)
	variables := l.sb.Ctl("--bare", "--columns=variables", "find", "Chassis_Template_Var", "chassis=id-n3")
	for _, want := range []string{"NODEIP_IPv4_0=172.18.0.13", "NODEIP_IPv6_0=fd00:172:18::13"} {
		if !strings.Contains(strings.ReplaceAll(variables, `"`, ""), want) {
			t.Errorf("variables of n3 are %s, want %s", variables, want)
		}
	}
	// Which pod has which address is not given.
	near, far := strings.Fields(l.address("b2")), strings.Fields(l.address("b3"))
	here := strings.NewReplacer("NEAR4", near[0], "NEAR6", near[1], "FAR4", far[0], "FAR6", far[1]).Replace
	flows := map[string]string{"GR_n3": l.sb.Ctl("lflow-list", "GR_n3"), "n3": l.sb.Ctl("lflow-list", "n3")}
	for _, c := range []struct{ datapath, match, action string }{
		{"GR_n3", "ip4.dst == ^NODEIP_IPv4_0 && sctp && sctp.dst == 30001", "ct_lb_mark(backends=NEAR4:8080; force_snat)"},
		{"GR_n3", "ip6.dst == ^NODEIP_IPv6_0 && udp && udp.dst == 30001", "ct_lb_mark(backends=[NEAR6]:8080; force_snat)"},
		{"n3", "ip4.dst == ^NODEIP_IPv4_0 && tcp.dst == 30001", "ct_lb_mark(backends=NEAR4:8080)"},
		{"n3", "ip6.dst == ^NODEIP_IPv6_0 && tcp.dst == 30001", "ct_lb_mark(backends=[NEAR6]:8080)"},
		{"GR_n3", "ip4.dst == FAR4", `commit_lb_aff(vip = "172.30.0.2:80", backend = "FAR4:8080", proto = tcp, timeout = 7)`},
		{"GR_n3", "ip6.dst == FAR6", `commit_lb_aff(vip = "[fd00:172:18::13]:30002", backend = "[FAR6]:8080", proto = udp, timeout = 7)`},
		{"n3", "ip4.dst == FAR4", `commit_lb_aff(vip = "172.18.0.13:30002", backend = "FAR4:8080", proto = sctp, timeout = 7)`},
		{"n3", "ip4.dst == 172.30.0.3 && tcp.dst == 80", `hash_fields="ip_src"`},
		{"n3", "ip6.dst == fd02::3 && tcp.dst == 80", fmt.Sprintf("hash_fields=%q", ipv6HashFields(t))},
		{"GR_n3", "ip4.dst == ^NODEIP_IPv4_0 && udp && udp.dst == 30003", `hash_fields="ip_src"`},
	} {
		if !slices.ContainsFunc(strings.Split(flows[c.datapath], "\n"), func(flow string) bool {
			match, action, _ := strings.Cut(flow, "action=")
			return strings.Contains(match, here(c.match)) && strings.Contains(action, here(c.action))
		}) {
			t.Errorf("%s has no flow matching %s that does %s", c.datapath, here(c.match), here(c.action))
		}
	}
	if strings.Contains(flows["GR_n3"], "172.18.0.12:30002") {
		t.Error("n3 answers on n2's address")
	}
	if t.Failed() {
		t.Log(flows)
	}
}

// ipv6HashFields are what the installed OVN can tell clients apart by.
func ipv6HashFields(t *testing.T) string {
	schema, err := os.ReadFile(ovsdbtest.NB().Schema)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(schema), service.SelectsByIPv6) {
		return service.SelectsByIPv6
	}
	return "eth_src,ip_src"
}

func withNodePorts(s *kube.Service) {
	for i := range s.Ports {
		s.Ports[i].NodePort = 30000 + uint16(s.ClusterIPs[0].As4()[3])
	}
}

// A restart over services of all kinds writes nothing; what went while nobody looked is deleted.
func TestRestartsWithServices(t *testing.T) {
	l := newServiceTest(t)
	l.newServices(t,
		testService{name: "plain", number: 1, endpoints: []string{"b2"}},
		testService{name: "host", number: 2, endpoints: []string{"host-n2"}, change: withNodePorts},
		testService{name: "local", number: 3, endpoints: []string{"b2"}, change: func(s *kube.Service) {
			withNodePorts(s)
			s.InternalLocal, s.ExternalLocal = true, true
		}},
		testService{name: "gone", number: 4, endpoints: []string{"b2"}, change: withNodePorts},
	)
	l.stop()
	before := l.nb.Transactions()
	l.run()
	l.await("the next master is done", l.quiet)
	if after := l.nb.Transactions(); after != before {
		t.Errorf("a restart over unchanged services made %d transactions", after-before)
	}
	l.stop()
	l.do(func() { l.services.Remove("ns/gone"); l.nodes.Remove("n3") })
	l.run()
	l.await("what is gone has no rows", func() bool {
		all := l.nb.Ctl("list", "Load_Balancer") + l.nb.Ctl("list", "Chassis_Template_Var") + l.nb.Ctl("list", "Logical_Router_Static_Route") +
			l.nb.Ctl("list", "NAT") + l.nb.Ctl("list", "Address_Set")
		return l.quiet() && !strings.Contains(all, "ns/gone") && !strings.Contains(all, "n3") && !strings.Contains(all, "pods_of_others_3")
	})
	if left := l.nb.Ctl("--bare", "--columns=name", "list", "Load_Balancer"); !strings.Contains(left, "Service_ns/plain_TCP_cluster") ||
		!strings.Contains(left, "Service_ns/host_TCP_node_router_n2") {
		t.Errorf("load balancers %s", left)
	}
}
