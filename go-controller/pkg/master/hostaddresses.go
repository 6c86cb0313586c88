package master

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"slices"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
)

// hostAddressesOf returns the addresses a node says its host has: what its agent has published, else the
// InternalIPs. The latter also with an error, when the agent's annotation cannot be read.
func hostAddressesOf(node *kube.Node) ([]netip.Addr, error) {
	cidrs, err := annotations.ParseHostCIDRs(node.Annotations)
	if errors.Is(err, annotations.ErrMissing) {
		return node.Addresses, nil
	}
	if err != nil {
		return node.Addresses, err
	}
	out := make([]netip.Addr, len(cidrs))
	for i, c := range cidrs {
		out[i] = c.Addr()
	}
	return out, nil
}

// hostAddresses decides which node's host is meant when an address is the endpoint of a service. Several hosts may have the
// same one (that of a container bridge, say, or a virtual address). It is then the node that has it as InternalIP, else the
// one that was created first.
type hostAddresses struct {
	// internal are the ranges in which no host address can lie.
	internal []netip.Prefix
	nodes    map[string][]netip.Addr
	claims   map[netip.Addr][]hostClaim // best first
}

type hostClaim struct {
	node     string
	internal bool // it is an InternalIP of the node
	created  int64
}

func (c hostClaim) compare(d hostClaim) int {
	if c.internal != d.internal {
		if c.internal {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(c.created, d.created), cmp.Compare(c.node, d.node))
}

func newHostAddresses(internal []netip.Prefix) *hostAddresses {
	return &hostAddresses{internal: internal, nodes: map[string][]netip.Addr{}, claims: map[netip.Addr][]hostClaim{}}
}

// set says which addresses a node has and returns the other nodes for which that changes something.
func (h *hostAddresses) set(node *kube.Node, addresses []netip.Addr) []string {
	before := h.owners(node.Name)
	h.drop(node.Name)
	var usable []netip.Addr
	for _, a := range addresses {
		a = a.Unmap()
		if h.usable(a) && !slices.Contains(usable, a) {
			usable = append(usable, a)
		}
	}
	if len(usable) > 0 {
		h.nodes[node.Name] = usable
	}
	for _, a := range usable {
		claim := hostClaim{node.Name, slices.Contains(node.Addresses, a), node.Created.UnixNano()}
		h.claims[a] = append(h.claims[a], claim)
		slices.SortFunc(h.claims[a], hostClaim.compare)
	}
	return h.affected(node.Name, before)
}

// remove says that a node is gone and returns the other nodes for which that changes something.
func (h *hostAddresses) remove(name string) []string {
	before := h.owners(name)
	h.drop(name)
	return h.affected(name, before)
}

// all returns the addresses that a node has, sorted: also those that others have, too.
func (h *hostAddresses) all(name string) []netip.Addr {
	return slices.SortedFunc(slices.Values(h.nodes[name]), netip.Addr.Compare)
}

// of returns the addresses that belong to a node, sorted.
func (h *hostAddresses) of(name string) []netip.Addr {
	var out []netip.Addr
	for _, a := range h.nodes[name] {
		if h.claims[a][0].node == name {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

func (h *hostAddresses) usable(a netip.Addr) bool {
	if !a.IsValid() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return false
	}
	return !slices.ContainsFunc(h.internal, func(p netip.Prefix) bool { return p.Contains(a) })
}

// owners returns to whom the addresses that a node claims belong.
func (h *hostAddresses) owners(name string) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for _, a := range h.nodes[name] {
		out[a] = h.claims[a][0].node
	}
	return out
}

// affected returns the nodes other than name that have gained or lost an address since before.
func (h *hostAddresses) affected(name string, before map[netip.Addr]string) []string {
	out := map[string]struct{}{}
	note := func(was, is string) {
		if was != is {
			out[was], out[is] = struct{}{}, struct{}{}
		}
	}
	for a, was := range before {
		is := ""
		if claims := h.claims[a]; len(claims) > 0 {
			is = claims[0].node
		}
		note(was, is)
	}
	for a, is := range h.owners(name) {
		if _, known := before[a]; known {
			continue
		}
		was := ""
		if claims := h.claims[a]; is == name && len(claims) > 1 {
			was = claims[1].node // The best of the others had it before.
		}
		note(cmp.Or(was, is), is)
	}
	delete(out, name)
	delete(out, "")
	return slices.Sorted(maps.Keys(out))
}

func (h *hostAddresses) drop(name string) {
	for _, a := range h.nodes[name] {
		h.claims[a] = slices.DeleteFunc(h.claims[a], func(c hostClaim) bool { return c.node == name })
		if len(h.claims[a]) == 0 {
			delete(h.claims, a)
		}
	}
	delete(h.nodes, name)
}
