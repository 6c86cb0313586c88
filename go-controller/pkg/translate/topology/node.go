package topology

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// gatewayChassisPriority of the only chassis of a router port (ovn-nb(5): higher is preferred).
const gatewayChassisPriority = 1

// Node is what the rows of a node depend on.
type Node struct {
	Name string
	// Subnets are the node's, one a family of the cluster, IPv4 first.
	Subnets []netip.Prefix
	// Chassis is the system-id of the node's OVN controller; empty as long as it is not known.
	Chassis string
	// HostAddresses are the node's own, which its pods reach through its management port.
	HostAddresses []netip.Addr
	// Gateway is how the node leads out of the cluster; nil as long as it is not known.
	Gateway *Gateway
}

// NodeRows is a node's switch, its link to the cluster router, its management port and its routes, and its gateway router
// with what belongs to it (see Gateway).
func NodeRows(n Node) nbstate.Desired {
	var d desired
	swtch := names.NodeSwitch(n.Name)
	d.row(swtch, &nbdb.LogicalSwitch{Name: swtch, Copp: protectedBy(names.ProtectPods), OtherConfig: switchConfig(n.Subnets)})
	for _, group := range []string{names.ClusterLBGroup, names.ClusterSwitchLBGroup} {
		d.member(nbdb.LogicalSwitchTable, swtch, "load_balancer_group", group)
	}
	var networks []netip.Prefix
	var management []netip.Addr
	for _, s := range n.Subnets {
		networks = append(networks, netip.PrefixFrom(addr.Router(s), s.Bits()))
		management = append(management, addr.Management(s))
	}
	d.link(link{
		router: names.ClusterRouter, routerPort: names.RouterToSwitchPort(n.Name), networks: networks,
		swtch: swtch, switchPort: names.SwitchToRouterPort(n.Name),
		chassis: n.Chassis,
	})
	d.managementPort(n.Name, management)
	d.routes(n)
	if n.HasGateway() {
		d.gateway(n)
	}
	return d.Desired
}

// switchConfig tells OVN the subnet of a switch (ovn-nb(5), Logical_Switch other_config).
func switchConfig(subnets []netip.Prefix) map[string]string {
	config := map[string]string{}
	for _, s := range subnets {
		if s.Addr().Is4() {
			config["subnet"] = s.String()
			config["exclude_ips"] = addr.Management(s).String()
		} else {
			config["ipv6_prefix"] = s.Addr().String()
		}
	}
	return config
}

// routes: what the cluster router does not know how to reach goes to the gateway of the pod that sent it, and what the node's
// pods send to its own addresses, and the answers to what it passes on, goes to its host. Other nodes' addresses are outside, so that what comes from another node
// through the gateway router (to a service with the policy Local, say) is answered through the gateway router.
func (d *desired) routes(n Node) {
	for _, s := range n.Subnets {
		policy := nbdb.LogicalRouterStaticRoutePolicySrcIP
		hop, out := n.egress(s)
		d.route(names.ClusterRouter, n.Name+"_from_"+s.String(), &nbdb.LogicalRouterStaticRoute{
			IPPrefix: s.String(), Policy: &policy, Nexthop: hop.String(), OutputPort: &out,
		})
		v4 := s.Addr().Is4()
		var own []string
		for _, a := range n.HostAddresses {
			if a.Is4() == v4 {
				own = append(own, a.String())
			}
		}
		own = append(own, names.MasqueradeForwarded(v4).String())
		match := fmt.Sprintf("inport == %q && %s.dst == {%s}", names.RouterToSwitchPort(n.Name), addr.MatchName(v4), strings.Join(own, ", "))
		d.reroute(names.ClusterRouter, n.Name+"_to_host_"+family(v4), reroute{names.OwnHostPolicyPriority, match, addr.Management(s)})
	}
}

// egress is where pods' packets to the outside go from the cluster router: next hop and port. Without a gateway router that
// could take them it is the host.
func (n Node) egress(subnet netip.Prefix) (netip.Addr, string) {
	if n.HasGateway() && n.Gateway.Mode == names.GatewayModeShared {
		if join, ok := n.joinAddress(subnet.Addr().Is4()); ok {
			return join.Addr(), names.RouterToJoinPort(names.ClusterRouter)
		}
	}
	return addr.Management(subnet), names.RouterToSwitchPort(n.Name)
}

// managementPort is where the node's host is plugged into its switch.
func (d *desired) managementPort(node string, addresses []netip.Addr) {
	fields := []string{addr.MAC(addresses...).String()}
	for _, a := range addresses {
		fields = append(fields, a.String())
	}
	id := names.ManagementLogicalPort(node)
	d.row(id, &nbdb.LogicalSwitchPort{Name: id, Addresses: []string{strings.Join(fields, " ")}})
	d.member(nbdb.LogicalSwitchTable, names.NodeSwitch(node), "ports", id)
}
