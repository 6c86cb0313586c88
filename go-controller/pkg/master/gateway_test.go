package master

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/topology"
)

const goodGateway = `{"default":{"mode":"shared","bridge-id":"br-ex","interface-id":"br-ex_n1","mac-address":"02:42:ac:12:00:0b",` +
	`"ip-addresses":["172.18.0.11/24"],"next-hops":["172.18.0.1"],"node-port-enable":"true","vlan-id":"0"}}`

// egressOf is the next hop of the route by source for n1's pods and, if there is one, the default route of its gateway router.
func (h *harness) egressOf(node string) string {
	source, gateway := "none", ""
	for _, r := range h.db.rows[nodeOwner(node)].Rows {
		route, ok := r.Model.(*nbdb.LogicalRouterStaticRoute)
		switch {
		case !ok:
		case route.Policy != nil && *route.Policy == nbdb.LogicalRouterStaticRoutePolicySrcIP:
			source = route.Nexthop
		case route.IPPrefix == "0.0.0.0/0":
			gateway = ", " + route.Nexthop
		}
	}
	return source + gateway
}

func TestGatewayFollowsItsAnnotation(t *testing.T) {
	h := newTest(t)
	h.addNode("n1", "10.128.0.0/23")
	h.start()
	h.settle()
	h.want("before the agent has said anything", h.egressOf("n1"), "10.128.0.2")
	set := func(annotation, value string) {
		h.annotateNode("n1", map[string]string{annotation: value})
		h.settle()
	}
	set(names.L3GatewayConfigAnnotation, goodGateway)
	h.want("before the chassis is known", h.egressOf("n1"), "10.128.0.2")
	set(names.NodeChassisIDAnnotation, "chassis-1")
	h.want("complete", h.egressOf("n1"), "100.64.0.2, 172.18.0.1")
	set(names.L3GatewayConfigAnnotation, strings.ReplaceAll(goodGateway, "172.18.0.1\"", "172.18.0.254\""))
	h.want("next hop changed", h.egressOf("n1"), "100.64.0.2, 172.18.0.254")
	set(names.L3GatewayConfigAnnotation, strings.ReplaceAll(goodGateway, "shared", "local"))
	h.want("local mode", h.egressOf("n1"), "10.128.0.2, 172.18.0.1")
	h.wantEvents()

	set(names.L3GatewayConfigAnnotation, `{"default":{"mode":"shared"}}`)
	h.want("unreadable", h.egressOf("n1"), "10.128.0.2")
	set(names.HostCIDRsAnnotation, `["172.18.0.11/24"]`)
	h.wantEvents("InvalidGatewayConfig n1") // Once, not with each change.
	set(names.L3GatewayConfigAnnotation, goodGateway)
	h.want("corrected", h.egressOf("n1"), "100.64.0.2, 172.18.0.1")
	set(names.L3GatewayConfigAnnotation, `{"default":{"mode":"shared"}}`)
	h.wantEvents("InvalidGatewayConfig n1") // After it was right this is news.
	set(names.L3GatewayConfigAnnotation, strings.ReplaceAll(goodGateway, "172.18.0.11/24", "fd00::11/64"))
	h.want("of another family", h.egressOf("n1"), "10.128.0.2")
	h.wantEvents("InvalidGatewayConfig n1")
	set(names.L3GatewayConfigAnnotation, strings.ReplaceAll(goodGateway, "172.18.0.11/24", "10.128.0.2/23"))
	h.want("of the cluster's own", h.egressOf("n1"), "10.128.0.2")
	h.wantEvents("InvalidGatewayConfig n1")
	set(names.L3GatewayConfigAnnotation, strings.ReplaceAll(goodGateway, `"172.18.0.11/24"`, `"10.128.0.2/23","fe80::1/64","172.18.0.11/24"`))
	h.want("one of three", h.egressOf("n1"), "100.64.0.2, 172.18.0.1")
	for _, r := range h.db.rows[nodeOwner("n1")].Rows {
		if p, ok := r.Model.(*nbdb.LogicalRouterPort); ok && p.Name == "rtoe-GR_n1" {
			h.want("addresses outside", strings.Join(p.Networks, " "), "172.18.0.11/24")
		}
	}
	set(names.L3GatewayConfigAnnotation, "")
	h.want("removed", h.egressOf("n1"), "10.128.0.2")
	h.wantEvents()
}

func TestGatewayWithoutRoomOnTheJoinSwitch(t *testing.T) {
	h := newTest(t)
	h.join = []netip.Prefix{netip.MustParsePrefix("100.64.0.0/29")}
	for _, n := range []string{"n2", "n3", "n4", "n5", "n6", "n7"} {
		h.addNode(n)
		h.annotateNode(n, map[string]string{names.NodeChassisIDAnnotation: "chassis-" + n, names.L3GatewayConfigAnnotation: goodGateway})
	}
	h.start()
	h.settle()
	h.want("the last with an address", h.egressOf("n6"), "100.64.0.6, 172.18.0.1")
	h.want("the next", h.egressOf("n7"), "10.128.10.2")
	h.wantEvents("InvalidGatewayConfig n7")
}

// A restart finds the gateway's rows as they are: nothing is to be written.
func TestGatewayOverARestart(t *testing.T) {
	h := newTest(t)
	h.addNode("n1")
	h.annotateNode("n1", map[string]string{names.NodeChassisIDAnnotation: "chassis-1", names.L3GatewayConfigAnnotation: goodGateway})
	h.start()
	h.settle()
	h.want("before", h.egressOf("n1"), "100.64.0.2, 172.18.0.1")
	h.start()
	before := h.store.Generation(nodeOwner("n1"))
	h.settle()
	if after := h.store.Generation(nodeOwner("n1")); after != before {
		t.Errorf("the engine wants other rows (generation %d) than those it has adopted (%d)", after, before)
	}
	h.want("after", h.egressOf("n1"), "100.64.0.2, 172.18.0.1")
}

// Addresses that exist on every node, or inside OVN, are no node's own.
func TestInternalRanges(t *testing.T) {
	cfg := config.AddMasterFlags(pflag.NewFlagSet("master", pflag.ContinueOnError))
	cfg.NoSNATCIDRs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	n := networkOf(cfg)
	hosts := newHostAddresses(n.internal)
	for _, internal := range []string{"169.254.169.2", "fd69::2", "100.64.0.2", "fd98::2", "10.128.0.2", "172.30.0.1"} {
		if hosts.usable(netip.MustParseAddr(internal)) {
			t.Errorf("%s passes for a node's own address", internal)
		}
	}
	if !hosts.usable(netip.MustParseAddr("192.0.2.1")) {
		t.Error("a destination without SNAT cannot be a node's own address")
	}
	want := topology.Cluster{
		JoinSubnets: cfg.JoinSubnets[:1], Subnets: []netip.Prefix{cfg.ClusterSubnets[0].Prefix}, NoSNAT: cfg.NoSNATCIDRs, MTU: 1400,
	}
	if diff := cmp.Diff(want, n.cluster(), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("rows depend on (-want +got):\n%s", diff)
	}
}
