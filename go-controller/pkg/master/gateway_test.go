package master

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
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
