package topology

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// Gateway is what a node's gateway router depends on, next to the node. A family takes part when the cluster, the node's
// subnets and Addresses all have it.
type Gateway struct {
	Cluster
	// Mode is names.GatewayModeShared or names.GatewayModeLocal.
	Mode string
	// ID is the node's number: its place on the join switch.
	ID int
	// MAC is that of the external bridge.
	MAC net.HardwareAddr
	// Addresses are the node's on the external bridge.
	Addresses []netip.Prefix
	// NextHops are the routers behind the external bridge.
	NextHops []netip.Addr
	// VLAN is the tag on the external bridge's NIC; zero means untagged.
	VLAN int
}

// HasGateway tells whether there is a gateway router among the node's rows: it needs to know where it runs and at least one address.
func (n Node) HasGateway() bool {
	return n.Gateway != nil && n.Chassis != "" && len(n.families()) > 0
}

// families are those in which the node's gateway router works, true for IPv4, IPv4 first.
func (n Node) families() []bool {
	var out []bool
	for _, v4 := range []bool{true, false} {
		if _, ok := n.joinAddress(v4); ok {
			out = append(out, v4)
		}
	}
	return out
}

// joinAddress is the gateway router's address on the join switch.
func (n Node) joinAddress(v4 bool) (netip.Prefix, bool) {
	_, hasSubnet := ofFamily(n.Subnets, v4)
	_, hasAddress := ofFamily(n.Gateway.Addresses, v4)
	join, hasJoin := ofFamily(n.Gateway.JoinSubnets, v4)
	if !hasSubnet || !hasAddress || !hasJoin {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr.Host(join, n.Gateway.ID), join.Bits()), true
}

// NeighbourOf returns the node whose gateway router a neighbour is told to, if the row is one that NodeRows makes. Such rows carry no
// owner's mark; their ports and MACs say it.
func (c Cluster) NeighbourOf(m *nbdb.StaticMACBinding) (node string, ok bool) {
	for prefix, mac := range map[string]net.HardwareAddr{
		names.RouterToExternalPort(""): names.MasqueradeNextHopMAC(), names.RouterToJoinPort(names.GatewayRouter("")): c.joinMAC(),
	} {
		if node, ok = strings.CutPrefix(m.LogicalPort, prefix); ok && node != "" && m.MAC == mac.String() {
			return node, true
		}
	}
	return "", false
}

// gateway is the node's gateway router between join switch and external bridge.
func (d *desired) gateway(n Node) {
	router := names.GatewayRouter(n.Name)
	d.row(router, &nbdb.LogicalRouter{Name: router, Copp: protectedBy(names.ProtectGateways), Options: map[string]string{
		"chassis": n.Chassis,
		// What enters through the router's load balancers must come back through it.
		"lb_force_snat_ip": "router_ip",
		// Host and router share the node's addresses, so they must not pick the same ports: they share the zone.
		"snat-ct-zone": "0",
		// See the cluster router.
		"always_learn_from_arp_request": "false",
		// All gateway routers are neighbours on the join switch, but talk to the cluster router only: a flow for each pair
		// of them would be wasted. See joinLink.
		"dynamic_neigh_routers": "true",
		// Neighbours are not forgotten: OVN before 24.03 forgets those in use, too, and what is sent until they are known again is
		// late or lost. They stay few, since the external bridge lets the router hear of those only that it has asked for.
	}})
	for _, group := range []string{names.ClusterLBGroup, names.ClusterRouterLBGroup} {
		d.member(nbdb.LogicalRouterTable, router, "load_balancer_group", group)
	}
	d.joinLink(n)
	d.externalLink(n)
	for _, v4 := range n.families() {
		d.gatewayRoutes(n, v4)
		d.forwarding(n, v4)
		d.hostSNAT(n, v4)
		d.clientSNAT(n, v4)
	}
	if n.Gateway.Mode == names.GatewayModeShared {
		d.snat(n)
	}
}

// joinLink connects gateway router and cluster router through the join switch.
func (d *desired) joinLink(n Node) {
	router := names.GatewayRouter(n.Name)
	port, clusterPort := names.RouterToJoinPort(router), names.RouterToJoinPort(names.ClusterRouter)
	var networks []netip.Prefix
	for _, v4 := range n.families() {
		join, _ := n.joinAddress(v4)
		networks = append(networks, join)
		// Without it, pods' answers to a gateway router would follow the route by source to that of their own node: OVN prefers
		// longer prefixes, and the join switch's is short.
		d.route(names.ClusterRouter, n.Name+"_gateway_"+join.Addr().String(), &nbdb.LogicalRouterStaticRoute{
			IPPrefix: addr.HostPrefix(join.Addr()).String(), Nexthop: join.Addr().String(), OutputPort: &clusterPort,
		})
	}
	d.link(link{
		router: router, routerPort: port, networks: networks,
		swtch: names.JoinSwitch, switchPort: names.JoinToRouterPort(router),
		// What comes from outside with more than pods can take is answered here, where the sender is still known by the
		// address it used.
		routerOptions: map[string]string{"gateway_mtu": strconv.Itoa(n.Gateway.MTU)},
	})
	for _, peer := range n.Gateway.routerOnJoin() {
		if _, ok := n.joinAddress(peer.Addr().Is4()); ok {
			d.neighbour(port, peer.Addr(), n.Gateway.joinMAC())
		}
	}
}

// externalLink connects the gateway router to the external bridge.
func (d *desired) externalLink(n Node) {
	router, swtch := names.GatewayRouter(n.Name), names.ExternalSwitch(n.Name)
	d.row(swtch, &nbdb.LogicalSwitch{Name: swtch, Copp: protectedBy(names.ProtectGateways)})
	localnet := &nbdb.LogicalSwitchPort{
		Name: names.ExternalLocalnetPort(n.Name), Type: "localnet", Addresses: []string{"unknown"},
		Options: map[string]string{"network_name": names.PhysicalNetwork},
	}
	if n.Gateway.VLAN != 0 {
		localnet.Tag = &n.Gateway.VLAN
	}
	d.row(localnet.Name, localnet)
	d.member(nbdb.LogicalSwitchTable, swtch, "ports", localnet.Name)
	var networks []netip.Prefix
	for _, a := range n.Gateway.Addresses {
		if _, ok := n.joinAddress(a.Addr().Is4()); ok {
			networks = append(networks, a)
		}
	}
	d.link(link{
		router: router, routerPort: names.RouterToExternalPort(n.Name), networks: networks, mac: n.Gateway.MAC,
		swtch: swtch, switchPort: names.ExternalToRouterPort(n.Name),
		switchOptions: announce(n.Gateway.MAC, networks),
	})
}

// announce makes OVN tell the node's network who has the node's addresses (IPv4 only, see ovn-nb(5)). They are named because
// "router" would add all addresses that NAT rows know, that on the join switch among them.
func announce(mac net.HardwareAddr, addresses []netip.Prefix) map[string]string {
	fields := []string{mac.String()}
	for _, a := range addresses {
		if a.Addr().Is4() {
			fields = append(fields, a.Addr().String())
		}
	}
	if len(fields) == 1 {
		return nil
	}
	return map[string]string{"nat-addresses": strings.Join(fields, " ")}
}

// gatewayRoutes of one family: pods are behind the cluster router, the host is behind the masquerade next hop, and all
// else behind the node's own next hops, which share the connections.
func (d *desired) gatewayRoutes(n Node, v4 bool) {
	router := names.GatewayRouter(n.Name)
	join, external := names.RouterToJoinPort(router), names.RouterToExternalPort(n.Name)
	cluster, _ := ofFamily(n.Gateway.routerOnJoin(), v4)
	for _, s := range n.Gateway.Subnets {
		if s.Addr().Is4() == v4 {
			d.route(router, router+"_to_"+s.String(), &nbdb.LogicalRouterStaticRoute{
				IPPrefix: s.String(), Nexthop: cluster.Addr().String(), OutputPort: &join,
			})
		}
	}
	masquerade, dummy := names.MasqueradeSubnet(v4).String(), names.MasqueradeNextHop(v4)
	d.route(router, router+"_to_"+masquerade, &nbdb.LogicalRouterStaticRoute{
		IPPrefix: masquerade, Nexthop: dummy.String(), OutputPort: &external,
	})
	d.neighbour(external, dummy, names.MasqueradeNextHopMAC())
	for _, hop := range n.Gateway.NextHops {
		if hop.Is4() == v4 {
			d.route(router, router+"_via_"+hop.String(), &nbdb.LogicalRouterStaticRoute{
				IPPrefix: addr.Any(hop).String(), Nexthop: hop.String(), OutputPort: &external,
			})
		}
	}
}

// forwarding lets the host forward what comes in from the external bridge and leaves the same way, which is what load balancers
// send to endpoints outside the cluster network, other nodes' hosts among them. The router itself would have to find out their
// MAC first, and the packet that waits for it passes connection tracking twice and gets another port: that connection would not
// come about. So what begins a connection goes to the router's own address, behind which is the host: the MAC is known, and
// the flows of the external bridge do the rest.
func (d *desired) forwarding(n Node, v4 bool) {
	router, external := names.GatewayRouter(n.Name), names.RouterToExternalPort(n.Name)
	node, _ := ofFamily(n.Gateway.Addresses, v4)
	match := fmt.Sprintf("inport == %[1]q && outport == %[1]q && %[2]s && ct.trk && !ct.rpl", external, addr.MatchName(v4))
	d.reroute(router, router+"_by_host_"+family(v4), reroute{names.ForwardingPolicyPriority, match, node.Addr()})
	d.neighbour(external, node.Addr(), names.MasqueradeNextHopMAC())
}

// hostSNAT hides the host, which has the same masquerade address everywhere, from pods behind the router's join address and from
// others behind the node's. The router's load balancers do that by themselves, but OVN leaves it out for all packets between the
// first of a connection and the first answer: answers to a second request at once (DNS!) would end at another node's host.
func (d *desired) hostSNAT(n Node, v4 bool) {
	router := names.GatewayRouter(n.Name)
	join, _ := n.joinAddress(v4)
	node, _ := ofFamily(n.Gateway.Addresses, v4)
	pods := names.ClusterAddressSet(v4)
	for _, s := range []struct {
		id   string
		from netip.Prefix // The longer one wins.
		to   netip.Prefix
		only *string
	}{
		{router + "_snat_host_to_pods", addr.HostPrefix(names.MasqueradeHost(v4)), join, &pods},
		{router + "_snat_host_to_others", names.MasqueradeHostAddress(v4).Masked(), node, nil},
	} {
		id := s.id + "_" + family(v4)
		d.row(id, &nbdb.NAT{
			Type: nbdb.NATTypeSNAT, LogicalIP: addr.Text(s.from), ExternalIP: s.to.Addr().String(), AllowedExtIPs: s.only,
		})
		d.member(nbdb.LogicalRouterTable, router, "nat", id)
	}
}

// clientSNAT does the same for clients outside, towards pods of other nodes: these would answer through their own node's gateway
// router. Own pods are left out: their answers come back here anyway, and services with the policy Local show them their clients.
// Where pods are known outside by their own addresses, answers to them may come in by any node: they must keep their sources.
func (d *desired) clientSNAT(n Node, v4 bool) {
	if n.Gateway.exempts(v4) {
		return
	}
	router := names.GatewayRouter(n.Name)
	join, _ := n.joinAddress(v4)
	others := names.OthersAddressSet(n.Gateway.ID, v4)
	d.row(others, &nbdb.AddressSet{Name: others})
	for _, s := range n.Gateway.Subnets {
		if s.Addr().Is4() != v4 {
			continue
		}
		for _, p := range addr.Without(s, n.Subnets) {
			d.member(nbdb.AddressSetTable, others, "addresses", p.String())
		}
	}
	id := router + "_snat_clients_to_pods_" + family(v4)
	d.row(id, &nbdb.NAT{
		Type: nbdb.NATTypeSNAT, LogicalIP: addr.Any(join.Addr()).String(), ExternalIP: join.Addr().String(), AllowedExtIPs: &others,
	})
	d.member(nbdb.LogicalRouterTable, router, "nat", id)
}

func family(v4 bool) string {
	if v4 {
		return "v4"
	}
	return "v6"
}

// snat hides pods behind the node's first address of their family, but for destinations that are exempt.
func (d *desired) snat(n Node) {
	router := names.GatewayRouter(n.Name)
	for _, s := range n.Gateway.Subnets {
		v4 := s.Addr().Is4()
		if _, ok := n.joinAddress(v4); !ok {
			continue
		}
		node, _ := ofFamily(n.Gateway.Addresses, v4)
		nat := &nbdb.NAT{Type: nbdb.NATTypeSNAT, LogicalIP: s.String(), ExternalIP: node.Addr().String()}
		if n.Gateway.exempts(v4) {
			set := names.NoSNATAddressSet(v4)
			nat.ExemptedExtIPs = &set
		}
		id := router + "_snat_" + s.String()
		d.row(id, nat)
		d.member(nbdb.LogicalRouterTable, router, "nat", id)
	}
}

// ofFamily returns the first of items that is of a family.
func ofFamily(items []netip.Prefix, v4 bool) (netip.Prefix, bool) {
	for _, p := range items {
		if p.Addr().Is4() == v4 {
			return p, true
		}
	}
	return netip.Prefix{}, false
}
