package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/openflow"
)

// update rewrites the expected flows instead of comparing: OVNKUBE_UPDATE_GOLDEN=1 go test.
const update = "OVNKUBE_UPDATE_GOLDEN"

func facts() Facts {
	return Facts{
		MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, NIC: 1, Patch: 2,
		Addresses:    addrs("172.18.0.11", "fd00:172:18::b"),
		ServiceCIDRs: prefixes("172.30.0.0/16", "fd02::/112"),
	}
}

// The flows are what testdata says, word for word.
func TestFlows(t *testing.T) {
	unpatched := facts()
	unpatched.Patch = 0
	single := facts()
	single.Addresses, single.ServiceCIDRs = single.Addresses[:1], single.ServiceCIDRs[:1]
	ports := facts()
	ports.Ports = []ServicePort{
		{openflow.TCP, 30080, netip.MustParseAddr("172.18.0.11")}, {openflow.UDP, 53, netip.MustParseAddr("192.0.2.7")},
		{openflow.SCTP, 30080, netip.MustParseAddr("fd00:172:18::b")},
	}
	for name, f := range map[string]Facts{"dual": facts(), "before-router": unpatched, "ipv4": single, "service-ports": ports} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, flow := range Flows(f) {
				fmt.Fprintf(&b, "%s\n    # %s\n", text(t, flow), flow.Purpose)
			}
			file := filepath.Join("testdata", name+".flows")
			if os.Getenv(update) != "" {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("flows (-want +got):\n%s", diff)
			}
		})
	}
}

func text(t *testing.T, f openflow.Flow) string {
	t.Helper()
	text, err := f.Text(0)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Two flows with the same match would be one, and a bridge is a switch whatever else is missing.
func TestFlowsAreDistinct(t *testing.T) {
	for _, patch := range []int{0, 2} {
		f := facts()
		f.Patch = patch
		seen := map[string]bool{}
		normal := false
		for _, flow := range Flows(f) {
			key, actions, _ := strings.Cut(text(t, flow), ",actions=")
			if seen[key] {
				t.Errorf("twice: %s", key)
			}
			seen[key] = true
			if flow.Purpose == "" {
				t.Errorf("for what is %s?", key)
			}
			normal = normal || (key == "priority=0,table=0,idle_timeout=0" && actions == "normal")
		}
		if !normal {
			t.Error("there is no default flow")
		}
	}
}

func TestHost(t *testing.T) {
	h := Host{
		Addresses: prefixes("172.18.0.11/24", "fd00:172:18::b/64"), ServiceCIDRs: prefixes("172.30.0.0/16", "fd02::/112"),
		Subnets: prefixes("10.128.2.0/23", "fd01:0:0:1::/64"), MTU: 1400,
	}
	got := append(describe(External(h)), describe(Management(h))...)
	want := []string{
		"br-ex address 169.254.169.2/32 deprecated false",
		"br-ex address fd69::2/128 deprecated true",
		"br-ex route 169.254.169.0/30 via invalid IP src 169.254.169.2 onlink false mtu 0",
		"br-ex route 169.254.169.1/32 via invalid IP src 172.18.0.11 onlink false mtu 0",
		"br-ex route 172.30.0.0/16 via 169.254.169.4 src 169.254.169.2 onlink true mtu 1400",
		"br-ex route fd69::/126 via invalid IP src fd69::2 onlink false mtu 0",
		"br-ex route fd69::1/128 via invalid IP src fd00:172:18::b onlink false mtu 0",
		"br-ex route fd02::/112 via fd69::4 src fd69::2 onlink true mtu 1400",
		"br-ex neighbour 169.254.169.1 0a:58:a9:fe:a9:04",
		"br-ex neighbour 169.254.169.4 0a:58:a9:fe:a9:04",
		"br-ex neighbour fd69::1 0a:58:a9:fe:a9:04",
		"br-ex neighbour fd69::4 0a:58:a9:fe:a9:04",
		"ovn-k8s-mp0 route 169.254.169.3/32 via 10.128.2.1 src invalid IP onlink false mtu 0",
		"ovn-k8s-mp0 route fd69::3/128 via fd01:0:0:1::1 src invalid IP onlink false mtu 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("host (-want +got):\n%s", diff)
	}
	h.Addresses = nil
	if got := describe(External(h)); got != nil {
		t.Errorf("a host without address has %v", got)
	}
}

func describe(d hostnet.Desired) []string {
	var out []string
	for _, a := range d.Addresses {
		out = append(out, fmt.Sprintf("%s address %s deprecated %t", d.Device, a.Prefix, a.Deprecated))
	}
	for _, r := range d.Routes {
		out = append(out, fmt.Sprintf("%s route %s via %s src %s onlink %t mtu %d", d.Device, r.Destination, r.Gateway, r.Source, r.OnLink, r.MTU))
	}
	for _, n := range d.Neighbours {
		out = append(out, fmt.Sprintf("%s neighbour %s %s", d.Device, n.Address, n.MAC))
	}
	return out
}

func TestAddresses(t *testing.T) {
	found := []hostnet.Address{
		{Prefix: netip.MustParsePrefix("fd00::b/64")}, {Prefix: netip.MustParsePrefix("172.18.0.12/24")},
		{Prefix: netip.MustParsePrefix("172.18.0.11/24")}, {Prefix: netip.MustParsePrefix("172.18.0.12/24")},
	}
	for pools, want := range map[string]string{
		"10.128.0.0/14 fd01::/48": "[172.18.0.12/24 172.18.0.11/24 fd00::b/64]", "fd01::/48": "[fd00::b/64]",
	} {
		if got := fmt.Sprint(Addresses(found, prefixes(strings.Fields(pools)...))); got != want {
			t.Errorf("with pools %s: %s, want %s", pools, got, want)
		}
	}
}

func TestNextHops(t *testing.T) {
	hop := func(dst, via string, metric, table int) hostnet.Route {
		r := hostnet.Route{Destination: netip.MustParsePrefix(dst), Metric: metric, Table: table}
		if via != "" {
			r.Gateway = netip.MustParseAddr(via)
		}
		return r
	}
	const main = hostnet.MainTable
	routes := []hostnet.Route{
		hop("192.0.2.0/24", "172.18.0.7", 0, main), hop("0.0.0.0/0", "172.18.0.9", 0, 100), hop("0.0.0.0/0", "", 0, main),
		hop("0.0.0.0/0", "172.18.0.3", 200, main), hop("0.0.0.0/0", "172.18.0.1", 100, main),
		hop("0.0.0.0/0", "172.18.0.2", 100, main), hop("::/0", "fe80::1", 1024, main),
	}
	dual := prefixes("172.18.0.11/24", "fd00::b/64")
	cases := []struct {
		name       string
		addresses  []netip.Prefix
		configured []netip.Addr
		want       string
	}{
		{"default routes", dual, nil, "[172.18.0.1 fe80::1]"},
		{"one family is configured", dual, addrs("172.18.0.254", "172.18.0.253"), "[172.18.0.254 172.18.0.253 fe80::1]"},
		{"one family has an address", dual[1:], addrs("172.18.0.254"), "[fe80::1]"},
	}
	for _, c := range cases {
		if got := fmt.Sprint(NextHops(c.addresses, c.configured, routes)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if got := NextHops(dual, nil, nil); got != nil {
		t.Errorf("without routes: %v", got)
	}
}

func addrs(in ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range in {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func prefixes(in ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range in {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// Flows that call themselves the same have the same text, whatever else differs.
func TestSameFlows(t *testing.T) {
	seen := map[any]string{}
	change := []func(*Facts){
		func(*Facts) {}, func(f *Facts) { f.NIC = 3 }, func(f *Facts) { f.Patch = 4 }, func(f *Facts) { f.MAC = net.HardwareAddr{2, 0, 0, 0, 0, 2} },
		func(f *Facts) { f.Ports[0].Port++ }, func(f *Facts) { f.Ports[0].Protocol = openflow.UDP }, func(f *Facts) { f.Ports[0].Addr = f.Addresses[0] },
	}
	for _, c := range change {
		f := facts()
		f.Ports = []ServicePort{{openflow.TCP, 30080, netip.MustParseAddr("172.18.0.12")}}
		c(&f)
		for _, flow := range Flows(f) {
			if flow.Same == nil {
				continue
			}
			if before, ok := seen[flow.Same]; ok && before != text(t, flow) {
				t.Errorf("%v is %s and %s", flow.Same, before, text(t, flow))
			}
			seen[flow.Same] = text(t, flow)
		}
	}
	if want := 2 * len(change); len(seen) != want {
		t.Errorf("%d different flows, want %d", len(seen), want)
	}
}
