package inspect

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// View is what lists are made of.
type View struct {
	Objects *Objects
	NB      *database.Snapshot
	// Namespace restricts lists of objects that have one; empty means all.
	Namespace string
}

func (v *View) shows(namespace string) bool { return v.Namespace == "" || v.Namespace == namespace }

// Endpoint is a pod as the network has it.
type Endpoint struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Node      string `json:"node,omitempty"`
	// Port is the logical port, empty when there is none.
	Port      string   `json:"port,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	// State is "ready", "not connected" while no node has plugged the port in, "no port" or, for pods that are gone, "no pod".
	State string `json:"state"`
	// Isolated are the directions in which policies isolate the pod: Ingress, Egress.
	Isolated []string `json:"isolated,omitempty"`
}

// StateReady says that an endpoint is connected, or that a node has all that it needs.
const StateReady = "ready"

// Other states of endpoints.
const (
	stateNotConnected = "not connected"
	stateNoPort       = "no port"
	stateNoPod        = "no pod"
)

// Endpoints shows EndpointList.
func (v *View) Endpoints() output.Result {
	list := v.EndpointList()
	r := output.Result{Object: orEmpty(list), Columns: []output.Column{{Name: "NAMESPACE"}, {Name: "POD"}, {Name: "NODE"}, {Name: "ADDRESSES"}, {Name: "STATE"},
		{Name: "ISOLATED"}, {Name: "PORT", Wide: true}}}
	for _, e := range list {
		r.Rows = append(r.Rows, []string{e.Namespace, e.Pod, dash(e.Node), dash(strings.Join(e.Addresses, ",")), e.State, dash(strings.Join(e.Isolated, ",")), dash(e.Port)})
	}
	return r
}

// EndpointList lists the pods that have, or should have, an address of the cluster's network.
func (v *View) EndpointList() []Endpoint {
	byPort := map[string]*nbdb.LogicalSwitchPort{}
	groups := map[string][]string{} // of a port, by its UUID
	for _, p := range database.Rows[nbdb.LogicalSwitchPort](v.NB, nbdb.LogicalSwitchPortTable) {
		if p.ExternalIDs[names.OwnerTypeKey] == names.OwnerPod {
			byPort[p.Name] = p
		}
	}
	for _, g := range database.Rows[nbdb.PortGroup](v.NB, nbdb.PortGroupTable) {
		for _, port := range g.Ports {
			groups[port] = append(groups[port], g.Name)
		}
	}
	var list []Endpoint
	for i := range v.Objects.Pods {
		pod := kube.NewPod(&v.Objects.Pods[i])
		name := names.PodLogicalPort(pod.Namespace, pod.Name)
		port := byPort[name]
		delete(byPort, name)
		if pod.HostNetwork || pod.Finished || !v.shows(pod.Namespace) {
			continue
		}
		list = append(list, endpoint(pod.Namespace, pod.Name, pod.Node, port, groups))
	}
	for _, port := range byPort { // Their pods are gone.
		if namespace, name := names.SplitObjectName(port.ExternalIDs[names.OwnerNameKey]); v.shows(namespace) {
			e := endpoint(namespace, name, port.Options[names.RequestedChassis], port, groups)
			e.State = stateNoPod
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b Endpoint) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Pod, b.Pod))
	})
	return list
}

func endpoint(namespace, pod, node string, port *nbdb.LogicalSwitchPort, groups map[string][]string) Endpoint {
	e := Endpoint{Namespace: namespace, Pod: pod, Node: node, State: stateNoPort}
	if port == nil {
		return e
	}
	e.Port, e.State = port.Name, stateNotConnected
	for _, a := range database.Addresses(port.Addresses) {
		e.Addresses = append(e.Addresses, a.String())
	}
	if port.Up != nil && *port.Up {
		e.State = StateReady
	}
	for _, ingress := range []bool{true, false} {
		if slices.Contains(groups[port.UUID], names.IsolationPortGroup(namespace, ingress)) {
			e.Isolated = append(e.Isolated, direction(ingress))
		}
	}
	return e
}

func direction(ingress bool) string {
	if ingress {
		return "Ingress"
	}
	return "Egress"
}

// dash is what tables show of nothing.
func dash(s string) string { return cmp.Or(s, "-") }

// orEmpty makes programs see an empty list rather than null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
