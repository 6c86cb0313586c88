// Package pod translates a Pod on the cluster network into its logical switch port.
package pod

import (
	"net"
	"net/netip"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// Attachment is what was allocated to a pod.
type Attachment struct {
	// Addresses of the pod, at most one a family, IPv4 first.
	Addresses []netip.Addr
	MAC       net.HardwareAddr
}

// Rows is the port of pod on its node's switch. The port is bound to the node (requested-chassis) and to
// this incarnation of the pod (iface-id-ver), and lets nobody else's address pass (port_security).
func Rows(pod *kube.Pod, a Attachment) nbstate.Desired {
	id := names.PodLogicalPort(pod.Namespace, pod.Name)
	addresses := []string{portAddresses(a)}
	port := &nbdb.LogicalSwitchPort{
		Name:         id,
		Addresses:    addresses,
		PortSecurity: addresses,
		Options: map[string]string{
			names.RequestedChassis: pod.Node,
			names.IfaceIDVer:       string(pod.UID),
		},
		ExternalIDs: map[string]string{"pod": "true", "namespace": pod.Namespace},
	}
	return nbstate.Desired{
		Rows: []nbstate.Row{{ID: id, Model: port}},
		Members: []nbstate.Member{{
			Parent: nbstate.Key{Table: nbdb.LogicalSwitchTable, ID: names.NodeSwitch(pod.Node)},
			Column: "ports", Value: id,
		}},
	}
}

func portAddresses(a Attachment) string {
	fields := []string{a.MAC.String()}
	for _, ip := range a.Addresses {
		fields = append(fields, ip.String())
	}
	return strings.Join(fields, " ")
}

// Network is what the pod-networks annotation tells the node: the addresses within the subnets
// of the node, and the routers' addresses in them. Every address lies in one of subnets.
func Network(a Attachment, subnets []netip.Prefix, router func(netip.Prefix) netip.Addr) annotations.PodNetwork {
	n := annotations.PodNetwork{MAC: a.MAC}
	for _, ip := range a.Addresses {
		for _, subnet := range subnets {
			if subnet.Contains(ip) {
				n.Addresses = append(n.Addresses, netip.PrefixFrom(ip, subnet.Bits()))
				n.Gateways = append(n.Gateways, router(subnet))
			}
		}
	}
	return n
}
