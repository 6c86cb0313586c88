package inspect

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy"
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

// Nodes lists nodes.
func (v *View) Nodes() output.Result {
	list := v.nodes()
	r := output.Result{Object: orEmpty(list), Columns: []output.Column{{Name: "NODE"}, {Name: "SUBNETS"}, {Name: "ADDRESSES"}, {Name: "GATEWAY"}, {Name: "PODS"}, {Name: "STATE"},
		{Name: "CHASSIS", Wide: true}}}
	for _, n := range list {
		state := stateReady
		if len(n.Missing) > 0 {
			state = "no " + strings.Join(n.Missing, ", no ")
		}
		r.Rows = append(r.Rows, []string{n.Name, dash(strings.Join(n.Subnets, ",")), dash(strings.Join(n.Addresses, ",")), dash(n.GatewayMode), strconv.Itoa(n.Ports), state, dash(n.Chassis)})
	}
	return r
}

func (v *View) nodes() []Node {
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

// Policy is a NetworkPolicy as the network has it.
type Policy struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Isolates are the directions in which it does: Ingress, Egress.
	Isolates []string `json:"isolates"`
	// Pods counts those that it is in effect on, ACLs those that its rules have become.
	Pods int `json:"pods"`
	ACLs int `json:"acls"`
	// PortGroup is that of its pods.
	PortGroup string `json:"portGroup"`
	// Problems say what of it makes no sense, and what is not in the database.
	Problems []string `json:"problems,omitempty"`
}

// Policies lists network policies.
func (v *View) Policies() output.Result {
	groups := map[string]*nbdb.PortGroup{}
	for _, g := range database.Rows[nbdb.PortGroup](v.NB, nbdb.PortGroupTable) {
		groups[g.Name] = g
	}
	acls := map[nbstate.Owner]int{}
	for _, r := range v.NB.All(func(r *database.Row) bool { return r.Table == nbdb.ACLTable }) {
		acls[r.Owner]++
	}
	var list []Policy
	for i := range v.Objects.Policies {
		parsed := policy.Parse(kube.NewNetworkPolicy(&v.Objects.Policies[i]))
		if !v.shows(parsed.Namespace) {
			continue
		}
		p := Policy{Namespace: parsed.Namespace, Name: parsed.Name, PortGroup: policy.GroupName(parsed.Pods), Problems: parsed.Problems}
		p.ACLs = acls[nbstate.Owner{Kind: names.OwnerNetworkPolicy, Name: names.ObjectName(p.Namespace, p.Name)}]
		for _, ingress := range []bool{true, false} {
			if ingress && parsed.Ingress || !ingress && parsed.Egress {
				p.Isolates = append(p.Isolates, direction(ingress))
			}
		}
		if g := groups[p.PortGroup]; g != nil {
			p.Pods = len(g.Ports)
		} else {
			p.Problems = append(p.Problems, "not in the northbound database")
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Policy) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	r := output.Result{Object: orEmpty(list), Columns: []output.Column{{Name: "NAMESPACE"}, {Name: "POLICY"}, {Name: "ISOLATES"}, {Name: "PODS"}, {Name: "ACLS"}, {Name: "PROBLEMS"}, {Name: "GROUP", Wide: true}}}
	for _, p := range list {
		r.Rows = append(r.Rows, []string{p.Namespace, p.Name, strings.Join(p.Isolates, ","), strconv.Itoa(p.Pods), strconv.Itoa(p.ACLs), dash(strings.Join(p.Problems, "; ")), p.PortGroup})
	}
	return r
}
