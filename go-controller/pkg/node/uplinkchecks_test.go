package node

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/bridge"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
)

func testUplink() bridge.Record {
	return bridge.Record{
		NIC: "eth0", MTU: 1500,
		Addresses: []hostnet.Address{{Prefix: netip.MustParsePrefix("192.0.2.5/24")}, {Prefix: netip.MustParsePrefix("2001:db8::5/64")}},
		Routes:    []hostnet.Route{{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("192.0.2.1")}},
	}
}

// With tunnels over a NIC of their own, that NIC's MTU counts and not the uplink's.
func TestTunnelDevice(t *testing.T) {
	storage := &hostnet.Link{Name: "eth1", MTU: 9000}
	carrier := func(a netip.Addr) (*hostnet.Link, error) {
		if a == netip.MustParseAddr("198.51.100.5") {
			return storage, nil
		}
		return nil, nil
	}
	for address, want := range map[string]hostnet.Link{
		"192.0.2.5":    {Name: "eth0", MTU: 1500},
		"2001:db8::5":  {Name: "eth0", MTU: 1500},
		"198.51.100.5": *storage,
	} {
		got, err := tunnelDevice(testUplink(), netip.MustParseAddr(address), carrier)
		if err != nil || got.Name != want.Name || got.MTU != want.MTU {
			t.Errorf("%s: %+v, %v; want %+v", address, got, err, want)
		}
	}
	_, err := tunnelDevice(testUplink(), netip.MustParseAddr("203.0.113.1"), carrier)
	if err == nil || !strings.Contains(err.Error(), "--encap-ip 203.0.113.1 is on no device") {
		t.Errorf("an address of nobody: %v", err)
	}
}

func TestCheckPools(t *testing.T) {
	for pool, refused := range map[string]bool{
		"10.128.0.0/14": false, "192.0.2.128/25": false, "fd01::/48": false,
		"192.0.2.0/29": true, "192.0.0.0/16": true, "192.0.2.0/30": true, "2001:db8::/48": true,
	} {
		err := checkPools(testUplink(), []netip.Prefix{netip.MustParsePrefix("172.20.0.0/16"), netip.MustParsePrefix(pool)})
		if (err != nil) != refused {
			t.Errorf("%s: %v", pool, err)
		}
		if refused && (err == nil || !strings.Contains(err.Error(), pool) || !strings.Contains(err.Error(), "eth0")) {
			t.Errorf("%s: %v", pool, err)
		}
	}
}
