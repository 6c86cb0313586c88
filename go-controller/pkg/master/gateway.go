package master

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/topology"
)

// cluster is what rows depend on that are the same for all nodes.
func (n network) cluster() topology.Cluster {
	c := topology.Cluster{JoinSubnets: n.join, NoSNAT: n.noSNAT, MTU: n.mtu}
	for _, p := range n.pools {
		c.Subnets = append(c.Subnets, p.Prefix)
	}
	return c
}

// gatewayOf returns how a node leads out of the cluster by what its agent has published; nil as long as that is nothing, and
// with an error when it makes no sense. Pods of the node then leave through its host.
func (e *engine) gatewayOf(node *kube.Node, id int) (*topology.Gateway, error) {
	config, err := annotations.ParseGatewayConfig(node.Annotations)
	if errors.Is(err, annotations.ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, join := range e.cluster.JoinSubnets {
		if a := addr.Host(join, id); !join.Contains(a) || a.Is4() && !join.Contains(a.Next()) { // IPv4's last is broadcast.
			return nil, fmt.Errorf("the join subnet %s has no address for node id %d: extend --gateway-v4-join-subnet or --gateway-v6-join-subnet", join, id)
		}
	}
	addresses := e.gatewayAddresses(config.Addresses)
	if len(addresses) == 0 {
		return nil, fmt.Errorf("annotation %s: of the addresses %v none can be the node's, in a family of the cluster", names.L3GatewayConfigAnnotation, config.Addresses)
	}
	return &topology.Gateway{
		Cluster: e.cluster, Mode: config.Mode, ID: id, MAC: config.MAC,
		Addresses: addresses, NextHops: config.NextHops, VLAN: config.VLAN,
	}, nil
}

// gatewayAddresses are those that a gateway router can share with its host: of the cluster's families, and neither link-local
// nor masquerade nor otherwise of the cluster's own ranges.
func (e *engine) gatewayAddresses(all []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range all {
		if _, served := addr.Pick(e.cluster.JoinSubnets, a.Addr(), netip.Prefix.Addr); served && e.hosts.usable(a.Addr()) {
			out = append(out, a)
		}
	}
	return out
}

// complainGateway tells what is wrong with a node's gateway, or that nothing is any more.
func (e *engine) complainGateway(node *kube.Node, err error) {
	k := key{nodeKey, node.Name}
	if err == nil {
		e.complaints.settled(k, reasonBadGateway)
		return
	}
	e.complain(k, node.Ref(), reasonBadGateway, err.Error()+"; until that is corrected, pods leave the cluster through the node's own stack")
}
