package trace

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/inspecttest"
)

const interfaces = `{"headings":["name","ofport","external_ids","options"],"data":[
["patch-br-int-to-br-ex_node1",3,["map",[]],["map",[["peer","patch-br-ex_node1-to-br-int"]]]],
["0123456789abcde",7,["map",[["iface-id","default_a"],["iface-id-ver","x"]]],["map",[]]],
["ovn-64b7f0-0",1,["map",[["ovn-chassis-id","x"]]],["map",[["csum","true"],["remote_ip","172.18.0.12"]]]],
["eth0",1,["map",[]],["map",[]]],
["gone",-1,["map",[]],["map",[]]]]}`

func nodePorts(t *testing.T) map[int]device {
	t.Helper()
	ports, err := parseDevices(interfaces, []string{"patch-br-int-to-br-ex_node1", "0123456789abcde", "ovn-64b7f0-0", "gone"})
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

// What ofproto/trace prints, in words. The texts are those of a node with Open vSwitch 3.1.
func TestOfproto(t *testing.T) {
	ports := nodePorts(t)
	if got := ports[1].String(); got != "ovn-64b7f0-0 (tunnel to 172.18.0.12)" || ports[7].logical != "default_a" || len(ports) != 3 {
		t.Errorf("ports %v", ports)
	}
	for _, c := range []struct {
		name string
		want []string
	}{
		{"crossnode", []string{
			"9 flows, then connection tracking in zone 19",
			"table 39 of br-int: out at port 1, ovn-64b7f0-0 (tunnel to 172.18.0.12), to 172.18.0.12 by way of br-ex",
			"table 0 of br-ex: out at port 1",
			"datapath: ct(commit,zone=19,mark=0/0x1),set(eth(src=0a:58:0a:80:02:01,dst=0a:58:0a:80:02:06)),…",
		}},
		{"denied", []string{
			"9 flows, then connection tracking in zone 19",
			"26 flows, then connection tracking in zone 20",
			"2 flows; dropped in table 46 of br-int, flow 0x2a803819, ACL of a test",
			"datapath: drop",
		}},
		{"outside", []string{ // The router has to ask for the next hop's hardware address.
			"9 flows, then connection tracking in zone 19",
			"table 29 of br-int: to ovn-controller",
			"datapath: ct(commit,zone=19,mark=0/0x1),…",
		}},
		{"service", []string{
			"9 flows, then connection tracking in zone 19",
			"the load balancer's group chooses an endpoint by a hash of the packet: ofproto/trace does not go on from there",
			"datapath: hash(l4(0)),recirc(0x8b)",
		}},
	} {
		text, err := os.ReadFile("testdata/ofproto-" + c.name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		f := parseFlows(string(text))
		var drops decision
		if last := f.rounds[len(f.rounds)-1]; last.datapath == "drop" {
			drops = decision{&last.steps[len(last.steps)-1], "ACL of a test"}
		}
		got := f.tell(ports, drops)
		for i, line := range got { // Long actions are compared by their beginning.
			if i < len(c.want) && strings.HasSuffix(c.want[i], "…") && strings.HasPrefix(line, strings.TrimSuffix(c.want[i], "…")) {
				got[i] = c.want[i]
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// A packet is asked for at its port, in the words of ovs-fields(7).
func TestOfprotoAsks(t *testing.T) {
	text, err := os.ReadFile("testdata/ofproto-crossnode.txt")
	if err != nil {
		t.Fatal(err)
	}
	a := &inspecttest.Access{}
	o := options(t, a)
	o.NoFlows = false
	tr := &tracer{Options: o, v4: true, cluster: newCluster(o.Objects), flows: inspect.NewFlows(a)}
	a.Answers = map[string]string{
		"list Interface": strings.ReplaceAll(interfaces, "default_a", "guests_client"), "list-ifaces br-int": "0123456789abcde\novn-64b7f0-0\n", "ofproto/trace": string(text),
	}
	from, err := tr.find("guests/client")
	if err != nil {
		t.Fatal(err)
	}
	to, err := tr.find("shop/web:80")
	if err != nil {
		t.Fatal(err)
	}
	p, err := tr.first(from, to, "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := tr.ofproto(context.Background(), p, from)
	if err != nil || got[0] != "comes in at port 7, 0123456789abcde (guests_client)" {
		t.Errorf("%v: %q", err, got)
	}
	asked := a.Ran[len(a.Ran)-1]
	if !strings.Contains(asked, "node node1: ovs-appctl --timeout=20 ofproto/trace br-int in_port=7,tcp,dl_src=") || !strings.Contains(asked, ",nw_ttl=64,tp_src=40000,tp_dst=80") {
		t.Errorf("asked: %s", asked)
	}
	p.source, p.destination = netip.MustParseAddrPort("[fd01::5]:40000"), netip.MustParseAddrPort("[fd01::4]:80")
	if got := p.openFlow(7, "udp"); !strings.HasPrefix(got, "in_port=7,udp6,") || !strings.Contains(got, "ipv6_src=fd01::5,ipv6_dst=fd01::4,nw_ttl=64,") {
		t.Errorf("IPv6: %s", got)
	}
}

// Since OVN 23.06 one flow decides by an ACL, and another one drops: the former leads to the policy.
func TestDeciding(t *testing.T) {
	a := &inspecttest.Access{}
	tr := &tracer{Options: options(t, a), flows: inspect.NewFlows(a)}
	f := &flows{rounds: []round{{datapath: "drop", steps: []flow{
		{bridge: "br-int", table: "8"}, {bridge: "br-int", table: "48", cookie: "55f077ec"}, {bridge: "br-int", table: "49"}, {bridge: "br-int", table: "50", cookie: "0000abcd"},
	}}}}
	drops, err := tr.deciding(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	want := "4 flows; dropped in table 48 of br-int, flow 0x55f077ec, ACL deny_in_"
	if got := f.tell(nil, drops)[0]; !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	f.rounds[0].steps[1].cookie = ""
	if drops, err = tr.deciding(context.Background(), f); err != nil || f.tell(nil, drops)[0] != "4 flows; dropped in table 50 of br-int, flow 0xabcd" {
		t.Errorf("%v: %q", err, f.tell(nil, drops))
	}
}
