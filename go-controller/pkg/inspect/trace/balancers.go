package trace

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// begins is the node where connections from a place enter the logical network, empty where that is not said.
func (t *tracer) begins(from *place) string {
	switch {
	case from.own():
		return from.pod.Spec.NodeName
	case from.node != "":
		return from.node
	}
	return t.Via
}

// endpoints are where a connection may end: nil stands for the destination itself. Only is the node for whose connections alone that is so,
// empty for all nodes.
func (t *tracer) endpoints(from, to *place) (ends []*place, only string, err error) {
	if to.service == nil {
		return []*place{nil}, "", nil
	}
	i := slices.IndexFunc(to.service.Ports, func(p kube.ServicePort) bool { return p.Port == to.port && p.Protocol == t.Protocol })
	if i < 0 {
		return nil, "", fmt.Errorf("%s has no port %d/%s", to, to.port, t.Protocol)
	}
	var in []*kube.EndpointSlice
	for j := range t.Objects.Slices {
		if s := kube.NewEndpointSlice(&t.Objects.Slices[j]); s.ServiceKey() == to.service.Key() {
			in = append(in, s)
		}
	}
	port, usable := to.service.Ports[i], kube.UsableAnywhere
	local, hinted := differs(to, in)
	node := t.begins(from)
	switch {
	case node == "" && hinted:
		return nil, "", fmt.Errorf("the endpoints of %s differ by node: name that by which the packet comes in, with --via", to)
	case node != "" && (local || hinted):
		if rows := t.serving(from, to, node); len(rows) > 0 {
			return t.backends(rows, to), node, nil
		}
	case local: // It comes in where the endpoint is.
		usable = kube.UsableOnSomeNode
	}
	for _, a := range usable(in, port, t.v4) {
		ends = append(ends, t.byAddress(a.Addr(), a.Port()))
	}
	return ends, "", nil
}

// differs tells whether a service has other endpoints on other nodes: local ones alone by its traffic policy for the address, or by the
// hints of slices.
func differs(to *place, in []*kube.EndpointSlice) (local, hinted bool) {
	local = to.service.ExternalLocal
	if slices.Contains(to.service.ClusterIPs, to.address) {
		local = to.service.InternalLocal
	}
	for _, s := range in {
		hinted = hinted || slices.ContainsFunc(s.Endpoints, func(e kube.Endpoint) bool { return len(e.HintNodes)+len(e.HintZones) > 0 })
	}
	return local, hinted
}

// vip is a service's address and port, as load balancers have it.
func vip(to *place) string { return netip.AddrPortFrom(to.address, to.port).String() }

// backends are the endpoints that load balancers have for a service's address and port, each once.
func (t *tracer) backends(rows []database.Row, to *place) []*place {
	var out []*place
	seen := map[netip.AddrPort]bool{}
	for i := range rows {
		for text := range strings.SplitSeq(rows[i].Model.(*nbdb.LoadBalancer).Vips[vip(to)], ",") {
			if a, err := netip.ParseAddrPort(text); err == nil && !seen[a] {
				seen[a] = true
				out = append(out, t.byAddress(a.Addr(), a.Port()))
			}
		}
	}
	return out
}

// balancer is the load balancer that leads from a service's address and port to an endpoint, or nil.
func (t *tracer) balancer(l leg) *database.Row {
	node := t.begins(l.from)
	if node == "" {
		node = t.entry(l.endpoint)
	}
	backend := netip.AddrPortFrom(l.endpoint.address, l.endpoint.port).String()
	rows := t.serving(l.from, l.to, node)
	for i := range rows {
		if slices.Contains(strings.Split(rows[i].Model.(*nbdb.LoadBalancer).Vips[vip(l.to)], ","), backend) {
			return &rows[i]
		}
	}
	return nil
}

// serving are the load balancers for a service's address and port that a connection from a place meets on a node: those of the switch that
// the place's pod is on, then those of the node's gateway router, which is all that others meet.
func (t *tracer) serving(from, to *place, node string) []database.Row {
	where := []string{names.GatewayRouter(node)}
	if from.own() {
		where = []string{names.NodeSwitch(node), names.GatewayRouter(node)}
	}
	for _, datapath := range where {
		attached := t.attached(datapath)
		rows := t.NB.All(func(r *database.Row) bool {
			lb, ok := r.Model.(*nbdb.LoadBalancer)
			if !ok || !attached[r.UUID] || lb.Protocol == nil || *lb.Protocol != wire(string(t.Protocol)) {
				return false
			}
			_, serves := lb.Vips[vip(to)]
			return serves
		})
		if len(rows) > 0 {
			return rows
		}
	}
	return nil
}

// attached are the UUIDs of the load balancers of a logical switch or router, its own and those of its groups.
func (t *tracer) attached(datapath string) map[string]bool {
	var own, groups []string
	for _, s := range database.Rows[nbdb.LogicalSwitch](t.NB, nbdb.LogicalSwitchTable) {
		if s.Name == datapath {
			own, groups = append(own, s.LoadBalancer...), append(groups, s.LoadBalancerGroup...)
		}
	}
	for _, r := range database.Rows[nbdb.LogicalRouter](t.NB, nbdb.LogicalRouterTable) {
		if r.Name == datapath {
			own, groups = append(own, r.LoadBalancer...), append(groups, r.LoadBalancerGroup...)
		}
	}
	for uuid, g := range database.Rows[nbdb.LoadBalancerGroup](t.NB, nbdb.LoadBalancerGroupTable) {
		if slices.Contains(groups, uuid) {
			own = append(own, g.LoadBalancer...)
		}
	}
	out := map[string]bool{}
	for _, uuid := range own {
		out[uuid] = true
	}
	return out
}
