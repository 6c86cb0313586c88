package hostnet

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func ip(s string) netip.Addr       { return netip.MustParseAddr(s) }

func texts(actions []Action) []string {
	var out []string
	for _, a := range actions {
		out = append(out, a.String())
	}
	return out
}

func TestPlan(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	desired := Desired{
		Device: "mp0", MTU: 1400, NoTxChecksum: true, OwnsAddresses: true,
		Addresses: []Address{{Prefix: prefix("10.0.0.2/24")}, {Prefix: prefix("fd00::2/64")}},
		Routes: []Route{
			{Destination: prefix("10.0.0.0/8"), Gateway: ip("10.0.0.1"), Table: MainTable},
			{Destination: prefix("10.0.0.0/24"), Source: ip("10.0.0.2"), Table: MainTable, Scope: ScopeLink, Protocol: ProtocolKernel},
		},
		Neighbours: []Neighbour{{Address: ip("10.0.0.1"), MAC: mac, Permanent: true}},
		Sysctls:    map[string]string{"a/on": "1", "a/missing": "1", "a/already": "2"},
	}
	settings := Settings{TxChecksum: true, Sysctls: map[string]string{"a/on": "0", "a/missing": "", "a/already": "2"}}
	inPlace := func() *Device {
		return &Device{
			Link:       Link{Index: 4, Name: "mp0", MTU: 1400, Up: true},
			Addresses:  []Address{{Prefix: prefix("10.0.0.2/24")}, {Prefix: prefix("fd00::2/64")}},
			Routes:     desired.Routes,
			Neighbours: desired.Neighbours,
		}
	}
	quiet := Settings{Sysctls: map[string]string{"a/on": "1", "a/already": "2"}}
	cases := []struct {
		name     string
		observed *Device
		settings Settings
		want     []string
	}{
		{"no device yet", nil, settings, nil},
		{"new device: what others depend on comes first", &Device{Link: Link{Name: "mp0", MTU: 1500}}, settings, []string{
			"set a/on = 1", "turn transmit checksum offload off on mp0", "set device mp0 mtu 1400 up true",
			"add address 10.0.0.2/24 to mp0", "add address fd00::2/64 to mp0",
			"replace route 10.0.0.0/24 via link dev mp0 metric 0", "replace route 10.0.0.0/8 via 10.0.0.1 dev mp0 metric 0",
			"set neighbour 10.0.0.1 at 02:00:00:00:00:01 dev mp0",
		}},
		{"all in place", inPlace(), quiet, nil},
		{"down", func() *Device { d := inPlace(); d.Up = false; return d }(), quiet, []string{"set device mp0 mtu 1400 up true"}},
		{"a foreign address", func() *Device {
			d := inPlace()
			d.Addresses = append(d.Addresses, Address{Prefix: prefix("192.0.2.1/24")})
			return d
		}(), quiet, []string{"delete address 192.0.2.1/24 from mp0"}},
		{"another gateway", func() *Device {
			d := inPlace()
			d.Routes = []Route{{Destination: prefix("10.0.0.0/8"), Gateway: ip("10.0.0.9"), Table: MainTable}, d.Routes[1]}
			return d
		}(), quiet, []string{"replace route 10.0.0.0/8 via 10.0.0.1 dev mp0 metric 0"}},
		{"a foreign route", func() *Device {
			d := inPlace()
			d.Routes = append([]Route{{Destination: prefix("198.51.100.0/24"), Gateway: ip("10.0.0.9"), Table: MainTable}}, d.Routes...)
			return d
		}(), quiet, nil},
		{"another MAC of the neighbour", func() *Device {
			d := inPlace()
			d.Neighbours = []Neighbour{{Address: ip("10.0.0.1"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, Permanent: true}}
			return d
		}(), quiet, []string{"set neighbour 10.0.0.1 at 02:00:00:00:00:01 dev mp0"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, texts(Plan(c.observed, c.settings, desired))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A lease that was renewed on the way is passed on; the remaining seconds' rounding is no difference.
func TestPlanLifetimes(t *testing.T) {
	now := time.Now()
	address := func(left time.Duration) Address {
		a := Address{Prefix: prefix("10.0.0.2/24")}
		if left > 0 {
			a.Expires = now.Add(left)
		}
		return a
	}
	cases := []struct {
		name       string
		have, want time.Duration
		action     bool
	}{
		{"for ever", 0, 0, false},
		{"the same lease", time.Hour, time.Hour + time.Second, false},
		{"renewed", time.Minute, time.Hour, true},
		{"made permanent", time.Hour, 0, true},
		{"given a lease", 0, time.Hour, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := &Device{Link: Link{Name: "br", Up: true}, Addresses: []Address{address(c.have)}}
			got := Plan(d, Settings{}, Desired{Device: "br", Addresses: []Address{address(c.want)}})
			if (len(got) > 0) != c.action {
				t.Errorf("actions %v", texts(got))
			}
		})
	}
}

// Routes that are owned and not wanted go, after the others have come; those of others stay.
func TestOwnedRoutes(t *testing.T) {
	via := func(dst, hop string) Route {
		return Route{Destination: prefix(dst), Gateway: ip(hop), Table: MainTable}
	}
	d := &Device{Link: Link{Name: "br", Up: true}, Routes: []Route{via("10.1.0.0/16", "10.0.0.4"), via("10.2.0.0/16", "10.0.0.4"), via("10.3.0.0/16", "10.0.0.5")}}
	want := Desired{
		Device: "br", Routes: []Route{via("10.1.0.0/16", "10.0.0.4"), via("10.4.0.0/16", "10.0.0.4")},
		OwnsRoute: func(r Route) bool { return r.Gateway == ip("10.0.0.4") },
	}
	got := texts(Plan(d, Settings{}, want))
	if diff := cmp.Diff([]string{"replace route 10.4.0.0/16 via 10.0.0.4 dev br metric 0", "delete route 10.2.0.0/16 via 10.0.0.4 dev br metric 0"}, got); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
}
