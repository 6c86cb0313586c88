package master

import (
	"net/netip"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/service"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/topology"
)

// serviceNode is what services depend on of a node that is wired so.
func (e *engine) serviceNode(node *kube.Node, wired topology.Node) *service.Node {
	return &service.Node{
		Name: node.Name, Chassis: wired.Chassis, Zone: node.Zone,
		Gateway:           wired.HasGateway(),
		HostAnswers:       wired.HasGateway() && wired.Gateway.Mode == names.GatewayModeLocal,
		Addresses:         e.hosts.of(node.Name),
		NodePortAddresses: e.nodePortAddresses(node),
	}
}

// nodePortAddresses are those of the external bridge, or what the node is known by as long as those are not known.
func (e *engine) nodePortAddresses(node *kube.Node) []netip.Addr {
	if !e.network.nodePorts {
		return nil
	}
	config, err := annotations.ParseGatewayConfig(node.Annotations)
	if err != nil {
		return node.Addresses // Complained about elsewhere.
	}
	if !config.NodePortEnable {
		return nil
	}
	out := make([]netip.Addr, len(config.Addresses))
	for i, a := range config.Addresses {
		out[i] = a.Addr()
	}
	return out
}
