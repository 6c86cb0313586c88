// Package topology translates the cluster and its nodes into routers, switches and the ports and routes
// between them. docs/design/topology.md has the picture.
package topology

import (
	"net/netip"
	"strings"

	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// gatewayChassisPriority of the only chassis of a router port (ovn-nb(5): higher is preferred).
const gatewayChassisPriority = 1

// Cluster is what the rows that exist once depend on.
type Cluster struct {
	// JoinSubnets are the join switch's, one a family of the cluster, IPv4 first.
	JoinSubnets []netip.Prefix
}

// ClusterRows is the cluster router, the join switch and the link between them.
func ClusterRows(c Cluster) nbstate.Desired {
	var d desired
	d.row(names.ClusterRouter, &nbdb.LogicalRouter{
		Name: names.ClusterRouter,
		// Learning a neighbour from every ARP request would cost a MAC_Binding row and flows on all nodes for each pair of
		// talkers; the router asks when it needs to know.
		Options: map[string]string{"always_learn_from_arp_request": "false"},
	})
	d.row(names.JoinSwitch, &nbdb.LogicalSwitch{Name: names.JoinSwitch})
	var networks []netip.Prefix
	for _, s := range c.JoinSubnets {
		networks = append(networks, netip.PrefixFrom(addr.Router(s), s.Bits()))
	}
	d.link(link{
		routerPort: names.RouterToJoinPort(names.ClusterRouter),
		networks:   networks,
		swtch:      names.JoinSwitch,
		switchPort: names.JoinToRouterPort(names.ClusterRouter),
	})
	return d.Desired
}

// Node is what the rows of a node depend on.
type Node struct {
	Name string
	// Subnets are the node's, one a family of the cluster, IPv4 first.
	Subnets []netip.Prefix
	// Chassis is the system-id of the node's OVN controller; empty as long as it is not known.
	Chassis string
	// HostAddresses are the node's own, which pods reach through its management port.
	HostAddresses []netip.Addr
}

// NodeRows is a node's switch, its link to the cluster router, its management port and its routes.
func NodeRows(n Node) nbstate.Desired {
	var d desired
	d.row(names.NodeSwitch(n.Name), &nbdb.LogicalSwitch{Name: names.NodeSwitch(n.Name), OtherConfig: switchConfig(n.Subnets)})
	var networks []netip.Prefix
	var management []netip.Addr
	for _, s := range n.Subnets {
		networks = append(networks, netip.PrefixFrom(addr.Router(s), s.Bits()))
		management = append(management, addr.Management(s))
	}
	d.link(link{
		routerPort: names.RouterToSwitchPort(n.Name),
		networks:   networks,
		swtch:      names.NodeSwitch(n.Name),
		switchPort: names.SwitchToRouterPort(n.Name),
		chassis:    n.Chassis,
	})
	d.managementPort(n.Name, management)
	d.routes(n)
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

// routes: what the cluster router does not know how to reach is handed to the host of the pod that
// sent it, and what is meant for a node's own address to that node's host.
func (d *desired) routes(n Node) {
	port := names.RouterToSwitchPort(n.Name)
	for _, s := range n.Subnets {
		policy := nbdb.LogicalRouterStaticRoutePolicySrcIP
		d.route(n.Name+"_from_"+s.String(), &nbdb.LogicalRouterStaticRoute{
			IPPrefix: s.String(), Policy: &policy, Nexthop: addr.Management(s).String(), OutputPort: &port,
		})
	}
	for _, a := range n.HostAddresses {
		subnet, ok := addr.Pick(n.Subnets, a, netip.Prefix.Addr)
		if !ok {
			continue
		}
		d.route(n.Name+"_to_"+a.String(), &nbdb.LogicalRouterStaticRoute{
			IPPrefix: addr.HostPrefix(a).String(), Nexthop: addr.Management(subnet).String(), OutputPort: &port,
		})
	}
}

// desired collects rows and members.
type desired struct{ nbstate.Desired }

func (d *desired) row(id string, m model.Model) {
	d.Rows = append(d.Rows, nbstate.Row{ID: id, Model: m})
}

func (d *desired) member(table, id, column, value string) {
	d.Members = append(d.Members, nbstate.Member{Parent: nbstate.Key{Table: table, ID: id}, Column: column, Value: value})
}

// link is a port of the cluster router and its counterpart on a switch.
type link struct {
	routerPort, swtch, switchPort string
	networks                      []netip.Prefix
	// chassis, when known, is the only one that handles the router port. All others then need no flows for what is behind
	// it, which is what keeps the number of flows on a node independent of the number of nodes.
	chassis string
}

func (d *desired) link(l link) {
	port := &nbdb.LogicalRouterPort{Name: l.routerPort}
	var hosts []netip.Addr
	for _, n := range l.networks {
		port.Networks = append(port.Networks, n.String())
		hosts = append(hosts, n.Addr())
	}
	port.MAC = addr.MAC(hosts...).String()
	if l.chassis != "" {
		id := names.GatewayChassis(l.routerPort, l.chassis)
		d.row(id, &nbdb.GatewayChassis{Name: id, ChassisName: l.chassis, Priority: gatewayChassisPriority})
		port.GatewayChassis = []string{id}
	}
	d.row(l.routerPort, port)
	d.member(nbdb.LogicalRouterTable, names.ClusterRouter, "ports", l.routerPort)
	d.row(l.switchPort, &nbdb.LogicalSwitchPort{
		Name: l.switchPort, Type: "router", Addresses: []string{"router"},
		Options: map[string]string{"router-port": l.routerPort},
	})
	d.member(nbdb.LogicalSwitchTable, l.swtch, "ports", l.switchPort)
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

func (d *desired) route(id string, r *nbdb.LogicalRouterStaticRoute) {
	d.row(id, r)
	d.member(nbdb.LogicalRouterTable, names.ClusterRouter, "static_routes", id)
}
