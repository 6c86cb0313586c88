package annotations

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

func gatewayConfig(t *testing.T) GatewayConfig {
	return GatewayConfig{
		Mode: names.GatewayModeShared, BridgeID: "br-ex", InterfaceID: "br-ex_n1", MAC: mac(t, "02:42:ac:12:00:0b"),
		Addresses:      prefixes("172.18.0.11/24", "fd00:172:18::11/64"),
		NextHops:       []netip.Addr{netip.MustParseAddr("172.18.0.1"), netip.MustParseAddr("fe80::1")},
		NodePortEnable: true,
	}
}

// The text is what other programs read and write: it is compared to the letter.
func TestGatewayConfig(t *testing.T) {
	shared := gatewayConfig(t)
	local := gatewayConfig(t)
	local.Mode, local.VLAN, local.NodePortEnable = names.GatewayModeLocal, 100, false
	local.Addresses, local.NextHops = local.Addresses[:1], nil
	for name, c := range map[string]struct {
		config GatewayConfig
		text   string
	}{
		"dual stack": {shared, `{"default":{"mode":"shared","bridge-id":"br-ex","interface-id":"br-ex_n1","mac-address":"02:42:ac:12:00:0b",` +
			`"ip-addresses":["172.18.0.11/24","fd00:172:18::11/64"],"ip-address":"172.18.0.11/24",` +
			`"next-hops":["172.18.0.1","fe80::1"],"next-hop":"172.18.0.1","node-port-enable":"true","vlan-id":"0"}}`},
		"local, tagged, without a default route": {local, `{"default":{"mode":"local","bridge-id":"br-ex","interface-id":"br-ex_n1","mac-address":"02:42:ac:12:00:0b",` +
			`"ip-addresses":["172.18.0.11/24"],"ip-address":"172.18.0.11/24","node-port-enable":"false","vlan-id":"100"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.text, FormatGatewayConfig(c.config)); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
			got, err := ParseGatewayConfig(map[string]string{names.L3GatewayConfigAnnotation: c.text})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.config, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
		})
	}
}

// Older writers leave single values only; lists need not be sorted.
func TestGatewayConfigOfOthers(t *testing.T) {
	for text, want := range map[string]string{
		`{"default":{"mode":"shared","mac-address":"02:42:ac:12:00:0b","ip-address":"172.18.0.11/24","next-hop":"172.18.0.1"}}`: "172.18.0.11/24",
		`{"default":{"mode":"shared","mac-address":"02:42:ac:12:00:0b","ip-addresses":["fd00::11/64","172.18.0.11/24"]}}`:       "172.18.0.11/24",
	} {
		c, err := ParseGatewayConfig(map[string]string{names.L3GatewayConfigAnnotation: text})
		if err != nil || c.Addresses[0].String() != want {
			t.Errorf("%s: addresses %v, error %v; want %s first", text, c.Addresses, err, want)
		}
	}
}

func TestBadGatewayConfigNamesTheAnnotation(t *testing.T) {
	if _, err := ParseGatewayConfig(nil); !errors.Is(err, ErrMissing) {
		t.Errorf("missing: error %v", err)
	}
	good := FormatGatewayConfig(gatewayConfig(t))
	for _, c := range []struct{ from, to, want string }{
		{good, `{`, "JSON"},
		{good, `{}`, `"default"`},
		{`"mode":"shared"`, `"mode":""`, "mode"},
		{`02:42:ac:12:00:0b`, `x`, "mac-address"},
		{`02:42:ac:12:00:0b`, `02:42:ac:12:00:0b:00:01`, "mac-address"},
		{`"172.18.0.11/24","fd00`, `"172.18.0.11","fd00`, "ip-addresses"},
		{`"next-hops":["172.18.0.1"`, `"next-hops":["x"`, "next-hops"},
		{`"node-port-enable":"true"`, `"node-port-enable":"maybe"`, "node-port-enable"},
		{`"vlan-id":"0"`, `"vlan-id":"4095"`, "vlan-id"},
	} {
		text := strings.Replace(good, c.from, c.to, 1)
		_, err := ParseGatewayConfig(map[string]string{names.L3GatewayConfigAnnotation: text})
		if text == good || err == nil || errors.Is(err, ErrMissing) ||
			!strings.Contains(err.Error(), names.L3GatewayConfigAnnotation) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want it to name %s", text, err, c.want)
		}
	}
	none := `{"default":{"mode":"shared","mac-address":"02:42:ac:12:00:0b"}}`
	if _, err := ParseGatewayConfig(map[string]string{names.L3GatewayConfigAnnotation: none}); err == nil || !strings.Contains(err.Error(), "ip-addresses") {
		t.Errorf("no addresses: error %v", err)
	}
}
