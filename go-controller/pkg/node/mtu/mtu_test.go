package mtu

import (
	"net/netip"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	v4, v6 := netip.MustParseAddr("172.18.0.11"), netip.MustParseAddr("fd00::b")
	cases := []struct {
		name   string
		pod    int
		uplink int
		encap  netip.Addr
		want   []string // parts of the error; none means that it fits
	}{
		{"the default on Ethernet", 1400, 1500, v4, nil},
		{"the default on Ethernet, IPv6", 1400, 1500, v6, nil},
		{"just fits", 1442, 1500, v4, nil},
		{"one too many", 1443, 1500, v4, []string{"--mtu 1443", "58 bytes", "needs 1501", "is 1500", "to 1442 at most"}},
		{"just fits, IPv6", 1422, 1500, v6, nil},
		{"one too many, IPv6", 1423, 1500, v6, []string{"78 bytes", "needs 1501", "to 1422 at most", "raise the MTU of eth0 to 1501"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := Check(c.pod, "eth0", c.uplink, c.encap)
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("error %v", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("no %q in %v", part, err)
				}
			}
		})
	}
}
