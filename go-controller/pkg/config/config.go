// Package config turns flags, environment and a file into one validated, immutable struct a process.
//
// Every setting is a flag. A flag that is not given is looked up in the environment
// (OVNKUBE_CLUSTER_SUBNETS for --cluster-subnets) and then in the YAML file named by --config-file,
// whose keys are the flags' names. Unknown keys and bad values are refused with the key, the value and what
// is allowed.
package config

import (
	"net/netip"
)

// ClusterSubnet is an address pool for pods, cut into one subnet of HostPrefix bits a node.
type ClusterSubnet struct {
	Prefix     netip.Prefix
	HostPrefix int
}

// String returns the notation of --cluster-subnets, for example 10.128.0.0/14/23.
func (s ClusterSubnet) String() string { return formatClusterSubnet(s) }

// Database is how to reach an OVSDB server.
type Database struct {
	// Endpoints are unix:PATH, tcp:ADDRESS:PORT or ssl:ADDRESS:PORT.
	Endpoints []string
	// PrivateKey, Certificate and CACertificate are PEM files; needed with ssl: endpoints only.
	PrivateKey    string
	Certificate   string
	CACertificate string
}

// Common is what master and node agent both need.
type Common struct {
	// Kubeconfig is a path; empty means in-cluster credentials.
	Kubeconfig string
	// APIServer overrides the URL in the kubeconfig.
	APIServer string
	// LogLevel is klog's verbosity.
	LogLevel int
	// MetricsBindAddress serves /metrics, /livez and /readyz; empty means not at all.
	MetricsBindAddress string
	// ClusterSubnets are the pod address pools, at least one, of one or both families.
	ClusterSubnets []ClusterSubnet
	// ServiceCIDRs are the service networks, at most one a family.
	ServiceCIDRs []netip.Prefix
	// MTU is that of pods, in bytes.
	MTU int
	// GatewayMode is names.GatewayModeShared or names.GatewayModeLocal. The node agent decides for its node.
	GatewayMode string
	// NoSNATCIDRs are destinations outside the cluster that see pods' own addresses.
	NoSNATCIDRs []netip.Prefix
	// NodePort: services are reachable on the nodes' addresses.
	NodePort bool
}

// IPv4 and IPv6 tell which families the cluster's pods have.
func (c Common) IPv4() bool { return c.hasFamily(true) }

// IPv6 tells whether pods have IPv6 addresses.
func (c Common) IPv6() bool { return c.hasFamily(false) }

func (c Common) hasFamily(v4 bool) bool {
	for _, s := range c.ClusterSubnets {
		if s.Prefix.Addr().Is4() == v4 {
			return true
		}
	}
	return false
}

// Master is the configuration of `ovnkube master`.
type Master struct {
	Common
	Northbound Database
	Southbound Database
	// Identity names this replica in the leader election and in the northbound fence.
	Identity string
	// JoinSubnets are the addresses of the join switch, one a family.
	JoinSubnets []netip.Prefix
	// ACLLoggingRateLimit is how many messages a second are logged about each ACL of network policies.
	ACLLoggingRateLimit int
}

// Node is the configuration of `ovnkube node`.
type Node struct {
	Common
	// NodeName is the name of the Kubernetes Node this agent serves.
	NodeName string
	// SouthboundRemote is handed to ovn-controller (external_ids:ovn-remote).
	SouthboundRemote []string
	// MonitorAll lets ovn-controller read all of the southbound database, not only what concerns the node.
	MonitorAll bool
	// GatewayInterface is the physical NIC; empty means the interface of the default route.
	GatewayInterface string
	// GatewayNextHops are the routers behind the gateway interface; empty means those of the default routes.
	GatewayNextHops []netip.Addr
	// Netfilter is names.NetfilterAuto, NetfilterNFTables or NetfilterIPTables.
	Netfilter string
	// EncapIP is the tunnels' local address; the zero Addr means the gateway interface's address.
	EncapIP netip.Addr
	// EncapPort is the UDP port of Geneve.
	EncapPort int
	// CNIConfDir is where the network configuration list is written for the container runtime.
	CNIConfDir string
	// CNIBinDir is where the container runtime's plugins are.
	CNIBinDir string
	// RemoveCNIConf removes the network configuration list at shutdown.
	RemoveCNIConf bool
	// DatapathType is auto, system or netdev.
	DatapathType string
	// OVSDB is the endpoint of the local Open_vSwitch database.
	OVSDB string
}
