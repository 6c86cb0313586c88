package trace

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// outportAction chooses the port that a packet is going to leave by: ovn-sb(5), Logical_Flow.
var outportAction = regexp.MustCompile(`^outport = "([^"]+)";$`)

// asking is the hop at which a gateway router asks who its next hop in the join subnet is, or -1. It learns that from the first packet, and
// forgets it; the packet itself waits for the answer, where ovn-trace goes on with the question.
func asking(hops []Hop) int {
	outport := ""
	for i := range hops {
		h := &hops[i]
		for _, a := range h.Actions {
			if m := outportAction.FindStringSubmatch(a); m != nil {
				outport = m[1]
			}
		}
		if h.has("arp {") || h.has("nd_ns {") {
			if outport == names.RouterToJoinPort(h.Datapath) {
				return i
			}
			return -1
		}
	}
	return -1
}

// onwards follows a packet that waits in a gateway router for the cluster router's hardware address from where it goes on.
func (t *tracer) onwards(ctx context.Context, p *packet, l leg, hops []Hop) ([]Hop, error) {
	at := asking(hops)
	if at < 0 {
		return hops, nil
	}
	hops = hops[:at+1]
	next, err := t.joins(p, l, hops)
	if err != nil {
		return nil, err
	}
	rest, err := t.ovn(ctx, next, nil)
	return append(hops, rest...), err
}

// joins is a packet as it leaves a gateway router, the last of hops, for the join switch.
func (t *tracer) joins(p *packet, l leg, hops []Hop) (*packet, error) {
	router, to := hops[len(hops)-1].Datapath, l.to
	if l.endpoint != nil {
		to = l.endpoint
	}
	out := &packet{inport: names.JoinToRouterPort(router), source: p.source, destination: netip.AddrPortFrom(to.address, to.port)}
	switch {
	case slices.ContainsFunc(hops, func(h Hop) bool { return forced(&h) }):
		address, err := t.routerAddress(names.RouterToJoinPort(router))
		if err != nil {
			return nil, err
		}
		out.source = netip.AddrPortFrom(address, p.source.Port())
	case l.from.node != "": // What the host sends has an address of its own use; NAT of the router gives it the node's.
		out.source = netip.AddrPortFrom(l.from.address, p.source.Port())
	}
	var err error
	if out.sourceMAC, err = t.routerMAC(names.RouterToJoinPort(router)); err == nil {
		out.destinationMAC, err = t.routerMAC(names.RouterToJoinPort(names.ClusterRouter))
	}
	return out, err
}

var forcedSNAT = regexp.MustCompile(`^ct_lb(_mark)?\(.*force_snat`)

// forced tells whether a load balancer has packets come from the router: ovn-nb(5), lb_force_snat_ip.
func forced(h *Hop) bool {
	return slices.ContainsFunc(h.Actions, forcedSNAT.MatchString)
}

// routerAddress is that of a logical router port, of the connection's family.
func (t *tracer) routerAddress(name string) (netip.Addr, error) {
	for _, p := range database.Rows[nbdb.LogicalRouterPort](t.NB, nbdb.LogicalRouterPortTable) {
		if p.Name != name {
			continue
		}
		for _, text := range p.Networks {
			if n, err := netip.ParsePrefix(text); err == nil && n.Addr().Is4() == t.v4 {
				return n.Addr(), nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("router port %s has no %s address; kubectl ovn list nodes", name, t.family())
}
