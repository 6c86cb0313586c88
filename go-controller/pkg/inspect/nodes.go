package inspect

import (
	"slices"
	"strconv"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// Node is a node as the network has it.
type Node struct {
	Name    string   `json:"name"`
	Subnets []string `json:"subnets,omitempty"`
	Chassis string   `json:"chassis,omitempty"`
	// GatewayMode is shared or local, empty when the node has no gateway router.
	GatewayMode string   `json:"gatewayMode,omitempty"`
	Addresses   []string `json:"addresses,omitempty"`
	// Ports counts the pods that are plugged in, or waiting to be.
	Ports int `json:"ports"`
	// Missing says what the node lacks to be a part of the network.
	Missing []string `json:"missing,omitempty"`
}

// Nodes shows NodeList.
func (v *View) Nodes() output.Result {
	list := v.NodeList()
	r := output.Result{Object: orEmpty(list), Columns: []output.Column{{Name: "NODE"}, {Name: "SUBNETS"}, {Name: "ADDRESSES"}, {Name: "GATEWAY"}, {Name: "PODS"}, {Name: "STATE"},
		{Name: "CHASSIS", Wide: true}}}
	for _, n := range list {
		state := StateReady
		if len(n.Missing) > 0 {
			state = "no " + strings.Join(n.Missing, ", no ")
		}
		r.Rows = append(r.Rows, []string{n.Name, dash(strings.Join(n.Subnets, ",")), dash(strings.Join(n.Addresses, ",")), dash(n.GatewayMode), strconv.Itoa(n.Ports), state, dash(n.Chassis)})
	}
	return r
}

// NodeList lists nodes.
func (v *View) NodeList() []Node {
	switches, routers := map[string]*nbdb.LogicalSwitch{}, map[string]bool{}
	for _, s := range database.Rows[nbdb.LogicalSwitch](v.NB, nbdb.LogicalSwitchTable) {
		switches[s.Name] = s
	}
	for _, r := range database.Rows[nbdb.LogicalRouter](v.NB, nbdb.LogicalRouterTable) {
		routers[r.Name] = true
	}
	ports := database.Rows[nbdb.LogicalSwitchPort](v.NB, nbdb.LogicalSwitchPortTable)
	var list []Node
	for i := range v.Objects.Nodes {
		k := kube.NewNode(&v.Objects.Nodes[i])
		n := Node{Name: k.Name, Chassis: k.Annotations[names.NodeChassisIDAnnotation]}
		subnets, err := annotations.ParseNodeSubnets(k.Annotations)
		n.lacks(err != nil, "subnet")
		for _, s := range subnets {
			n.Subnets = append(n.Subnets, s.String())
		}
		for _, a := range k.Addresses {
			n.Addresses = append(n.Addresses, a.String())
		}
		n.lacks(n.Chassis == "", "agent")
		s := switches[names.NodeSwitch(k.Name)]
		n.lacks(s == nil, "switch")
		if s != nil {
			n.Ports = countPods(s, ports)
		}
		gateway, err := annotations.ParseGatewayConfig(k.Annotations)
		if err == nil && routers[names.GatewayRouter(k.Name)] {
			n.GatewayMode = gateway.Mode
		}
		n.lacks(n.GatewayMode == "", "gateway")
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (n *Node) lacks(lacks bool, what string) {
	if lacks {
		n.Missing = append(n.Missing, what)
	}
}

func countPods(s *nbdb.LogicalSwitch, ports map[string]*nbdb.LogicalSwitchPort) int {
	count := 0
	for _, uuid := range s.Ports {
		if p := ports[uuid]; p != nil && p.ExternalIDs[names.OwnerTypeKey] == names.OwnerPod {
			count++
		}
	}
	return count
}
