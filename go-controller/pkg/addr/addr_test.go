package addr

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestSubnetAddresses(t *testing.T) {
	for _, c := range []struct{ subnet, router, management string }{
		{"10.128.2.0/23", "10.128.2.1", "10.128.2.2"},
		{"10.131.0.7/23", "10.131.0.1", "10.131.0.2"},
		{"fd01:0:0:3::/64", "fd01:0:0:3::1", "fd01:0:0:3::2"},
	} {
		subnet := netip.MustParsePrefix(c.subnet)
		if got := Router(subnet).String(); got != c.router {
			t.Errorf("router of %s: %s, want %s", subnet, got, c.router)
		}
		if got := Management(subnet).String(); got != c.management {
			t.Errorf("management port of %s: %s, want %s", subnet, got, c.management)
		}
	}
}

func TestHost(t *testing.T) {
	for _, c := range []struct {
		subnet string
		n      int
		want   string
	}{
		{"100.64.0.0/16", 2, "100.64.0.2"}, {"100.64.0.0/16", 300, "100.64.1.44"}, {"100.64.7.0/16", 65000, "100.64.253.232"},
		{"fd98::/64", 300, "fd98::12c"}, {"fd98::ffff:ffff:ffff:fff0/124", 32, "fd98:0:0:1::10"},
	} {
		if got := Host(netip.MustParsePrefix(c.subnet), c.n).String(); got != c.want {
			t.Errorf("address %d of %s: %s, want %s", c.n, c.subnet, got, c.want)
		}
	}
}

func TestMAC(t *testing.T) {
	v4, v6, other := netip.MustParseAddr("10.128.0.5"), netip.MustParseAddr("fd01::5"), netip.MustParseAddr("fd01::6")
	if got := MAC(v4).String(); got != "0a:58:0a:80:00:05" {
		t.Errorf("MAC of %s: %s", v4, got)
	}
	if MAC(v6, v4).String() != MAC(v4).String() {
		t.Error("the IPv4 address decides, wherever it stands")
	}
	// Written down on nodes and in databases: it must never change.
	if got := MAC(v6).String(); got != MAC(v6).String() || got[:5] != "0a:58" || got == MAC(other).String() {
		t.Errorf("MAC of %s: %s", v6, got)
	}
}

func TestPrefixes(t *testing.T) {
	for address, want := range map[string][2]string{"10.0.0.1": {"10.0.0.1/32", "0.0.0.0/0"}, "fd00::1": {"fd00::1/128", "::/0"}} {
		a := netip.MustParseAddr(address)
		if got := [2]string{HostPrefix(a).String(), Any(a).String()}; got != want {
			t.Errorf("%s: got %v, want %v", a, got, want)
		}
	}
}

func TestPick(t *testing.T) {
	items := []string{"fd00::1", "10.0.0.1", "10.0.0.2"}
	for like, want := range map[string]string{"1.1.1.1": "10.0.0.1", "::1": "fd00::1"} {
		got, ok := Pick(items, netip.MustParseAddr(like), netip.MustParseAddr)
		if !ok || got != want {
			t.Errorf("like %s: %q %v, want %q", like, got, ok, want)
		}
	}
	if got, ok := Pick(items[1:], netip.MustParseAddr("::1"), netip.MustParseAddr); ok {
		t.Errorf("picked %q of the other family", got)
	}
}

func TestWithout(t *testing.T) {
	for _, c := range []struct{ from, ranges, want string }{
		{"10.128.0.0/14", "10.128.2.0/23 192.0.2.0/24", "[10.128.0.0/23 10.128.4.0/22 10.128.8.0/21 10.128.16.0/20 10.128.32.0/19 10.128.64.0/18 10.128.128.0/17 10.129.0.0/16 10.130.0.0/15]"},
		{"10.128.0.0/14", "", "[10.128.0.0/14]"},
		{"10.128.0.0/14", "10.0.0.0/8", "[]"},
		{"fd01::/62", "fd01:0:0:1::/64", "[fd01::/64 fd01:0:0:2::/63]"},
	} {
		var ranges []netip.Prefix
		for _, r := range strings.Fields(c.ranges) {
			ranges = append(ranges, netip.MustParsePrefix(r))
		}
		if got := fmt.Sprint(Without(netip.MustParsePrefix(c.from), ranges)); got != c.want {
			t.Errorf("%s without %s is %s, want %s", c.from, c.ranges, got, c.want)
		}
	}
}
