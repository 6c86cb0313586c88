package master

import (
	"net/netip"
	"slices"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/service"
)

// serviceNode is what services depend on of a node with these rows.
func (e *engine) serviceNode(node *kube.Node, rows nbstate.Desired) *service.Node {
	router := names.GatewayRouter(node.Name)
	return &service.Node{
		Name: node.Name, Chassis: node.Annotations[names.NodeChassisIDAnnotation], Zone: node.Zone,
		Gateway: slices.ContainsFunc(rows.Rows, func(r nbstate.Row) bool {
			_, ok := r.Model.(*nbdb.LogicalRouter)
			return ok && r.ID == router
		}),
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
