package names

// Labels by which the project's pods in Namespace are known, those that Kubernetes recommends: the value of PodNameLabel is PodName for all,
// that of PodComponentLabel MasterPods, DatabasePods, NodePods or SwitchPods.
const (
	PodNameLabel      = "app.kubernetes.io/name"
	PodName           = "ovnkube"
	PodComponentLabel = "app.kubernetes.io/component"
)

// PodLabels are the labels of the pods of a component.
func PodLabels(component string) map[string]string {
	return map[string]string{PodNameLabel: PodName, PodComponentLabel: component}
}

// Names of the ports of pods that serve metrics; those of DatabasePods serve them for each database.
const (
	MetricsPort           = "metrics"
	NorthboundMetricsPort = "nb-metrics"
	SouthboundMetricsPort = "sb-metrics"
)

// Pods of the project and the containers in them that have the programs of OVN and Open vSwitch.
const (
	// MasterPods run masters.
	MasterPods = "master"
	// DatabasePods run OVN's databases.
	DatabasePods = "db"
	// NorthboundContainer and SouthboundContainer are containers of DatabasePods.
	NorthboundContainer = "nb-ovsdb"
	SouthboundContainer = "sb-ovsdb"
	// SwitchPods run Open vSwitch on every node, unless the hosts do.
	SwitchPods = "ovs"
	// NodePods run on every node.
	NodePods = "node"
	// AgentContainer, of NodePods, runs the node agent.
	AgentContainer = "ovnkube-node"
	// ControllerContainer, of NodePods, runs ovn-controller and sees the node's Open vSwitch.
	ControllerContainer = "ovn-controller"
)

// MasterLease, in MasterLeaseNamespace, is held by the master that leads.
const (
	MasterLease          = "ovn-kubernetes-master"
	MasterLeaseNamespace = "kube-system"
)

// CheckLabel is on the namespaces that kubectl ovn check makes for its pods, by which those are found that it could not remove.
const CheckLabel = "k8s.ovn.org/check"
