package mgmtport

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
)

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func config(subnets ...string) Config {
	return Config{Node: "n1", Subnets: prefixes(subnets...), ClusterSubnets: prefixes("10.128.0.0/14", "fd01::/48"), MTU: 1400}
}

// What an operator sees, in the words of ip(8).
func describe(d hostnet.Desired) []string {
	var out []string
	for _, a := range d.Addresses {
		out = append(out, "addr "+a.Prefix.String())
	}
	for _, r := range d.Routes {
		via := ""
		if r.Gateway.IsValid() {
			via = " via " + r.Gateway.String()
		}
		out = append(out, "route "+r.Destination.String()+via)
	}
	for _, n := range d.Neighbours {
		out = append(out, "neigh "+n.Address.String()+" "+n.MAC.String())
	}
	return out
}

func TestDevice(t *testing.T) {
	cases := []struct {
		name        string
		config      Config
		want        []string
		sysctl, not string
	}{
		{"IPv4", config("10.131.0.0/23"), []string{
			"addr 10.131.0.2/23", "route 10.131.0.0/23", "route 10.128.0.0/14 via 10.131.0.1", "neigh 10.131.0.1 0a:58:0a:83:00:01",
		}, "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"},
		{"IPv6", config("fd01:0:0:1::/64"), []string{
			"addr fd01:0:0:1::2/64", "route fd01:0:0:1::/64", "route fd01::/48 via fd01:0:0:1::1", "neigh fd01:0:0:1::1 ",
		}, "net/ipv6/conf/all/forwarding", "net/ipv4/ip_forward"},
		{"both: one MAC of the router for both", config("10.131.0.0/23", "fd01:0:0:1::/64"), []string{
			"addr 10.131.0.2/23", "addr fd01:0:0:1::2/64",
			"route 10.131.0.0/23", "route 10.128.0.0/14 via 10.131.0.1", "route fd01:0:0:1::/64", "route fd01::/48 via fd01:0:0:1::1",
			"neigh 10.131.0.1 0a:58:0a:83:00:01", "neigh fd01:0:0:1::1 0a:58:0a:83:00:01",
		}, "net/ipv4/ip_forward", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := Device(c.config)
			got := describe(d)
			if len(got) == len(c.want) { // a hashed MAC is not spelled out
				for i := range got {
					if strings.HasSuffix(c.want[i], " ") && strings.HasPrefix(got[i], c.want[i]+"0a:58:") {
						got[i] = c.want[i]
					}
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if d.Sysctls[c.sysctl] != "1" {
				t.Errorf("%s is not switched on", c.sysctl)
			}
			if _, ok := d.Sysctls[c.not]; ok {
				t.Errorf("%s is touched", c.not)
			}
		})
	}
}

// The port's external_ids bring the subnets back when the API server is not there.
func TestPortRemembersSubnets(t *testing.T) {
	c := config("10.131.0.0/23", "fd01:0:0:1::/64")
	port := Port(c)
	if port.ExternalIDs[names.IfaceID] != "k8s-n1" || port.MAC != "0a:58:0a:83:00:02" || port.MTU != 1400 {
		t.Errorf("%+v", port)
	}
	state := ovs.State{Ports: map[string]ovs.PortState{names.ManagementPort: {Port: port}}}
	got, err := Remembered(state)
	if err != nil || cmp.Diff(c.Subnets, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) != "" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := Remembered(ovs.State{}); got != nil || err != nil {
		t.Errorf("without a port: %v, %v", got, err)
	}
	port.ExternalIDs[names.IfaceIPs] = "10.131.0.2"
	if _, err := Remembered(state); err == nil {
		t.Error("an address without length was accepted")
	}
}

func TestMissing(t *testing.T) {
	claimed := map[string]string{names.IfaceID: "k8s-n1", names.OVNInstalled: "true"}
	cases := []struct {
		name  string
		ports map[string]ovs.PortState
		want  string
	}{
		{"no port", nil, "there is no port"},
		{"not made", map[string]ovs.PortState{names.ManagementPort: {}}, "has not made"},
		{"failed", map[string]ovs.PortState{names.ManagementPort: {OFPort: -1, Error: "no tap device"}}, "no tap device"},
		{"not claimed", map[string]ovs.PortState{names.ManagementPort: {OFPort: 1, Port: ovs.Port{ExternalIDs: map[string]string{names.IfaceID: "k8s-n1"}}}}, "claimed k8s-n1"},
		{"claimed", map[string]ovs.PortState{names.ManagementPort: {OFPort: 1, Port: ovs.Port{ExternalIDs: claimed}}}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := Missing(ovs.State{Ports: c.ports})
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
