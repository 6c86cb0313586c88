package topology

import (
	"net"
	"net/netip"

	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// desired collects rows and members.
type desired struct{ nbstate.Desired }

func (d *desired) row(id string, m model.Model) {
	d.Rows = append(d.Rows, nbstate.Row{ID: id, Model: m})
}

func (d *desired) member(table, id, column, value string) {
	d.Members = append(d.Members, nbstate.Member{Parent: nbstate.Key{Table: table, ID: id}, Column: column, Value: value})
}

// link is a port of a router and its counterpart on a switch.
type link struct {
	router, routerPort string
	swtch, switchPort  string
	networks           []netip.Prefix
	// mac is that of the router port; nil means the one that goes with its addresses.
	mac           net.HardwareAddr
	routerOptions map[string]string
	switchOptions map[string]string
	// chassis, when known, is the only one that handles the router port. All others then need no flows for what is behind
	// it, which is what keeps the number of flows on a node independent of the number of nodes.
	chassis string
}

func (d *desired) link(l link) {
	port := &nbdb.LogicalRouterPort{Name: l.routerPort, Options: l.routerOptions}
	var hosts []netip.Addr
	for _, n := range l.networks {
		port.Networks = append(port.Networks, n.String())
		hosts = append(hosts, n.Addr())
	}
	if l.mac == nil {
		l.mac = addr.MAC(hosts...)
	}
	port.MAC = l.mac.String()
	if l.chassis != "" {
		id := names.GatewayChassis(l.routerPort, l.chassis)
		d.row(id, &nbdb.GatewayChassis{Name: id, ChassisName: l.chassis, Priority: gatewayChassisPriority})
		port.GatewayChassis = []string{id}
	}
	d.row(l.routerPort, port)
	d.member(nbdb.LogicalRouterTable, l.router, "ports", l.routerPort)
	options := map[string]string{"router-port": l.routerPort}
	for k, v := range l.switchOptions {
		options[k] = v
	}
	d.row(l.switchPort, &nbdb.LogicalSwitchPort{Name: l.switchPort, Type: "router", Addresses: []string{"router"}, Options: options})
	d.member(nbdb.LogicalSwitchTable, l.swtch, "ports", l.switchPort)
}

func (d *desired) route(router, id string, r *nbdb.LogicalRouterStaticRoute) {
	d.row(id, r)
	d.member(nbdb.LogicalRouterTable, router, "static_routes", id)
}

// reroute is a policy of a router: what matches goes to next, which is in the network of one of the router's ports.
type reroute struct {
	priority int
	match    string
	next     netip.Addr
}

func (d *desired) reroute(router, id string, r reroute) {
	d.row(id, &nbdb.LogicalRouterPolicy{
		Priority: r.priority, Match: r.match, Action: nbdb.LogicalRouterPolicyActionReroute, Nexthops: []string{r.next.String()},
	})
	d.member(nbdb.LogicalRouterTable, router, "policies", id)
}

// neighbour tells a router port who has an address, for ever and whatever is heard on the wire.
func (d *desired) neighbour(port string, a netip.Addr, mac net.HardwareAddr) {
	// The ID is the row's identity: the table has no external_ids.
	d.row(port+"|"+a.String(), &nbdb.StaticMACBinding{LogicalPort: port, IP: a.String(), MAC: mac.String(), OverrideDynamicMAC: true})
}
