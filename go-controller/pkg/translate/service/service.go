// Package service translates Services and their EndpointSlices into load balancers. docs/design/services.md explains which row is
// where and why.
//
// What a frontend (an address and port of the service) does is decided twice: on node switches, for what pods and the
// management port send, and on gateway routers, for what comes from the node's host and from outside. Where a
// decision is the same for all nodes it is a load balancer in a group; where nodes differ, those that are alike share one.
package service

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// Node is what services depend on of a node that has a switch.
type Node struct {
	Name string
	// Chassis is the system-id of the node's OVN controller; empty as long as it is not known.
	Chassis string
	// Zone is empty where the node has none.
	Zone string
	// Gateway: the node has a gateway router.
	Gateway bool
	// HostAnswers: what the node's pods send out of the cluster, answers too, leaves by the host (local gateway mode), not by the gateway router.
	HostAnswers bool
	// Addresses are the host's own.
	Addresses []netip.Addr
	// NodePortAddresses are those where node ports answer.
	NodePortAddresses []netip.Addr
}

// Equal tells whether nothing differs.
func (n *Node) Equal(m *Node) bool {
	return n.Name == m.Name && n.Chassis == m.Chassis && n.Zone == m.Zone && n.Gateway == m.Gateway && n.HostAnswers == m.HostAnswers &&
		slices.Equal(n.Addresses, m.Addresses) && slices.Equal(n.NodePortAddresses, m.NodePortAddresses)
}

// Cluster is what services depend on beside themselves. It is never changed after it was made.
type Cluster struct {
	nodes []*Node // by name
	pods  []netip.Prefix
	// variables is how many node addresses of a family the node with most of them has.
	variables map[bool]int
	// selectsByIPv6: the northbound database takes SelectsByIPv6.
	selectsByIPv6 bool
}

// SelectingByIPv6 is the same cluster, whose northbound database takes SelectsByIPv6 if able.
func (c *Cluster) SelectingByIPv6(able bool) *Cluster {
	d := *c
	d.selectsByIPv6 = able
	return &d
}

// NewCluster is for nodes with distinct names; pods are the networks in which no host has an address.
func NewCluster(nodes []*Node, pods []netip.Prefix) *Cluster {
	c := &Cluster{nodes: slices.Clone(nodes), pods: pods, variables: map[bool]int{}}
	slices.SortFunc(c.nodes, func(a, b *Node) int { return strings.Compare(a.Name, b.Name) })
	for _, n := range c.nodes {
		for _, v4 := range []bool{true, false} {
			c.variables[v4] = max(c.variables[v4], len(ofFamily(n.NodePortAddresses, v4)))
		}
	}
	return c
}

// SameVariables tells whether templates are the same for both.
func (c *Cluster) SameVariables(d *Cluster) bool {
	return c.variables[true] == d.variables[true] && c.variables[false] == d.variables[false]
}

func (c *Cluster) isPod(a netip.Addr) bool {
	return slices.ContainsFunc(c.pods, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Dependence says what of the cluster the rows of a service depend on.
type Dependence int

// A dependence includes those before it.
const (
	OnNothing Dependence = iota
	// OnVariables: on SameVariables.
	OnVariables
	// OnNodes: on the nodes.
	OnNodes
)

// Rows is what a service wants, and what would make it want something else. A headless service wants nothing.
func Rows(s *kube.Service, endpointSlices []*kube.EndpointSlice, c *Cluster) (nbstate.Desired, Dependence) {
	t := translation{service: s, cluster: c}
	if len(s.ClusterIPs) == 0 {
		return t.desired, OnNothing
	}
	backends := newBackends(s, endpointSlices, c)
	for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP} {
		t.rows(protocol, t.place(newFrontends(s, protocol, c), backends))
	}
	t.sourceRanges()
	if t.dependence == OnNothing && hasNodePort(s) {
		t.dependence = OnVariables
	}
	return t.desired, t.dependence
}

// NodeRows are a node's template variables, which make one load balancer answer on every node's own addresses, where its
// gateway router discards what is to be dropped, and its place in the port group of ClusterRows.
func NodeRows(n *Node) nbstate.Desired {
	d := nbstate.Desired{Members: clientPorts(n)}
	if n.Gateway {
		for _, v4 := range []bool{true, false} {
			id := names.NobodyRoute(n.Name, v4)
			d.Rows = append(d.Rows, nbstate.Row{ID: id, Model: &nbdb.LogicalRouterStaticRoute{
				IPPrefix: addr.HostPrefix(names.MasqueradeNobody(v4)).String(), Nexthop: discard,
			}})
			d.Members = append(d.Members, nbstate.Member{
				Parent: nbstate.Key{Table: nbdb.LogicalRouterTable, ID: names.GatewayRouter(n.Name)}, Column: "static_routes", Value: id,
			})
		}
	}
	if n.Chassis == "" || len(n.NodePortAddresses) == 0 {
		return d
	}
	variables := map[string]string{}
	for _, v4 := range []bool{true, false} {
		for i, a := range ofFamily(n.NodePortAddresses, v4) {
			variables[names.NodeAddressVariable(v4, i)] = a.String()
		}
	}
	d.Rows = append(d.Rows, nbstate.Row{ID: n.Chassis, Model: &nbdb.ChassisTemplateVar{Chassis: n.Chassis, Variables: variables}})
	return d
}

// discard in place of a next hop: ovn-nb(5), Logical_Router_Static_Route.
const discard = "discard"

func ofFamily(in []netip.Addr, v4 bool) []netip.Addr {
	var out []netip.Addr
	for _, a := range in {
		if a.Is4() == v4 && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

func hasNodePort(s *kube.Service) bool {
	return slices.ContainsFunc(s.Ports, func(p kube.ServicePort) bool { return p.NodePort != 0 })
}
