package kube

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// EndpointSlice is what is kept of a Kubernetes EndpointSlice. It is never changed after it was made.
type EndpointSlice struct {
	Namespace string
	Name      string
	// Service is the name of the service that the slice belongs to; empty when there is none.
	Service string
	// Ports are those whose number is known.
	Ports []EndpointPort
	// Endpoints are those with an address; a slice of names (FQDN) has none.
	Endpoints []Endpoint
}

// EndpointPort is a port on each endpoint of a slice.
type EndpointPort struct {
	// Name is that of the service's port.
	Name     string
	Protocol corev1.Protocol
	Port     uint16
}

// Endpoint is one backend. Conditions that a slice does not state are filled in as the API says.
type Endpoint struct {
	Address                     netip.Addr
	Ready, Serving, Terminating bool
	// Node and Zone may be empty.
	Node string
	Zone string
	// HintNodes and HintZones name whom the endpoint should serve; empty: nothing is said.
	HintNodes []string
	HintZones []string
}

// Key is "namespace/name".
func (s *EndpointSlice) Key() string { return names.ObjectName(s.Namespace, s.Name) }

// ServiceKey is the key of the service, or empty.
func (s *EndpointSlice) ServiceKey() string {
	if s.Service == "" {
		return ""
	}
	return names.ObjectName(s.Namespace, s.Service)
}

// Equal tells whether nothing that is kept differs.
func (s *EndpointSlice) Equal(t *EndpointSlice) bool {
	return s.Namespace == t.Namespace && s.Name == t.Name && s.Service == t.Service &&
		slices.Equal(s.Ports, t.Ports) && slices.EqualFunc(s.Endpoints, t.Endpoints, Endpoint.equal)
}

func (e Endpoint) equal(f Endpoint) bool {
	return e.Address == f.Address && e.Ready == f.Ready && e.Serving == f.Serving && e.Terminating == f.Terminating &&
		e.Node == f.Node && e.Zone == f.Zone &&
		slices.Equal(e.HintNodes, f.HintNodes) && slices.Equal(e.HintZones, f.HintZones)
}

// Draining tells whether the endpoint ends, but still serves (EndpointConditions of discovery.k8s.io).
func (e *Endpoint) Draining() bool { return e.Serving && e.Terminating }

// On tells whether the endpoint is on a node and has an address of a family.
func (e *Endpoint) On(node string, v4 bool) bool { return e.Node == node && e.Address.Is4() == v4 }

// Usable returns those of in that new connections go to: the ready ones or, when none is, those that drain. endpoint finds an
// element's endpoint.
func Usable[T any](in []T, endpoint func(T) *Endpoint) []T {
	for _, good := range []func(*Endpoint) bool{func(e *Endpoint) bool { return e.Ready }, (*Endpoint).Draining} {
		var out []T
		for _, item := range in {
			if good(endpoint(item)) {
				out = append(out, item)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// UsableOn returns where new connections to a service's port go that have to stay on a node, in order, each once. in are the
// service's slices.
func UsableOn(node string, in []*EndpointSlice, port ServicePort, v4 bool) []netip.AddrPort {
	return usableIf(in, port, func(e *Endpoint) bool { return e.On(node, v4) })
}

// UsableAnywhere is the same for connections that may go to any node.
func UsableAnywhere(in []*EndpointSlice, port ServicePort, v4 bool) []netip.AddrPort {
	return usableIf(in, port, func(e *Endpoint) bool { return e.Address.Is4() == v4 })
}

func usableIf(in []*EndpointSlice, port ServicePort, candidate func(*Endpoint) bool) []netip.AddrPort {
	return addressed(Usable(numberedIf(in, port, candidate), numbered.of))
}

// UsableOnSomeNode returns where new connections of some node go that have to stay there, in order, each once: all of UsableAnywhere,
// and those that drain on nodes without a ready one.
func UsableOnSomeNode(in []*EndpointSlice, port ServicePort, v4 bool) []netip.AddrPort {
	byNode := map[string][]numbered{}
	for _, n := range numberedIf(in, port, func(e *Endpoint) bool { return e.Address.Is4() == v4 }) {
		byNode[n.endpoint.Node] = append(byNode[n.endpoint.Node], n)
	}
	var out []numbered
	for _, found := range byNode {
		out = append(out, Usable(found, numbered.of)...)
	}
	return addressed(out)
}

// numbered is an endpoint with the number of one port.
type numbered struct {
	endpoint *Endpoint
	port     uint16
}

func (n numbered) of() *Endpoint { return n.endpoint }

func numberedIf(in []*EndpointSlice, port ServicePort, candidate func(*Endpoint) bool) []numbered {
	var found []numbered
	for _, slice := range in {
		i := slices.IndexFunc(slice.Ports, func(e EndpointPort) bool { return e.Name == port.Name && e.Protocol == port.Protocol })
		if i < 0 {
			continue
		}
		for j := range slice.Endpoints {
			if e := &slice.Endpoints[j]; candidate(e) {
				found = append(found, numbered{e, slice.Ports[i].Port})
			}
		}
	}
	return found
}

func addressed(in []numbered) []netip.AddrPort {
	out := make([]netip.AddrPort, 0, len(in))
	for _, n := range in {
		out = append(out, netip.AddrPortFrom(n.endpoint.Address, n.port))
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return slices.Compact(out)
}

// NewEndpointSlice trims a slice.
func NewEndpointSlice(in *discoveryv1.EndpointSlice) *EndpointSlice {
	out := &EndpointSlice{Namespace: in.Namespace, Name: in.Name, Service: in.Labels[discoveryv1.LabelServiceName]}
	if in.AddressType == discoveryv1.AddressTypeFQDN {
		return out
	}
	for _, p := range in.Ports {
		if p.Port == nil || *p.Port <= 0 || *p.Port > 65535 || !known(protocol(p.Protocol)) {
			continue
		}
		port := EndpointPort{Protocol: protocol(p.Protocol), Port: uint16(*p.Port)}
		if p.Name != nil {
			port.Name = *p.Name
		}
		out.Ports = append(out.Ports, port)
	}
	for i := range in.Endpoints {
		if e, ok := newEndpoint(&in.Endpoints[i]); ok {
			out.Endpoints = append(out.Endpoints, e)
		}
	}
	return out
}

// endpointAddress reads an address that packets can be sent to: "endpoint IPs may not be loopback, link-local or link-local multicast" (API reference,
// EndpointAddress). The API server refuses those, unless somebody has written them around it or before it did; through a load balancer they would reach
// what is meant for nobody but the node itself.
func endpointAddress(text string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil || ip.Zone() != "" {
		return netip.Addr{}, false
	}
	ip = ip.Unmap()
	return ip, !special(ip) && !ip.IsLinkLocalUnicast()
}

// special tells whether an address is nobody's in particular, or means another on each node.
func special(ip netip.Addr) bool {
	return ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast() || ip == broadcast() || names.IsMasquerade(ip)
}

// broadcast returns the address of everybody on a link (RFC 919).
func broadcast() netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

// newEndpoint reads the first address only: the API says that all addresses of an endpoint are interchangeable.
func newEndpoint(in *discoveryv1.Endpoint) (Endpoint, bool) {
	if len(in.Addresses) == 0 {
		return Endpoint{}, false
	}
	ip, ok := endpointAddress(in.Addresses[0])
	if !ok {
		return Endpoint{}, false
	}
	c := in.Conditions
	out := Endpoint{Address: ip, Ready: c.Ready == nil || *c.Ready, Terminating: c.Terminating != nil && *c.Terminating}
	// EndpointConditions.Serving: "if nil, consumers should defer to the ready condition".
	out.Serving = out.Ready
	if c.Serving != nil {
		out.Serving = *c.Serving
	}
	if in.NodeName != nil {
		out.Node = *in.NodeName
	}
	if in.Zone != nil {
		out.Zone = *in.Zone
	}
	if in.Hints != nil {
		for _, n := range in.Hints.ForNodes {
			out.HintNodes = append(out.HintNodes, n.Name)
		}
		for _, z := range in.Hints.ForZones {
			out.HintZones = append(out.HintZones, z.Name)
		}
	}
	return out, true
}

// trimEndpointSlice drops what NewEndpointSlice does not read.
func trimEndpointSlice(in *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	out := &discoveryv1.EndpointSlice{
		ObjectMeta: trimMeta(&in.ObjectMeta), AddressType: in.AddressType, Ports: in.Ports, Endpoints: slices.Clone(in.Endpoints),
	}
	out.Labels = pick(in.Labels, []string{discoveryv1.LabelServiceName})
	for i := range out.Endpoints {
		out.Endpoints[i].TargetRef, out.Endpoints[i].Hostname, out.Endpoints[i].DeprecatedTopology = nil, nil, nil
	}
	return out
}

// ServiceSlices knows which slices belong to which service. It is safe for concurrent use.
type ServiceSlices struct {
	mu        sync.RWMutex
	byService map[string]map[string]*EndpointSlice
}

// NewServiceSlices follows a mirror from now on; call it before the mirror runs, and before adding handlers that use it.
func NewServiceSlices(m *Mirror[*EndpointSlice]) *ServiceSlices {
	x := &ServiceSlices{byService: map[string]map[string]*EndpointSlice{}}
	m.OnChange(x.changed)
	return x
}

// Of returns the slices of the service with that key, in the order of their names.
func (x *ServiceSlices) Of(service string) []*EndpointSlice {
	x.mu.RLock()
	defer x.mu.RUnlock()
	out := make([]*EndpointSlice, 0, len(x.byService[service]))
	for _, s := range x.byService[service] {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *EndpointSlice) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (x *ServiceSlices) changed(key string, before, after *EndpointSlice) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if before != nil {
		service := before.ServiceKey()
		delete(x.byService[service], key)
		if len(x.byService[service]) == 0 {
			delete(x.byService, service)
		}
	}
	if after == nil || after.Service == "" {
		return
	}
	service := after.ServiceKey()
	if x.byService[service] == nil {
		x.byService[service] = map[string]*EndpointSlice{}
	}
	x.byService[service][key] = after
}
