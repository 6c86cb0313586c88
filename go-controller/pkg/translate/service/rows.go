package service

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// exactAffinity tells whether OVN is to remember which endpoint a client has. For that it throws away the first packet of each
// client (seen with 23.03), which costs a connection a second, or, with the userspace datapath, its life. So this is for those who
// ask for less than the default of three hours. Others are sent to an endpoint by a hash of their address: that is
// for ever, but some move when the set of endpoints changes; see hashAffinity.
func exactAffinity(s *kube.Service) bool {
	return s.AffinityTimeout > 0 && s.AffinityTimeout < time.Duration(corev1.DefaultClientIPServiceAffinitySeconds)*time.Second
}

func hashAffinity(s *kube.Service) bool { return s.AffinityTimeout > 0 && !exactAffinity(s) }

// SelectsByIPv6 among what the column selection_fields of Load_Balancer may hold tells clients apart by their IPv6 addresses. OVN 23.03 lacks it.
const SelectsByIPv6 = "ipv6_src"

// hashed are the fields that tell clients apart. OVN takes ip_src for that of IPv4 alone (seen with 23.03). Where there is none for IPv6,
// pods are told apart by their MAC addresses, clients behind a router not at all.
func (t *translation) hashed(f family) []nbdb.LoadBalancerSelectionFields {
	switch {
	case f == familyOf(true):
		return []nbdb.LoadBalancerSelectionFields{nbdb.LoadBalancerSelectionFieldsIPSrc}
	case t.cluster.selectsByIPv6:
		return []nbdb.LoadBalancerSelectionFields{SelectsByIPv6}
	}
	return []nbdb.LoadBalancerSelectionFields{nbdb.LoadBalancerSelectionFieldsEthSrc, nbdb.LoadBalancerSelectionFieldsIPSrc}
}

// rows makes load balancers of a placement, in an order that depends on nothing but what they are.
func (t *translation) rows(protocol corev1.Protocol, p *placement) {
	byScope := map[string]func(){}
	for at, varieties := range p.vips {
		for v, vips := range varieties {
			if len(vips) == 0 {
				continue
			}
			byScope[at.scope(v)] = func() { t.row(protocol, at, v, vips, p.nodes[at]) }
		}
	}
	for _, scope := range slices.Sorted(maps.Keys(byScope)) {
		byScope[scope]()
	}
}

func (t *translation) row(protocol corev1.Protocol, at place, v variety, of vips, nodes []*Node) {
	id := names.ServiceLoadBalancer(t.service.Namespace, t.service.Name, string(protocol), at.scope(v))
	wire := strings.ToLower(string(protocol))
	model := &nbdb.LoadBalancer{Name: id, Protocol: &wire, Vips: of, Options: t.options(protocol, v)}
	if hashAffinity(t.service) {
		model.SelectionFields = t.hashed(v.family)
	}
	t.desired.Rows = append(t.desired.Rows, nbstate.Row{ID: id, Model: model})
	if at.everywhere {
		group := map[string]string{
			onSwitches: names.ClusterSwitchLBGroup, onRouters: names.ClusterRouterLBGroup, onBoth: names.ClusterLBGroup,
		}[at.kinds]
		t.member(nbdb.LoadBalancerGroupTable, group, id)
	}
	for _, n := range nodes {
		if at.kinds != onRouters {
			t.member(nbdb.LogicalSwitchTable, names.NodeSwitch(n.Name), id)
		}
		if at.kinds != onSwitches {
			t.member(nbdb.LogicalRouterTable, names.GatewayRouter(n.Name), id)
		}
	}
}

// member puts the load balancer into effect.
func (t *translation) member(table, parent, id string) {
	t.desired.Members = append(t.desired.Members, nbstate.Member{
		Parent: nbstate.Key{Table: table, ID: parent}, Column: "load_balancer", Value: id,
	})
}

// options of a load balancer: see ovn-nb(5).
func (t *translation) options(protocol corev1.Protocol, v variety) map[string]string {
	o := map[string]string{
		"reject": strconv.FormatBool(!v.drop),
		"event":  "false",
		// Routers do not answer for the addresses: nodes' own are answered for anyway, others are led here by somebody else.
		"neighbor_responder": "none",
		"hairpin_snat_ip":    names.HairpinSNATOption(),
	}
	if v.keepSource {
		o["skip_snat"] = "true"
	}
	if v.template {
		o["template"], o["address-family"] = "true", strings.ToLower(string(v.family))
	}
	if exactAffinity(t.service) {
		o["affinity_timeout"] = strconv.Itoa(int(t.service.AffinityTimeout / time.Second))
	}
	if protocol == corev1.ProtocolUDP {
		// A client that keeps sending would stay with a removed endpoint for ever. Connections of other protocols end themselves.
		o["ct_flush"] = "true"
	}
	return o
}
