package annotations

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

func mac(t *testing.T, s string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func prefixes(ss ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// The text is what other programs read and write: it is compared to the letter.
func TestPodNetwork(t *testing.T) {
	for name, c := range map[string]struct {
		network PodNetwork
		text    string
	}{
		"IPv4": {
			PodNetwork{MAC: mac(t, "0a:58:0a:80:00:05"), Addresses: prefixes("10.128.0.5/23"), Gateways: []netip.Addr{netip.MustParseAddr("10.128.0.1")}},
			`{"default":{"ip_addresses":["10.128.0.5/23"],"mac_address":"0a:58:0a:80:00:05","gateway_ips":["10.128.0.1"],"ip_address":"10.128.0.5/23","gateway_ip":"10.128.0.1","role":"primary"}}`,
		},
		"dual stack with a route": {
			PodNetwork{
				MAC: mac(t, "0a:58:0a:80:00:05"), Addresses: prefixes("10.128.0.5/23", "fd01::5/64"),
				Gateways: []netip.Addr{netip.MustParseAddr("10.128.0.1"), netip.MustParseAddr("fd01::1")},
				Routes:   []Route{{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParseAddr("10.128.0.1")}},
			},
			`{"default":{"ip_addresses":["10.128.0.5/23","fd01::5/64"],"mac_address":"0a:58:0a:80:00:05","gateway_ips":["10.128.0.1","fd01::1"],"routes":[{"dest":"10.1.0.0/16","nextHop":"10.128.0.1"}],"role":"primary"}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.text, FormatPodNetwork(c.network)); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
			got, err := ParsePodNetwork(map[string]string{names.PodNetworksAnnotation: c.text})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.network, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBadValuesNameTheAnnotation(t *testing.T) {
	pod := func(a map[string]string) error { _, err := ParsePodNetwork(a); return err }
	subnets := func(a map[string]string) error { _, err := ParseNodeSubnets(a); return err }
	id := func(a map[string]string) error { _, err := ParseNodeID(a); return err }
	hosts := func(a map[string]string) error { _, err := ParseHostCIDRs(a); return err }
	for _, c := range []struct {
		key   string
		parse func(map[string]string) error
		bad   []string
	}{
		{names.PodNetworksAnnotation, pod, []string{
			`{`, `{}`, `{"default":{}}`, `{"default":{"mac_address":"0a:58:0a:80:00:05"}}`,
			`{"default":{"mac_address":"x","ip_addresses":["10.0.0.5/24"]}}`,
			`{"default":{"mac_address":"0a:58:0a:80:00:05","ip_addresses":["10.0.0.5"]}}`,
			`{"default":{"mac_address":"0a:58:0a:80:00:05","ip_addresses":["10.0.0.5/24"],"gateway_ips":["x"]}}`,
			`{"default":{"mac_address":"0a:58:0a:80:00:05","ip_addresses":["10.0.0.5/24","10.0.0.6/24"]}}`,
			`{"default":{"mac_address":"0a:58:0a:80:00:05","ip_addresses":["10.0.0.5/24","10.0.0.5/24"]}}`,
			`{"default":{"mac_address":"0a:58:0a:80:00:05","ip_addresses":["::ffff:10.0.0.5/120"]}}`,
			`{"default":{"mac_address":"0a:58:0a:80:00:05","ip_addresses":["fe80::5%eth0/64"]}}`,
			`{"default":{"mac_address":"0a:58:0a:80:00:05:06:07","ip_addresses":["10.0.0.5/24"]}}`,
			`{"default":{"mac_address":"ff:ff:ff:ff:ff:ff","ip_addresses":["10.0.0.5/24"]}}`,
			`{"default":{"mac_address":"0a:58:0a:80:00:05","ip_addresses":["10.0.0.5/24"],"gateway_ips":["0.0.0.0"]}}`,
			`{"default":{"mac_address":"0a:58:0a:80:00:05","ip_addresses":["10.0.0.5/24"],"gateway_ips":["10.0.0.1","10.0.0.2"]}}`,
			`{"default":{"mac_address":"0a:58:0a:80:00:05","ip_addresses":["10.0.0.5/24"],"routes":[{"dest":"10.0.0.0/8","nextHop":"fd01::1"}]}}`,
			`{"default":` + strings.Repeat(`{"a":`, 50_000), strings.Repeat(" ", 10<<20) + `{}`, `{"default":7}`, `[[[[]]]]`, "\x00",
			`{"default":{"mac_address":"0a:58:0a:80:00:05","ip_addresses":["` + strings.Repeat("1", 200_000) + `"]}}`,
			`{"default":{"mac_address":"0a:58:0a:80:00:05","ip_addresses":["10.0.0.5/24"],"routes":[{"dest":"0.0.0.0","nextHop":"10.0.0.1"}]}}`,
		}},
		{names.NodeSubnetsAnnotation, subnets, []string{`[]`, `{}`, `{"default":[]}`, `{"default":["10.0.0.0"]}`, `{"default":["::ffff:10.0.0.0/120"]}`}},
		{names.NodeIDAnnotation, id, []string{``, `0`, `-1`, `two`}},
		{names.HostCIDRsAnnotation, hosts, []string{`{}`, `["10.0.0.5"]`, `["10.0.0.5/24"` + strings.Repeat(`,"10.0.0.5/24"`, 2000) + `]`}},
	} {
		if err := c.parse(nil); !errors.Is(err, ErrMissing) {
			t.Errorf("%s missing: error %v", c.key, err)
		}
		for _, value := range c.bad {
			err := c.parse(map[string]string{c.key: value})
			if err == nil || errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), c.key) || len(err.Error()) > 1000 {
				t.Errorf("%s = %.100s: error %.2000v", c.key, value, err)
			}
		}
	}
}

func TestNodeAnnotations(t *testing.T) {
	for got, want := range map[string]string{
		FormatNodeSubnets(prefixes("10.128.0.0/23", "fd01::/64")): `{"default":["10.128.0.0/23","fd01::/64"]}`,
		FormatNodeID(7): `7`,
		FormatHostCIDRs(prefixes("172.18.0.11/24", "fd00:172:18::11/64")): `["172.18.0.11/24","fd00:172:18::11/64"]`,
		FormatHostCIDRs(nil):                           `[]`,
		FormatMgmtPortMAC(mac(t, "0a:58:0a:80:00:02")): `{"default":"0a:58:0a:80:00:02"}`,
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func FuzzPodNetwork(f *testing.F) {
	f.Add(`{"default":{"ip_addresses":["10.128.0.5/23"],"mac_address":"0a:58:0a:80:00:05","gateway_ips":["10.128.0.1"]}}`)
	f.Add(`{"default":{"ip_addresses":["fd01::5/64"],"mac_address":"0a:58:0a:80:00:05","routes":[{"dest":"::/0","nextHop":"fe80::1"}]}}`)
	f.Add(`{"default":{"ip_addresses":["10.128.0.5/23","10.128.0.6/23"],"mac_address":"ff:58:0a:80:00:05"}}`)
	f.Add(strings.Repeat(`{"default":`, 20_000))
	f.Fuzz(func(t *testing.T, text string) {
		first, err := ParsePodNetwork(map[string]string{names.PodNetworksAnnotation: text})
		if err != nil {
			return
		}
		written := FormatPodNetwork(first)
		second, err := ParsePodNetwork(map[string]string{names.PodNetworksAnnotation: written})
		if err != nil || FormatPodNetwork(second) != written {
			t.Errorf("%q became %q, which became %q (%v)", text, written, FormatPodNetwork(second), err)
		}
	})
}

// FuzzNodeAnnotations: whatever a node says of itself, what is read is addresses that can stand in a row, and not many.
func FuzzNodeAnnotations(f *testing.F) {
	f.Add(`{"default":["10.128.0.0/23","fd01::/64"]}`, `["172.18.0.11/24"]`, `{"default":{"mode":"shared","mac-address":"02:42:ac:12:00:0b","ip-addresses":["172.18.0.11/24"],"next-hops":["fe80::1%eth0"]}}`, "7")
	f.Add(`{"default":["::ffff:10.0.0.0/120"]}`, `["fe80::1%x/64"]`, `{"default":{"mode":"local","mac-address":"01:42:ac:12:00:0b","ip-address":"0.0.0.0/0","next-hop":"::"}}`, "99999999999999999999")
	f.Fuzz(func(t *testing.T, subnets, hosts, gateway, id string) {
		set := map[string]string{
			names.NodeSubnetsAnnotation: subnets, names.HostCIDRsAnnotation: hosts, names.L3GatewayConfigAnnotation: gateway, names.NodeIDAnnotation: id,
		}
		check := func(what string, a netip.Addr) {
			if !a.IsValid() || a.Zone() != "" || a.Is4In6() {
				t.Errorf("%s: %v", what, a)
			}
		}
		lists := [][]netip.Prefix{}
		if s, err := ParseNodeSubnets(set); err == nil {
			lists = append(lists, s)
		}
		if s, err := ParseHostCIDRs(set); err == nil {
			lists = append(lists, s)
		}
		if c, err := ParseGatewayConfig(set); err == nil {
			lists = append(lists, c.Addresses)
			for _, h := range c.NextHops {
				check("next hop", h)
			}
			if len(c.NextHops) > maxList || len(c.MAC) != 6 {
				t.Errorf("%d next hops, MAC %v", len(c.NextHops), c.MAC)
			}
		}
		for _, list := range lists {
			if len(list) > maxList {
				t.Errorf("%d addresses", len(list))
			}
			for _, p := range list {
				check("prefix", p.Addr())
			}
		}
		if n, err := ParseNodeID(set); err == nil && n < 1 {
			t.Errorf("id %d", n)
		}
	})
}
