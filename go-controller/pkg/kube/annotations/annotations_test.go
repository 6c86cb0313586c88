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
			`{"default":{"mac_address":"0a:58:0a:80:00:05","ip_addresses":["10.0.0.5/24"],"routes":[{"dest":"0.0.0.0","nextHop":"10.0.0.1"}]}}`,
		}},
		{names.NodeSubnetsAnnotation, subnets, []string{`[]`, `{}`, `{"default":[]}`, `{"default":["10.0.0.0"]}`}},
		{names.NodeIDAnnotation, id, []string{``, `0`, `-1`, `two`}},
		{names.HostCIDRsAnnotation, hosts, []string{`{}`, `["10.0.0.5"]`}},
	} {
		if err := c.parse(nil); !errors.Is(err, ErrMissing) {
			t.Errorf("%s missing: error %v", c.key, err)
		}
		for _, value := range c.bad {
			err := c.parse(map[string]string{c.key: value})
			if err == nil || errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), c.key) {
				t.Errorf("%s = %s: error %v", c.key, value, err)
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
