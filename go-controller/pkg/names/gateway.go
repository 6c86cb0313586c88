package names

import (
	"net"
	"net/netip"
	"strconv"
)

// L3GatewayConfigAnnotation is written to nodes by the agent: how the node leads out of the cluster.
const L3GatewayConfigAnnotation = "k8s.ovn.org/l3-gateway-config"

// Gateway modes: where pods' packets leave a node.
const (
	// GatewayModeShared: from the gateway router straight to the external bridge.
	GatewayModeShared = "shared"
	// GatewayModeLocal: through the management port and the host's own stack, with its routes and rules.
	GatewayModeLocal = "local"
)

// Ways in which a node's rules for netfilter are written.
const (
	NetfilterAuto     = "auto"
	NetfilterNFTables = "nftables"
	NetfilterIPTables = "iptables"
)

// Load balancer groups: rows that refer to a group have all of its load balancers.
const (
	// ClusterLBGroup is for load balancers on all node switches and gateway routers.
	ClusterLBGroup = "clusterLBGroup"
	// ClusterSwitchLBGroup is for load balancers on all node switches only.
	ClusterSwitchLBGroup = "clusterSwitchLBGroup"
	// ClusterRouterLBGroup is for load balancers on all gateway routers only.
	ClusterRouterLBGroup = "clusterRouterLBGroup"
)

// Priorities of routers' policies.
const (
	// OwnHostPolicyPriority is for what pods send to their own node, on the cluster router.
	OwnHostPolicyPriority = 1004
	// ForwardingPolicyPriority is for what gateway routers let the host forward.
	ForwardingPolicyPriority = 100
)

// GatewayRouter is the logical router between the cluster and a node's external bridge.
func GatewayRouter(node string) string { return "GR_" + node }

// ExternalSwitch is the logical switch that stands for a node's external bridge.
func ExternalSwitch(node string) string { return "ext_" + node }

// ExternalLocalnetPort is the port of ExternalSwitch that leads to the bridge. ovn-controller derives the names of the
// patch ports from it.
func ExternalLocalnetPort(node string) string { return ExternalBridge + "_" + node }

// RouterToExternalPort is the gateway router's port on its ExternalSwitch.
func RouterToExternalPort(node string) string { return "rtoe-" + GatewayRouter(node) }

// ExternalToRouterPort is ExternalSwitch's port to the gateway router.
func ExternalToRouterPort(node string) string { return "etor-" + GatewayRouter(node) }

// PatchToIntegration is the external bridge's patch port to the integration bridge, made by ovn-controller.
func PatchToIntegration(node string) string {
	return "patch-" + ExternalLocalnetPort(node) + "-to-" + IntegrationBridge
}

// PatchToExternal is the integration bridge's patch port to the external bridge, made by ovn-controller.
func PatchToExternal(node string) string {
	return "patch-" + IntegrationBridge + "-to-" + ExternalLocalnetPort(node)
}

// ClusterAddressSet holds the pools of a family's pod addresses.
func ClusterAddressSet(v4 bool) string {
	if v4 {
		return "cluster_subnets_v4"
	}
	return "cluster_subnets_v6"
}

// NoSNATAddressSet holds the destinations of a family that see pods' own addresses.
func NoSNATAddressSet(v4 bool) string {
	if v4 {
		return "no_snat_cidrs_v4"
	}
	return "no_snat_cidrs_v6"
}

// OthersAddressSet holds what the pools of a family have beside the subnets of the node with that id. Sets' names stand in matches
// and take no hyphen, so the node's own name cannot be part of it.
func OthersAddressSet(nodeID int, v4 bool) string {
	if v4 {
		return "pods_of_others_" + strconv.Itoa(nodeID) + "_v4"
	}
	return "pods_of_others_" + strconv.Itoa(nodeID) + "_v6"
}

// The masquerade addresses exist on every node and never leave it. Each is there in both families.

// MasqueradeOVN is what the host's packets come from when they meet the gateway router with an address of its own.
func MasqueradeOVN(v4 bool) netip.Addr { return masquerade(v4, 1) }

// MasqueradeHost is the host, seen from OVN, where the node's own address stands for the gateway router.
func MasqueradeHost(v4 bool) netip.Addr { return masquerade(v4, 2) }

// MasqueradeHostLocal is the host behind services with the policy Local: netfilter sends to it what is to keep
// its source.
func MasqueradeHostLocal(v4 bool) netip.Addr { return masquerade(v4, 3) }

// MasqueradeNextHop is a next hop without a host: it has an entry in the neighbour tables, see MasqueradeNextHopMAC, and
// the flows of the external bridge decide where packets go.
func MasqueradeNextHop(v4 bool) netip.Addr { return masquerade(v4, 4) }

// MasqueradeHairpin is the source of what a pod sends to itself through a service.
func MasqueradeHairpin(v4 bool) netip.Addr { return masquerade(v4, 5) }

// MasqueradeForwarded is the source of what a host passes on to its own pods for others: a route that ends there, a port of the host
// that is a pod's. Pods' policies take it for somebody outside, not for their node.
func MasqueradeForwarded(v4 bool) netip.Addr { return masquerade(v4, 7) }

// MasqueradeSubnet holds all masquerade addresses.
func MasqueradeSubnet(v4 bool) netip.Prefix {
	if v4 {
		return netip.PrefixFrom(masquerade(v4, 0), 29)
	}
	return netip.PrefixFrom(masquerade(v4, 0), 125)
}

// MasqueradeHostAddress is MasqueradeHost with the length it has on the external bridge.
func MasqueradeHostAddress(v4 bool) netip.Prefix {
	if v4 {
		return netip.PrefixFrom(MasqueradeHost(v4), 30)
	}
	return netip.PrefixFrom(MasqueradeHost(v4), 126)
}

// MasqueradeNextHopMAC goes with MasqueradeNextHop of both families.
func MasqueradeNextHopMAC() net.HardwareAddr {
	return net.HardwareAddr{0x0a, 0x58, 169, 254, 169, 4}
}

func masquerade(v4 bool, host byte) netip.Addr {
	if v4 {
		return netip.AddrFrom4([4]byte{169, 254, 169, host})
	}
	return netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x69, 15: host})
}

// IsMasquerade tells whether a is one of the masquerade addresses.
func IsMasquerade(a netip.Addr) bool { return MasqueradeSubnet(a.Is4()).Contains(a) }
