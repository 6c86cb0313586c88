package names

// PodLabel tells the project's pods in Namespace apart; its values are DatabasePods and NodePods.
const PodLabel = "app"

// Pods of the project and the containers in them that have the programs of OVN and Open vSwitch.
const (
	// DatabasePods run OVN's databases.
	DatabasePods = "ovnkube-db"
	// NorthboundContainer and SouthboundContainer are containers of DatabasePods.
	NorthboundContainer = "nb-ovsdb"
	SouthboundContainer = "sb-ovsdb"
	// NodePods run on every node.
	NodePods = "ovnkube-node"
	// ControllerContainer, of NodePods, runs ovn-controller and sees the node's Open vSwitch.
	ControllerContainer = "ovn-controller"
)

// MasterLease, in MasterLeaseNamespace, is held by the master that leads.
const (
	MasterLease          = "ovn-kubernetes-master"
	MasterLeaseNamespace = "kube-system"
)
