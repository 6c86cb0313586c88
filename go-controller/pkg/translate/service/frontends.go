package service

import (
	"net/netip"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// frontend is an address and port at which a service answers.
type frontend struct {
	// vip is what a load balancer calls it; empty for a node port that is spelled out for each node.
	vip      string
	nodePort uint16
	v4       bool
	template bool
	// family is set where one load balancer for both families would not do.
	family   family
	backends portKey
	// keepSource: on routers, the endpoint is to see the client's address.
	keepSource bool
	// on says which endpoints are used, by kind of place; it is not in effect where there is none.
	on map[kind]selection
}

// kind of the place where a load balancer is in effect.
type kind int

const (
	switches kind = iota
	routers
)

// newFrontends lists all of a service's for one protocol.
func newFrontends(s *kube.Service, protocol corev1.Protocol, c *Cluster) []frontend {
	var out []frontend
	for i := range s.Ports {
		if s.Ports[i].Protocol != protocol {
			continue
		}
		for _, v4 := range []bool{true, false} {
			if len(ofFamily(s.ClusterIPs, v4)) > 0 {
				out = append(out, portFrontends(s, &s.Ports[i], v4, c)...)
			}
		}
	}
	return out
}

func portFrontends(s *kube.Service, p *kube.ServicePort, v4 bool, c *Cluster) []frontend {
	inside, outside := selection{local: s.InternalLocal}, selection{local: s.ExternalLocal}
	base := frontend{v4: v4, backends: portKey{p.Name, p.Protocol, v4}}
	if hashAffinity(s) {
		base.family = familyOf(v4)
	}
	var out []frontend
	for _, a := range ofFamily(s.ClusterIPs, v4) {
		f := base
		// To routers come clients of the other addresses, too: the host's netfilter makes them the cluster IP. For its own clients
		// it sees to the policy itself.
		f.vip, f.on = netip.AddrPortFrom(a, p.Port).String(), map[kind]selection{switches: inside, routers: {}}
		out = append(out, f)
	}
	// The policy for outside traffic is about clients outside: pods are served by all endpoints, as by kube-proxy.
	base.on, base.keepSource = map[kind]selection{switches: {}, routers: outside}, s.ExternalLocal
	for _, list := range [][]netip.Addr{s.ExternalIPs, s.LoadBalancerIPs} {
		for _, a := range ofFamily(list, v4) {
			f := base
			f.vip = netip.AddrPortFrom(a, p.Port).String()
			out = append(out, f)
		}
	}
	if p.NodePort != 0 {
		out = append(out, nodePortFrontends(s, base, p.NodePort, c)...)
	}
	return out
}

func nodePortFrontends(s *kube.Service, base frontend, port uint16, c *Cluster) []frontend {
	var out []frontend
	if exactAffinity(s) {
		// OVN makes flows that never match for a template with affinity (seen with 23.03): northd takes the template for an IPv6
		// address and the endpoints for ones without a port.
		base.nodePort = port
		out = append(out, base)
	} else {
		for i := range c.variables[base.v4] {
			f := base
			f.template, f.family = true, familyOf(base.v4)
			f.vip = "^" + names.NodeAddressVariable(base.v4, i) + ":" + strconv.Itoa(int(port))
			out = append(out, f)
		}
	}
	if s.ExternalLocal {
		// What netfilter on the node's host passes on through the management port.
		f := base
		f.vip, f.nodePort, f.keepSource = netip.AddrPortFrom(names.MasqueradeHostLocal(base.v4), port).String(), 0, false
		f.on = map[kind]selection{switches: {local: true, noHost: true}}
		out = append(out, f)
	}
	return out
}

// vips are the names of a frontend on a node; n may be nil for one that is the same on all.
func (f *frontend) vips(n *Node) []string {
	if f.nodePort == 0 {
		return []string{f.vip}
	}
	var out []string
	for _, a := range ofFamily(n.NodePortAddresses, f.v4) {
		out = append(out, netip.AddrPortFrom(a, f.nodePort).String())
	}
	return out
}

// differs tells how a frontend differs on a node from how it is elsewhere.
func (f *frontend) differs(k kind, p *pool, n *Node) difference {
	switch {
	case f.nodePort != 0, k == routers && p.isOn(n):
		return difference{node: n.Name}
	case !f.on[k].local:
		return p.prefers(n)
	}
	if _, ok := p.on[n.Name]; ok {
		return difference{node: n.Name}
	}
	return difference{}
}

// mayDiffer tells whether differs depends on the nodes that there are.
func (f *frontend) mayDiffer(p *pool) bool {
	if f.nodePort != 0 || len(p.hosts) > 0 || len(p.forNodes) > 0 || len(p.forZones) > 0 {
		return true
	}
	return len(p.on) > 0 && (f.on[switches].local || f.on[routers].local)
}
