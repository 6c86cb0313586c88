package master

import (
	"errors"
	"fmt"

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
	g := &topology.Gateway{
		Cluster: e.cluster, Mode: config.Mode, ID: id, MAC: config.MAC,
		Addresses: config.Addresses, NextHops: config.NextHops, VLAN: config.VLAN,
	}
	served := false
	for _, join := range e.cluster.JoinSubnets {
		if a := addr.Host(join, id); !join.Contains(a) || a.Is4() && !join.Contains(a.Next()) { // IPv4's last is broadcast.
			return nil, fmt.Errorf("the join subnet %s has no address for node id %d: extend --gateway-v4-join-subnet or --gateway-v6-join-subnet", join, id)
		}
		for _, a := range config.Addresses {
			served = served || a.Addr().Is4() == join.Addr().Is4()
		}
	}
	if !served {
		return nil, fmt.Errorf("annotation %s: addresses %v are of no family of the cluster", names.L3GatewayConfigAnnotation, config.Addresses)
	}
	return g, nil
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
