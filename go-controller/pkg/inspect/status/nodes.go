package status

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/sbdb"
)

// Node is a node with what its controller has done.
type Node struct {
	inspect.Node
	// Ready is the kubelet's word. Registered: its ovn-controller is known to the southbound database.
	Ready      bool     `json:"ready"`
	Registered bool     `json:"registered"`
	Tunnels    []string `json:"tunnels,omitempty"`
	// Agent is what is wrong with its agent; empty also where that is not known.
	Agent string `json:"agent,omitempty"`
	// OpenVSwitch is what is wrong with its Open vSwitch; empty also where the node was not looked into.
	OpenVSwitch string `json:"openVSwitch,omitempty"`
	// Versions and TunnelsTo are known of nodes that were looked into; NotSeen says why one could not be.
	Versions  *Versions `json:"versions,omitempty"`
	TunnelsTo []Tunnel  `json:"tunnelsTo,omitempty"`
	NotSeen   string    `json:"notSeen,omitempty"`
	// Lag is how many requests (nb_cfg) its ovn-controller is behind.
	Lag int `json:"lag"`
	// agentIsProcess: no pod tells of the agent.
	agentIsProcess bool
}

func (n *Node) wrong() string {
	switch {
	case len(n.Missing) > 0:
		return "no " + strings.Join(n.Missing, ", no ")
	case n.OpenVSwitch != "": // The cause of what follows.
		return n.OpenVSwitch
	case n.Agent != "":
		return n.Agent
	case !n.Registered:
		return "ovn-controller is not registered"
	case n.Lag > 0:
		return fmt.Sprintf("ovn-controller is %d behind", n.Lag)
	case !n.Ready:
		return "not Ready"
	}
	return n.badTunnel()
}

func (f *facts) nodes() []Node {
	asked := 0
	for _, g := range database.Rows[nbdb.NBGlobal](f.view.NB, nbdb.NBGlobalTable) {
		asked = g.NbCfg
	}
	registered, done, tunnels := map[string]bool{}, map[string]int{}, map[string][]string{}
	for _, c := range database.Rows[sbdb.Chassis](f.sb, sbdb.ChassisTable) {
		registered[c.Name] = true
	}
	for _, c := range database.Rows[sbdb.ChassisPrivate](f.sb, sbdb.ChassisPrivateTable) {
		done[c.Name] = c.NbCfg
	}
	for _, e := range database.Sorted(f.sb, sbdb.EncapTable, func(e *sbdb.Encap) string { return e.IP }) {
		tunnels[e.ChassisName] = append(tunnels[e.ChassisName], e.Type+" "+e.IP)
	}
	ready := map[string]bool{}
	for i := range f.view.Objects.Nodes {
		n := &f.view.Objects.Nodes[i]
		ready[n.Name] = slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
	}
	agents, asPods := f.agents()
	var out []Node
	for _, n := range f.view.NodeList() {
		node := Node{Node: n, Agent: agents[n.Name], agentIsProcess: !asPods, Ready: ready[n.Name], Registered: n.Chassis != "" && registered[n.Chassis], Tunnels: tunnels[n.Chassis]}
		if node.Registered {
			node.Lag = max(0, asked-done[n.Chassis])
		}
		out = append(out, node)
	}
	return out
}

func (f *facts) nodesFinding(nodes []Node) Finding {
	out := Finding{Part: "nodes", State: OK}
	var wrong []string
	for i := range nodes {
		if w := nodes[i].wrong(); w != "" {
			wrong = append(wrong, nodes[i].Name+": "+w)
		}
	}
	out.Detail = fmt.Sprintf("%d of %d well", len(nodes)-len(wrong), len(nodes))
	if len(wrong) > 0 {
		out.State, out.Detail = Degraded, out.Detail+"; "+some(wrong)
		out.Next = "kubectl ovn status --verbose; on these nodes see the logs of the agent and ovn-controller: kubectl -n " + f.namespace + " get pods -o wide"
	}
	if len(wrong) == len(nodes) && len(nodes) > 0 {
		out.State = Failed
	}
	return out
}
