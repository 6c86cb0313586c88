package service

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
)

// translation makes one service's rows.
type translation struct {
	service    *kube.Service
	cluster    *Cluster
	desired    nbstate.Desired
	dependence Dependence
}

// place is where load balancers are in effect.
type place struct {
	kinds string // one of the constants below
	// everywhere: on all nodes, by a group. Else on those of the difference.
	everywhere bool
	difference difference
}

// Kinds of a place.
const (
	onSwitches = "switch"
	onRouters  = "router"
	onBoth     = "router+switch"
)

// variety are the options in which load balancers of a service differ.
type variety struct {
	template bool
	family   family
	// keepSource: routers do not translate the source, be it of a packet or of a refusal. Switches never do.
	keepSource bool
	// drop what has no endpoint, in place of rejecting it.
	drop bool
}

// discardPort is that of the discard protocol (RFC 863).
const discardPort = 9

// vips are a load balancer's: endpoints by frontend.
type vips map[string]string

// placement collects vips, and the nodes of the places that are not everywhere.
type placement struct {
	vips  map[place]map[variety]vips
	nodes map[place][]*Node
}

func (p *placement) add(at place, v variety, vip, endpoints string) {
	if p.vips[at] == nil {
		p.vips[at] = map[variety]vips{}
	}
	if p.vips[at][v] == nil {
		p.vips[at][v] = vips{}
	}
	p.vips[at][v][vip] = endpoints
}

// place decides for each frontend and kind of place what is the same everywhere and what differs, and then puts together
// what is the same on switches and routers.
func (t *translation) place(frontends []frontend, b backends) *placement {
	p := &placement{vips: map[place]map[variety]vips{}, nodes: map[place][]*Node{}}
	for k, name := range []string{switches: onSwitches, routers: onRouters} {
		k := kind(k)
		nodes := t.cluster.nodes
		if k == routers {
			nodes = slices.DeleteFunc(slices.Clone(nodes), func(n *Node) bool { return !n.Gateway })
		}
		var different []*frontend
		for i := range frontends {
			f := &frontends[i]
			if _, ok := f.on[k]; !ok {
				continue
			}
			of := b[f.backends]
			if f.mayDiffer(of) {
				t.dependence = OnNodes
			}
			if slices.ContainsFunc(nodes, func(n *Node) bool { return f.differs(k, of, n) != difference{} }) {
				different = append(different, f)
			} else if f.nodePort == 0 {
				f.put(p, place{kinds: name, everywhere: true}, k, of, nil)
			}
		}
		if len(different) == 0 {
			continue
		}
		for d, alike := range divide(nodes, different, k, b) {
			at := place{kinds: name, difference: d}
			p.nodes[at] = alike
			for _, f := range different {
				f.put(p, at, k, b[f.backends], alike[0])
			}
		}
	}
	p.merge()
	return p
}

// divide puts together the nodes for which all frontends are the same.
func divide(nodes []*Node, frontends []*frontend, k kind, b backends) map[difference][]*Node {
	out := map[difference][]*Node{}
	for _, n := range nodes {
		var d difference
		for _, f := range frontends {
			switch e := f.differs(k, b[f.backends], n); {
			case e.node != "":
				d = e
			case e.zone != "" && d.node == "":
				d = e
			}
		}
		out[d] = append(out[d], n)
	}
	return out
}

// put adds a frontend at a place; n is any of its nodes, or nil when it is the same on all.
func (f *frontend) put(p *placement, at place, k kind, of *pool, n *Node) {
	chosen := of.choose(f.on[k], n)
	v := variety{template: f.template, family: f.family, keepSource: f.keepSource && k == routers}
	// No endpoint here, but there are others: a policy is no outage (ServiceSpec.InternalTrafficPolicy: "dropped").
	drop := len(chosen) == 0 && f.on[k].local && of.any()
	if n != nil && n.HostAnswers && len(chosen) > 0 {
		v.keepSource = false // The answer would not pass by the gateway router, which alone can translate it back.
	}
	switch {
	case drop && k == switches:
		v.drop = true
	case drop:
		// Routers make flows of nothing that OVN cannot read (seen with 23.03); the packet would go on.
		chosen = []netip.AddrPort{netip.AddrPortFrom(names.MasqueradeNobody(f.v4), discardPort)}
	case len(chosen) == 0:
		v.keepSource = true // Else routers would send the refusal from an address that the client does not know.
	}
	texts := make([]string, len(chosen))
	for i, e := range chosen {
		if k == routers && n != nil && slices.Contains(n.Addresses, e.Addr()) {
			// On its gateway router the node's address stands for the router itself. The host takes such packets from the
			// router's own address alone.
			e = netip.AddrPortFrom(names.MasqueradeHost(f.v4), e.Port())
			v.keepSource = false
		}
		texts[i] = e.String()
	}
	for _, vip := range f.vips(n) {
		p.add(at, v, vip, strings.Join(texts, ","))
	}
}

// merge moves what a switch and the router of the same node, or of all nodes, have in common to one place.
func (p *placement) merge() {
	for at, onSwitch := range p.vips {
		if at.kinds != onSwitches || !at.everywhere && at.difference.node == "" {
			continue
		}
		other, both := at, at
		other.kinds, both.kinds = onRouters, onBoth
		for v, mine := range onSwitch {
			theirs := p.vips[other][v]
			for vip, endpoints := range mine {
				if e, ok := theirs[vip]; ok && e == endpoints {
					p.add(both, v, vip, endpoints)
					p.nodes[both] = p.nodes[at]
					delete(mine, vip)
					delete(theirs, vip)
				}
			}
		}
	}
}

// scope is the last part of the name of a load balancer.
func (a place) scope(v variety) string {
	var words []string
	switch {
	case a.everywhere && a.kinds == onBoth:
		words = append(words, "cluster")
	case a.everywhere:
		words = append(words, "cluster", a.kinds)
	case a.difference.node != "":
		words = append(words, "node", a.kinds)
	case a.difference.zone != "":
		words = append(words, "zone", a.kinds)
	default:
		words = append(words, "others", a.kinds)
	}
	if v.keepSource {
		words = append(words, "nosnat")
	}
	if v.template {
		words = append(words, "template")
	}
	if v.family != "" {
		words = append(words, string(v.family))
	}
	if v.drop {
		words = append(words, "drop")
	}
	if a.difference.node != "" {
		words = append(words, a.difference.node) // has no "_"
	} else if a.difference.zone != "" {
		words = append(words, "zone="+a.difference.zone) // has no "="
	}
	return strings.Join(words, "_")
}

// family of the addresses in a load balancer for which it matters.
type family string

func familyOf(v4 bool) family {
	if v4 {
		return "IPv4"
	}
	return "IPv6"
}
