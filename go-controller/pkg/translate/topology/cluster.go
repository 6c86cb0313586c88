package topology

import (
	"net"
	"net/netip"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// Cluster is what the rows that exist once depend on. It is part of what nodes' rows depend on, too.
type Cluster struct {
	// JoinSubnets are the join switch's, one a family of the cluster, IPv4 first.
	JoinSubnets []netip.Prefix
	// Subnets are the pools of pods' addresses.
	Subnets []netip.Prefix
	// NoSNAT are destinations outside the cluster that see pods' own addresses.
	NoSNAT []netip.Prefix
	// MTU is that of pods, in bytes.
	MTU int
}

// ClusterRows is the cluster router, the join switch and the link between them, the load balancer groups, and the sets of
// pods' pools and of destinations without SNAT.
func ClusterRows(c Cluster) nbstate.Desired {
	var d desired
	d.row(names.ClusterRouter, &nbdb.LogicalRouter{
		Name: names.ClusterRouter,
		// Learning a neighbour from every ARP request would cost a MAC_Binding row and flows on all nodes for each pair of
		// talkers; the router asks when it needs to know.
		Options: map[string]string{"always_learn_from_arp_request": "false"},
		Copp:    protectedBy(names.ProtectPods),
	})
	d.row(names.JoinSwitch, &nbdb.LogicalSwitch{Name: names.JoinSwitch, Copp: protectedBy(names.ProtectGateways)})
	d.link(link{
		router: names.ClusterRouter, routerPort: names.RouterToJoinPort(names.ClusterRouter), networks: c.routerOnJoin(),
		swtch: names.JoinSwitch, switchPort: names.JoinToRouterPort(names.ClusterRouter),
	})
	for _, group := range []string{names.ClusterLBGroup, names.ClusterSwitchLBGroup, names.ClusterRouterLBGroup} {
		d.row(group, &nbdb.LoadBalancerGroup{Name: group})
	}
	for _, v4 := range []bool{true, false} {
		d.addressSet(names.NoSNATAddressSet(v4), c.NoSNAT, v4)
		d.addressSet(names.ClusterAddressSet(v4), c.Subnets, v4)
	}
	return d.Desired
}

// addressSet holds those of prefixes that are of a family; where there are none, there is no set.
func (d *desired) addressSet(name string, prefixes []netip.Prefix, v4 bool) {
	if _, any := ofFamily(prefixes, v4); !any {
		return
	}
	d.row(name, &nbdb.AddressSet{Name: name})
	for _, p := range prefixes {
		if p.Addr().Is4() == v4 {
			d.member(nbdb.AddressSetTable, name, "addresses", p.String())
		}
	}
}

// routerOnJoin are the cluster router's addresses on the join switch.
func (c Cluster) routerOnJoin() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range c.JoinSubnets {
		out = append(out, netip.PrefixFrom(addr.Router(s), s.Bits()))
	}
	return out
}

// joinMAC is the cluster router's on the join switch.
func (c Cluster) joinMAC() net.HardwareAddr {
	var hosts []netip.Addr
	for _, p := range c.routerOnJoin() {
		hosts = append(hosts, p.Addr())
	}
	return addr.MAC(hosts...)
}

// exempts tells whether there are destinations of the family without SNAT.
func (c Cluster) exempts(v4 bool) bool {
	_, any := ofFamily(c.NoSNAT, v4)
	return any
}
