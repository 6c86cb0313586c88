package netfilter

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

func addrs(in ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range in {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func testFacts() Facts {
	return Facts{
		Node: "node1", Addresses: addrs("172.18.0.11", "fd00:172:18::b"),
		Subnets:      []netip.Prefix{netip.MustParsePrefix("10.128.2.0/23"), netip.MustParsePrefix("fd01:0:0:1::/64")},
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("172.30.0.0/16"), netip.MustParsePrefix("fd02::/112")},
	}
}

// service makes a dual-stack service ns/web with one port 80; edit changes it.
func service(edit func(*kube.Service)) *kube.Service {
	s := &kube.Service{
		Namespace: "ns", Name: "web", Type: corev1.ServiceTypeNodePort, ClusterIPs: addrs("172.30.44.86", "fd02::5"),
		Ports: []kube.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, NodePort: 31785}},
	}
	if edit != nil {
		edit(s)
	}
	return s
}

// endpoints reads words like "10.128.2.7@node1", with "!" for one that is not ready and "~" for one that terminates.
func endpoints(words ...string) []*kube.EndpointSlice {
	slice := &kube.EndpointSlice{
		Namespace: "ns", Name: "web-1", Service: "web", Ports: []kube.EndpointPort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 8080}},
	}
	for _, w := range words {
		address, node, _ := strings.Cut(strings.TrimLeft(w, "!~"), "@")
		slice.Endpoints = append(slice.Endpoints, kube.Endpoint{
			Address: netip.MustParseAddr(address), Node: node, Ready: !strings.ContainsAny(w, "!~"), Serving: w[0] != '!', Terminating: w[0] == '~',
		})
	}
	return []*kube.EndpointSlice{slice}
}

func texts(rules []Rule) []string {
	var out []string
	for _, r := range rules {
		family := 6
		if r.V4 {
			family = 4
		}
		text := fmt.Sprintf("%d %s %s", family, r.Kind, r.Protocol)
		if r.Dest.IsValid() {
			text += " " + r.Dest.String()
		}
		text += fmt.Sprintf(" %d", r.Port)
		if r.To.IsValid() {
			text += " -> " + r.To.String()
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

func TestServiceRules(t *testing.T) {
	v4 := func(s *kube.Service) { s.ClusterIPs = s.ClusterIPs[:1] }
	local := func(s *kube.Service) { v4(s); s.ExternalLocal = true }
	internal := func(s *kube.Service) { v4(s); s.Ports[0].NodePort = 0; s.InternalLocal = true }
	for name, c := range map[string]struct {
		edit   func(*kube.Service)
		slices []*kube.EndpointSlice
		want   []string
	}{
		"cluster IP": {func(s *kube.Service) { s.Ports[0].NodePort = 0 }, endpoints("10.128.2.7@node1"), nil},
		"headless":   {func(s *kube.Service) { s.ClusterIPs = nil }, endpoints("10.128.2.7@node1"), nil},
		"node port": {nil, nil, []string{
			"4 nodeport tcp 31785 -> 172.30.44.86:80", "6 nodeport tcp 31785 -> [fd02::5]:80"}},
		"protocols": {func(s *kube.Service) {
			v4(s)
			s.Ports = []kube.ServicePort{{Protocol: "UDP", Port: 53, NodePort: 30053}, {Protocol: "SCTP", Port: 7, NodePort: 30007}, {Protocol: "QUIC", Port: 9, NodePort: 30009}}
		}, nil, []string{"4 nodeport sctp 30007 -> 172.30.44.86:7", "4 nodeport udp 30053 -> 172.30.44.86:53"}},
		"addresses of both families": {func(s *kube.Service) {
			s.Ports[0].NodePort = 0
			s.ExternalIPs, s.LoadBalancerIPs = addrs("192.0.2.1"), addrs("192.0.2.2", "2001:db8::2")
		}, nil, []string{
			"4 external IP tcp 192.0.2.1 80 -> 172.30.44.86:80", "4 external IP tcp 192.0.2.2 80 -> 172.30.44.86:80",
			"6 external IP tcp 2001:db8::2 80 -> [fd02::5]:80"}},
		"address of a family without cluster IP": {func(s *kube.Service) { v4(s); s.Ports[0].NodePort = 0; s.ExternalIPs = addrs("2001:db8::2") }, nil, nil},
		"local, endpoints or not": {func(s *kube.Service) { local(s); s.LoadBalancerIPs = addrs("192.0.2.2") }, nil, []string{
			"4 external IP tcp 192.0.2.2 80 -> 172.30.44.86:80", "4 local external IP tcp 192.0.2.2 80 -> 169.254.169.3:31785",
			"4 local nodeport tcp 31785 -> 169.254.169.3:31785", "4 nodeport tcp 31785 -> 172.30.44.86:80"}},
		"local, on the host": {local, endpoints("10.128.2.7@node1", "172.18.0.11@node1"), []string{
			"4 local nodeport tcp 31785 -> 172.18.0.11:8080", "4 nodeport tcp 31785 -> 172.30.44.86:80"}},
		"local, on another host": {local, endpoints("172.18.0.12@node2"), []string{
			"4 local nodeport tcp 31785 -> 169.254.169.3:31785", "4 nodeport tcp 31785 -> 172.30.44.86:80"}},
		"local, no node ports": {func(s *kube.Service) { local(s); s.Ports[0].NodePort = 0; s.LoadBalancerIPs = addrs("192.0.2.2") },
			endpoints("10.128.2.9@node1", "10.128.2.7@node1"), []string{
				"4 external IP tcp 192.0.2.2 80 -> 172.30.44.86:80", "4 keep source tcp 10.128.2.7 8080",
				"4 local external IP tcp 192.0.2.2 80 -> 10.128.2.7:8080"}},
		"not for everybody": {func(s *kube.Service) {
			local(s)
			s.ExternalIPs, s.LoadBalancerIPs = addrs("192.0.2.1", "192.0.2.3"), addrs("192.0.2.2", "192.0.2.3")
			s.SourceRanges = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		}, endpoints("172.18.0.11@node1"), []string{
			"4 external IP tcp 192.0.2.1 80 -> 172.30.44.86:80",
			"4 internal tcp 192.0.2.2 80 -> 172.30.44.86:80", "4 internal tcp 192.0.2.3 80 -> 172.30.44.86:80", "4 internal tcp 192.0.2.3 80 -> 172.30.44.86:80",
			"4 local external IP tcp 192.0.2.1 80 -> 172.18.0.11:8080",
			"4 local nodeport tcp 31785 -> 172.18.0.11:8080", "4 nodeport tcp 31785 -> 172.30.44.86:80"}},
		"internal, pods": {internal, endpoints("10.128.2.7@node1"), []string{"4 internal mark tcp 172.30.44.86 80"}},
		"internal, host": {internal, endpoints("172.18.0.11@node1"), []string{"4 internal tcp 172.30.44.86 80 -> 172.18.0.11:8080"}},
		"internal, host not ready": {internal, endpoints("!172.18.0.11@node1"),
			[]string{"4 internal mark tcp 172.30.44.86 80"}},
		"internal, host terminates": {internal, endpoints("~172.18.0.11@node1"),
			[]string{"4 internal tcp 172.30.44.86 80 -> 172.18.0.11:8080"}},
		"internal, host terminates, others do not": {internal, endpoints("~172.18.0.11@node1", "10.128.2.7@node1"),
			[]string{"4 internal mark tcp 172.30.44.86 80"}},
		"another port's endpoints": {func(s *kube.Service) { internal(s); s.Ports[0].Name = "other" }, endpoints("172.18.0.11@node1"),
			[]string{"4 internal mark tcp 172.30.44.86 80"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := texts(ServiceRules(service(c.edit), c.slices, testFacts()))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSingleStackNodeServesItsFamilyAlone(t *testing.T) {
	f := testFacts()
	f.Subnets = f.Subnets[:1]
	want := []string{"4 nodeport tcp 31785 -> 172.30.44.86:80"}
	if diff := cmp.Diff(want, texts(ServiceRules(service(nil), nil, f))); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutNodePorts(t *testing.T) {
	f := testFacts()
	f.NoNodePorts = true
	s := service(func(s *kube.Service) { s.ExternalLocal, s.ExternalIPs = true, addrs("192.0.2.1") })
	want := []string{"4 external IP tcp 192.0.2.1 80 -> 172.30.44.86:80", "4 local external IP tcp 192.0.2.1 80 -> 169.254.169.3:31785"}
	if diff := cmp.Diff(want, texts(ServiceRules(s, nil, f))); diff != "" {
		t.Error(diff)
	}
}

func TestLedger(t *testing.T) {
	l := NewLedger()
	shared := func(to string) []Rule {
		return []Rule{{Key{Kind: ExternalIP, V4: true, Protocol: TCP, Dest: netip.MustParseAddr("192.0.2.1"), Port: 80}, netip.MustParseAddrPort(to)}}
	}
	key := shared("172.30.0.1:80")[0].Key
	expect := func(step, to string, touched int) {
		t.Helper()
		got, ok := l.Get(key)
		if ok != (to != "") || ok && got.String() != to {
			t.Errorf("%s: %v %t", step, got, ok)
		}
		if n := len(l.TakeTouched()); n != touched {
			t.Errorf("%s: touched %d keys", step, n)
		}
	}
	l.Set("ns/b", shared("172.30.0.2:80"))
	expect("one", "172.30.0.2:80", 1)
	l.Set("ns/b", shared("172.30.0.2:80"))
	expect("the same again", "172.30.0.2:80", 0)
	l.Set("ns/a", shared("172.30.0.1:80"))
	expect("the first by name has it", "172.30.0.1:80", 1)
	l.Set("ns/a", nil)
	expect("the other one gets it back", "172.30.0.2:80", 1)
	l.Set("ns/b", nil)
	expect("nobody", "", 1)
}

// With the policy Local it depends on the endpoints by which way packets come, so nothing is chosen before they are known.
func TestLocalServiceWaitsForItsSlices(t *testing.T) {
	local := service(func(s *kube.Service) { s.ExternalLocal, s.Selects = true, true })
	if got := texts(ServiceRules(local, nil, testFacts())); len(got) != 0 {
		t.Errorf("without slices: %q", got)
	}
	if got := ServiceRules(local, endpoints(), testFacts()); len(got) == 0 {
		t.Error("no rules with a slice")
	}
	manual := service(func(s *kube.Service) { s.ExternalLocal = true })
	if got := ServiceRules(manual, nil, testFacts()); len(got) == 0 {
		t.Error("no rules for a service whose slices nobody makes")
	}
}

// What is written for a protocol is what is written for TCP, with another name.
func TestProtocolsAreWrittenAlike(t *testing.T) {
	local := func(s *kube.Service) { everything(s); s.InternalLocal = false }
	for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolSCTP} {
		name := strings.ToLower(string(protocol))
		for what, c := range map[string]struct {
			edit   func(*kube.Service)
			slices []*kube.EndpointSlice
		}{
			"all kinds":              {everything, nil},
			"policy Cluster":         {func(s *kube.Service) { everything(s); s.ExternalLocal, s.InternalLocal = false, false }, nil},
			"policy Local, the host": {local, endpoints("172.18.0.11@node1", "fd00:172:18::b@node1")},
			"internal, the host":     {everything, endpoints("172.18.0.11@node1", "fd00:172:18::b@node1")},
			"without node ports":     {func(s *kube.Service) { local(s); s.Ports[0].NodePort = 0 }, endpoints("10.128.2.7@node1", "fd01:0:0:1::7@node1")},
		} {
			write := func(protocol corev1.Protocol) string {
				s := service(c.edit)
				s.Ports[0].Protocol = protocol
				for _, slice := range c.slices {
					slice.Ports[0].Protocol = protocol
				}
				l := NewLedger()
				l.Set(s.Key(), ServiceRules(s, c.slices, testFacts()))
				var out strings.Builder
				for _, k := range l.Keys() {
					to, _ := l.Get(k)
					fmt.Fprintln(&out, ruleText(k, to))
				}
				r, fake := fakeNFTables()
				syncAll(t, r, l)
				for line := range strings.Lines(fake.Dump()) {
					if strings.HasPrefix(line, "add element") {
						out.WriteString(line)
					}
				}
				return out.String()
			}
			want := strings.ReplaceAll(write(corev1.ProtocolTCP), "tcp", name)
			if got := write(protocol); got != want || !strings.Contains(got, "-p "+name+" ") || !strings.Contains(got, name+" . ") {
				t.Errorf("%s, %s (-as for TCP, +now):\n%s", protocol, what, cmp.Diff(want, got))
			}
		}
	}
}
