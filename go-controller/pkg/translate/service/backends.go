package service

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

// portKey finds the endpoints of a service's port in one family.
type portKey struct {
	name     string
	protocol corev1.Protocol
	v4       bool
}

// backend is an endpoint with the number of one port.
type backend struct {
	netip.AddrPort
	*kube.Endpoint
}

// backends are the endpoints of a service's ports.
type backends map[portKey]*pool

// pool holds the endpoints of one port and family, by address and port, each once.
type pool struct {
	all []backend
	// on are the nodes with an endpoint that may be used.
	on map[string]struct{}
	// hosts are the addresses outside the pods' networks, which may be those of nodes.
	hosts map[netip.Addr]struct{}
	// forNodes and forZones are those whom hints name; nil unless each ready endpoint has such a hint: then hints say nothing.
	forNodes, forZones map[string]struct{}
}

func newBackends(s *kube.Service, endpointSlices []*kube.EndpointSlice, c *Cluster) backends {
	found := map[portKey]map[netip.AddrPort]*kube.Endpoint{}
	for _, p := range s.Ports {
		for _, v4 := range []bool{true, false} {
			found[portKey{p.Name, p.Protocol, v4}] = map[netip.AddrPort]*kube.Endpoint{}
		}
	}
	for _, slice := range endpointSlices {
		for _, port := range slice.Ports {
			for i := range slice.Endpoints {
				e := &slice.Endpoints[i]
				of := found[portKey{port.Name, port.Protocol, e.Address.Is4()}]
				if of == nil {
					continue // The service does not have the port (any more).
				}
				// While an endpoint moves from one slice to another it may be in both, in different states.
				at := netip.AddrPortFrom(e.Address, port.Port)
				if other := of[at]; other == nil || rank(e) > rank(other) {
					of[at] = e
				}
			}
		}
	}
	out := backends{}
	for key, endpoints := range found {
		out[key] = newPool(endpoints, c)
	}
	return out
}

func rank(e *kube.Endpoint) int {
	switch {
	case e.Ready:
		return 2
	case e.Serving:
		return 1
	}
	return 0
}

func newPool(endpoints map[netip.AddrPort]*kube.Endpoint, c *Cluster) *pool {
	p := &pool{all: make([]backend, 0, len(endpoints)), on: map[string]struct{}{}, hosts: map[netip.Addr]struct{}{}}
	for at, e := range endpoints {
		b := backend{at, e}
		p.all = append(p.all, b)
		if e.Node != "" && usable(b) {
			p.on[e.Node] = struct{}{}
		}
		if !c.isPod(e.Address) {
			p.hosts[e.Address] = struct{}{}
		}
	}
	slices.SortFunc(p.all, func(a, b backend) int { return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Port(), b.Port())) })
	p.forNodes = p.hints(func(e *kube.Endpoint) []string { return e.HintNodes })
	p.forZones = p.hints(func(e *kube.Endpoint) []string { return e.HintZones })
	return p
}

// hints are whom the hints of ready endpoints name; nil when one of them has none: then none may be used (Topology Aware Routing,
// "safeguards").
func (p *pool) hints(of func(*kube.Endpoint) []string) map[string]struct{} {
	out := map[string]struct{}{}
	for _, b := range p.all {
		if !b.Ready {
			continue
		}
		if len(of(b.Endpoint)) == 0 {
			return nil
		}
		for _, h := range of(b.Endpoint) {
			out[h] = struct{}{}
		}
	}
	return out
}

// selection says which endpoints are to be used.
type selection struct {
	// local: only those on the node.
	local bool
	// noHost: of these, none with the host's own address.
	noHost bool
}

// difference is how a node differs from others for a pool. Nodes in the same difference use the same endpoints.
type difference struct {
	node, zone string
}

// prefers tells what hints mean for a node.
func (p *pool) prefers(n *Node) difference {
	if _, ok := p.forNodes[n.Name]; ok {
		return difference{node: n.Name}
	}
	if _, ok := p.forZones[n.Zone]; ok && n.Zone != "" {
		return difference{zone: n.Zone}
	}
	return difference{}
}

// isOn tells whether any endpoint is the node's own host.
func (p *pool) isOn(n *Node) bool {
	return len(p.hosts) > 0 && slices.ContainsFunc(n.Addresses, func(a netip.Addr) bool { _, ok := p.hosts[a]; return ok })
}

// any tells whether any endpoint may be used at all.
func (p *pool) any() bool { return slices.ContainsFunc(p.all, usable) }

// usable: ready, or at least able to serve until it ends.
func usable(b backend) bool { return b.Ready || b.Draining() }

// choose returns the endpoints to use on a node, or in general when n is nil.
func (p *pool) choose(s selection, n *Node) []netip.AddrPort {
	var preferred difference
	if n != nil && !s.local {
		preferred = p.prefers(n)
	}
	here := func(b backend) bool {
		if !s.local {
			return true
		}
		return n != nil && b.Node == n.Name && (!s.noHost || !slices.Contains(n.Addresses, b.Addr()))
	}
	hinted := func(b backend) bool {
		switch {
		case preferred.node != "":
			return slices.Contains(b.HintNodes, preferred.node)
		case preferred.zone != "":
			return slices.Contains(b.HintZones, preferred.zone)
		}
		return true
	}
	// Hints that say something name a ready endpoint: none that drains is used because of them.
	var candidates []backend
	for _, b := range p.all {
		if here(b) && hinted(b) {
			candidates = append(candidates, b)
		}
	}
	var out []netip.AddrPort
	for _, b := range kube.Usable(candidates, func(b backend) *kube.Endpoint { return b.Endpoint }) {
		out = append(out, b.AddrPort)
	}
	return out
}
