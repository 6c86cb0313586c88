// Package names is the one place for every name that others see: bridges, ports, annotations,
// external_ids, logical rows, marks. The names are OVN-Kubernetes', so that manifests, runbooks and
// habits carry over.
package names

import "strings"

// Bridges and ports on a node.
const (
	IntegrationBridge = "br-int"
	ExternalBridge    = "br-ex"
	ManagementPort    = "ovn-k8s-mp0"
	// PhysicalNetwork is the network name in ovn-bridge-mappings that stands for the external bridge.
	PhysicalNetwork = "physnet"
	// ControllerName is the value of OwnerControllerKey on rows of this project.
	ControllerName = "ovnkube"
)

// Keys in the external_ids of northbound rows that belong to this project.
const (
	RowIDKey           = "k8s.ovn.org/id"
	OwnerControllerKey = "k8s.ovn.org/owner-controller"
	OwnerTypeKey       = "k8s.ovn.org/owner-type"
	OwnerNameKey       = "k8s.ovn.org/name"
	// LeaderKey, in NB_Global, names the master that may write.
	LeaderKey = "k8s.ovn.org/leader"
)

// Kinds of owners of northbound rows.
const (
	OwnerCluster = "Cluster"
	OwnerNode    = "Node"
	OwnerPod     = "Pod"
	OwnerService = "Service"
	// OwnerNodeVariables owns a node's template variables.
	OwnerNodeVariables = "NodeVariables"
)

// Annotations on nodes and pods.
const (
	NodeSubnetsAnnotation     = "k8s.ovn.org/node-subnets"
	NodeIDAnnotation          = "k8s.ovn.org/node-id"
	NodeChassisIDAnnotation   = "k8s.ovn.org/node-chassis-id"
	HostCIDRsAnnotation       = "k8s.ovn.org/host-cidrs"
	NodeMgmtPortMACAnnotation = "k8s.ovn.org/node-mgmt-port-mac-addresses"
	PodNetworksAnnotation     = "k8s.ovn.org/pod-networks"
	// DefaultNetwork is the key of the cluster's own network within annotations.
	DefaultNetwork = "default"
)

// Logical rows that exist once.
const (
	ClusterRouter = "ovn_cluster_router"
	JoinSwitch    = "join"
)

// RouterToJoinPort is the port of router on the join switch.
func RouterToJoinPort(router string) string { return "rtoj-" + router }

// JoinToRouterPort is the join switch's port to router.
func JoinToRouterPort(router string) string { return "jtor-" + router }

// RouterToSwitchPort is the cluster router's port on a node's switch.
func RouterToSwitchPort(node string) string { return "rtos-" + node }

// SwitchToRouterPort is a node switch's port to the cluster router.
func SwitchToRouterPort(node string) string { return "stor-" + node }

// NodeSwitch is the logical switch of a node.
func NodeSwitch(node string) string { return node }

// ManagementLogicalPort is the logical port behind a node's ManagementPort.
func ManagementLogicalPort(node string) string { return "k8s-" + node }

// PodLogicalPort is the logical port of a pod.
func PodLogicalPort(namespace, name string) string { return namespace + "_" + name }

// GatewayChassis is the gateway chassis of router port lrp on a chassis.
func GatewayChassis(lrp, chassis string) string { return lrp + "-" + chassis }

// ObjectName is "namespace/name", or name alone where there is no namespace.
func ObjectName(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// SplitObjectName is the inverse of ObjectName.
func SplitObjectName(s string) (namespace, name string) {
	if ns, n, ok := strings.Cut(s, "/"); ok {
		return ns, n
	}
	return "", s
}
