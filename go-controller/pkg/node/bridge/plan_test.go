package bridge

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
)

var (
	mac    = net.HardwareAddr{2, 0, 0, 0, 0, 0x11}
	now    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	userd  = Config{NIC: "eth0", DatapathType: ovs.Netdev}
	kernel = Config{NIC: "eth0", DatapathType: ovs.System}
)

func address(s string) hostnet.Address { return hostnet.Address{Prefix: netip.MustParsePrefix(s)} }

func route(dst, via string) hostnet.Route {
	r := hostnet.Route{Destination: netip.MustParsePrefix(dst), Table: hostnet.MainTable}
	if via != "" {
		r.Gateway = netip.MustParseAddr(via)
	}
	return r
}

func device(name string) *hostnet.Device {
	return &hostnet.Device{Link: hostnet.Link{Name: name, MAC: mac, MTU: 1500, Up: true}}
}

// configured puts on d what the operating system has configured.
func configured(d *hostnet.Device) *hostnet.Device {
	d.Addresses = []hostnet.Address{address("172.18.0.11/24")}
	d.Routes = []hostnet.Route{route("0.0.0.0/0", "172.18.0.1"), route("172.18.0.0/24", "")}
	return d
}

// world is the host at a certain point of the take-over: each function adds to the one before.
type world Observed

func fresh() world {
	return world{
		OVS: ovs.State{ExternalIDs: map[string]string{}, Bridges: map[string]ovs.Bridge{}, Ports: map[string]ovs.PortState{}},
		NIC: configured(device("eth0")), BootID: "boot-1", Now: now,
		NICSysctls: map[string]string{v6("eth0", "accept_ra"): "1", v6("eth0", "forwarding"): "0", v4("eth0", "arp_ignore"): "0", v6("eth0", "disable_ipv6"): "0"},
	}
}

func (w world) recorded() world {
	w.Record = Record{NIC: "eth0", MAC: mac.String(), MTU: 1500, BootID: "boot-1", Addresses: w.NIC.Addresses, Routes: w.NIC.Routes, Sysctls: w.NICSysctls}
	w.HasRecord = true
	return w
}

func (w world) bridged(c Config) world {
	d := desiredBridge(w.Record, c)
	w.OVS.Bridges[names.ExternalBridge] = d.Bridges[0]
	w.OVS.Ports[names.ExternalBridge] = ovs.PortState{Port: d.Ports[0], OFPort: 65534}
	w.Bridge = device(names.ExternalBridge)
	w.BridgeSettings = hostnet.Settings{Sysctls: map[string]string{v6("br-ex", "accept_dad"): "0", v6("br-ex", "accept_ra"): "2"}}
	return w
}

func (w world) addressed() world {
	w.Bridge.Addresses = w.NIC.Addresses
	return w
}

func (w world) attached(ofport int) world {
	w.OVS.Ports["eth0"] = ovs.PortState{Port: ovs.Port{Name: "eth0", Bridge: names.ExternalBridge}, OFPort: ofport}
	return w
}

func (w world) moved() world {
	w.Bridge.Addresses, w.Bridge.Routes = w.NIC.Addresses, w.NIC.Routes
	w.NIC = device("eth0")
	return w
}

func (w world) silenced() world {
	w.NICSysctls = map[string]string{v4("eth0", "arp_ignore"): "1", v6("eth0", "disable_ipv6"): "1"}
	w.Guarded = true
	return w
}

func steps(p Plan) []string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, s.String())
	}
	return out
}

var (
	moveRoutes = []string{
		"replace route 172.18.0.0/24 via link dev br-ex metric 0", "replace route 0.0.0.0/0 via 172.18.0.1 dev br-ex metric 0",
	}
	removeAddress = []string{"delete address 172.18.0.11/24 from eth0"}
	silence       = []string{
		"set net/ipv4/conf/eth0/arp_ignore = 1", "set net/ipv6/conf/eth0/disable_ipv6 = 1", "drop what the userspace datapath handles on the NIC",
	}
)

func join(lists ...[]string) []string {
	var out []string
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

func TestTakeOverPlan(t *testing.T) {
	cases := []struct {
		name    string
		world   world
		config  Config
		want    []string
		waiting string
	}{
		{"fresh host: remember, then make the bridge, touch nothing else", fresh(), userd,
			[]string{"remember what the NIC carries", "make the external bridge"}, "has not made the device br-ex"},
		{"remembered", fresh().recorded(), userd, []string{"make the external bridge"}, "has not made the device br-ex"},
		{"bridge there: addresses before the NIC is attached", fresh().recorded().bridged(userd), userd,
			[]string{"add address 172.18.0.11/24 to br-ex", "make the NIC a port of the external bridge"}, "has not attached eth0"},
		{"addressed", fresh().recorded().bridged(userd).addressed(), userd,
			[]string{"make the NIC a port of the external bridge"}, "has not attached eth0"},
		{"attaching: nothing leaves the NIC before ovs-vswitchd has it", fresh().recorded().bridged(userd).addressed().attached(0), userd,
			nil, "has not attached eth0 to br-ex: not yet"},
		{"attaching failed", fresh().recorded().bridged(userd).addressed().attached(-1), userd, nil, "has not attached eth0"},
		{"attached: routes, then addresses, then silence", fresh().recorded().bridged(userd).addressed().attached(1), userd,
			join(moveRoutes, removeAddress, silence), ""},
		{"kernel datapath: no silencing", fresh().recorded().bridged(kernel).addressed().attached(1), kernel, join(moveRoutes, removeAddress), ""},
		{"moved", fresh().recorded().bridged(userd).addressed().attached(1).moved(), userd, silence, ""},
		{"in place", fresh().recorded().bridged(userd).addressed().attached(1).moved().silenced(), userd, nil, ""},
		{"in place, kernel datapath", fresh().recorded().bridged(kernel).addressed().attached(1).moved(), kernel, nil, ""},
		{"another NIC configured", fresh().recorded(), Config{NIC: "eth1", DatapathType: ovs.Netdev}, nil, "run `ovnkube node cleanup` first"},
		{"NIC without address", func() world { w := fresh(); w.NIC = device("eth0"); return w }(), userd, nil, "eth0 has no address"},
		{"no NIC", func() world { w := fresh(); w.NIC = nil; return w }(), userd, nil, "there is no device eth0"},
		{"bridge removed by hand: all comes from the record", func() world {
			w := fresh().recorded().bridged(userd).addressed().moved().silenced()
			w.Bridge = nil
			w.OVS.Bridges, w.OVS.Ports = map[string]ovs.Bridge{}, map[string]ovs.PortState{}
			return w
		}(), userd, []string{"make the external bridge"}, "has not made the device br-ex"},
		{"address appears on the NIC: it moves too", func() world {
			w := fresh().recorded().bridged(userd).addressed().attached(1).moved().silenced()
			w.NIC.Addresses = []hostnet.Address{address("172.18.0.99/24")}
			return w
		}(), userd, []string{"remember what the NIC carries", "add address 172.18.0.99/24 to br-ex", "delete address 172.18.0.99/24 from eth0"}, ""},
		{"route still on both devices", func() world {
			w := fresh().recorded().bridged(userd).addressed().attached(1).moved().silenced()
			w.NIC.Routes = []hostnet.Route{route("0.0.0.0/0", "172.18.0.1")}
			return w
		}(), userd, []string{"delete route 0.0.0.0/0 via 172.18.0.1 dev eth0 metric 0"}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := TakeOver(Observed(c.world), c.config)
			if diff := cmp.Diff(c.want, steps(p)); diff != "" {
				t.Error(diff)
			}
			if (c.waiting == "") != (p.Waiting == "") || !strings.Contains(p.Waiting, c.waiting) {
				t.Errorf("waiting for %q, want %q", p.Waiting, c.waiting)
			}
			if c.waiting == "" && p.Done() != (len(c.want) == 0) {
				t.Errorf("Done is %t", p.Done())
			}
		})
	}
}

func TestGiveBackPlan(t *testing.T) {
	inPlace := fresh().recorded().bridged(userd).addressed().attached(1).moved().silenced()
	restored := inPlace
	restored.NIC, restored.NICSysctls, restored.Guarded = configured(device("eth0")), inPlace.Record.Sysctls, false
	restored.Bridge = device("br-ex")
	cases := []struct {
		name  string
		world world
		want  []string
	}{
		{"the NIC first, the bridge not yet", inPlace, []string{
			"set net/ipv4/conf/eth0/arp_ignore = 0", "set net/ipv6/conf/eth0/disable_ipv6 = 0",
			"add address 172.18.0.11/24 to eth0", "let the host's stack receive from the NIC",
			"replace route 172.18.0.0/24 via link dev eth0 metric 0", "replace route 0.0.0.0/0 via 172.18.0.1 dev eth0 metric 0",
		}},
		{"all on the NIC: the bridge goes", restored, []string{"remove the external bridge"}},
		{"nothing was taken over", fresh(), nil},
		{"the NIC is gone", func() world { w := inPlace; w.NIC = nil; return w }(), []string{"remove the external bridge"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, steps(GiveBack(Observed(c.world), userd))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRecordOverBoots(t *testing.T) {
	other := configured(device("eth0"))
	other.Addresses = []hostnet.Address{address("172.18.0.77/24")}
	lease := address("172.18.0.11/24")
	lease.Expires = now.Add(time.Hour)
	renewed := lease
	renewed.Expires = now.Add(2 * time.Hour)
	cases := []struct {
		name string
		edit func(*world)
		want []hostnet.Address
	}{
		{"booted, the NIC got another address: the old one is forgotten", func(w *world) {
			w.BootID, w.NIC = "boot-2", other
		}, other.Addresses},
		{"same boot: both are the host's", func(w *world) { w.NIC = other }, []hostnet.Address{address("172.18.0.11/24"), address("172.18.0.77/24")}},
		{"booted, the NIC is not configured: the record holds", func(w *world) {
			w.BootID, w.NIC = "boot-2", device("eth0")
		}, []hostnet.Address{address("172.18.0.11/24")}},
		{"a lease has run out", func(w *world) {
			w.Record.Addresses = []hostnet.Address{lease}
			w.Now, w.NIC = now.Add(90*time.Minute), device("eth0")
		}, []hostnet.Address{}},
		{"a lease was renewed on the NIC", func(w *world) {
			w.Record.Addresses = []hostnet.Address{lease}
			w.NIC.Addresses = []hostnet.Address{renewed}
		}, []hostnet.Address{renewed}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := fresh().recorded()
			c.edit(&w)
			r, _, waiting := nextRecord(Observed(w), userd)
			if diff := cmp.Diff(c.want, r.Addresses, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || waiting != "" {
				t.Errorf("%s %s", diff, waiting)
			}
		})
	}
}

func TestRecordSurvivesTheDatabase(t *testing.T) {
	w := fresh().recorded()
	w.Record.Addresses[0].Expires = now
	got, ok, err := LoadRecord(ovs.State{ExternalIDs: map[string]string{names.UplinkRecord: w.Record.encode()}})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if got.encode() != w.Record.encode() {
		t.Errorf("%s\nbecame\n%s", w.Record.encode(), got.encode())
	}
	if _, _, err := LoadRecord(ovs.State{ExternalIDs: map[string]string{names.UplinkRecord: "{"}}); err == nil {
		t.Error("a broken record was accepted")
	}
}

func TestPrimary(t *testing.T) {
	r := Record{Addresses: []hostnet.Address{address("fd00::b/64"), address("172.18.0.11/24"), address("172.18.0.12/24")}}
	if got := r.Primary(true).String(); got != "172.18.0.11" {
		t.Error(got)
	}
	if got := r.Primary(false).String(); got != "fd00::b" {
		t.Error(got)
	}
	r.Addresses = r.Addresses[:1]
	if got := r.Primary(true).String(); got != "fd00::b" {
		t.Errorf("without an IPv4 address: %s", got)
	}
}

// A host that listened to router advertisements goes on listening although it forwards now.
func TestAcceptRA(t *testing.T) {
	for _, c := range []struct{ acceptRA, forwarding, want string }{
		{"1", "0", "2"}, {"1", "1", "0"}, {"2", "1", "2"}, {"0", "0", "0"}, {"", "", "0"},
	} {
		r := Record{NIC: "eth0", Sysctls: map[string]string{v6("eth0", "accept_ra"): c.acceptRA, v6("eth0", "forwarding"): c.forwarding}}
		if got := acceptRA(r); got != c.want {
			t.Errorf("accept_ra %q, forwarding %q: %s, want %s", c.acceptRA, c.forwarding, got, c.want)
		}
	}
}

// Router advertisements renew addresses on the bridge, where the record does not see them. When its own idea of the
// lifetime has passed, the bridge's counts: else a node would forget the address that it has.
func TestLifetimeRenewedOnTheBridge(t *testing.T) {
	ended := address("2001:db8::11/64")
	ended.Expires = now.Add(-time.Minute)
	r := Record{NIC: "eth0", Addresses: []hostnet.Address{ended}}
	br := device(names.ExternalBridge)
	if got := r.prune(now, br).Addresses; len(got) != 0 {
		t.Errorf("an address that nobody has any more was kept: %v", got)
	}
	renewed := ended
	renewed.Expires = now.Add(time.Hour)
	br.Addresses = []hostnet.Address{renewed}
	if diff := cmp.Diff([]hostnet.Address{renewed}, r.prune(now, br).Addresses, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	br.Addresses[0].Expires = now // its last second
	if got := r.prune(now, br).Addresses; len(got) != 0 {
		t.Errorf("an address in its last second was kept: %v", got)
	}
	if r.Addresses[0].Expires != ended.Expires {
		t.Error("the record itself was changed")
	}
}
