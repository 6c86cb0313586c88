// Package config turns flags, environment and a file into one validated, immutable struct a process.
//
// Every setting is a flag. A flag that is not given is looked up in the environment
// (OVNKUBE_CLUSTER_SUBNETS for --cluster-subnets) and then in the YAML file named by --config-file,
// whose keys are the flags' names. Unknown keys and bad values are refused with the key, the value and what
// is allowed.
package config

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
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
	// TLSFiles are for ssl: endpoints; all three or none.
	ovsdb.TLSFiles
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
	// DebugSocket is the unix socket that serves profiles and the log's verbosity; empty means none.
	DebugSocket string
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
	// CertificateDir is where certificates for ssl: endpoints are kept that come from the API server; empty means that none are asked for.
	CertificateDir string
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
	// CertificateDuration is how long certificates last that the master signs.
	CertificateDuration time.Duration
}

// ManagedTLS are the files in CertificateDir that serve the whole control plane.
func (c *Master) ManagedTLS() ovsdb.TLSFiles {
	pair := filepath.Join(c.CertificateDir, names.MasterCertificateFile)
	return ovsdb.TLSFiles{PrivateKey: pair, Certificate: pair, CACertificate: filepath.Join(c.CertificateDir, names.ServerCAFile)}
}

// Complete fills in the managed certificate's files for ssl: endpoints that have none of their own, and tells whether there are
// such endpoints.
func (c *Master) Complete() (managed bool) {
	for _, d := range []*Database{&c.Northbound, &c.Southbound} {
		if c.CertificateDir != "" && usesTLS(d.Endpoints) && d.TLSFiles == (ovsdb.TLSFiles{}) {
			d.TLSFiles, managed = c.ManagedTLS(), true
		}
	}
	return managed
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
	// SouthboundFiles are for ssl: endpoints; empty means the managed ones in CertificateDir.
	SouthboundFiles ovsdb.TLSFiles
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
	// CNIPlugin is the file of the plugin that is copied into CNIBinDir; empty: somebody else has put it there.
	CNIPlugin string
	// RemoveCNIConf removes the network configuration list at shutdown.
	RemoveCNIConf bool
	// DatapathType is auto, system or netdev.
	DatapathType string
	// OVSDB is the endpoint of the local Open_vSwitch database.
	OVSDB string
}

// SouthboundTLS returns the files that ovn-controller needs, and whether they are managed: kept up by the agent. Without ssl:
// endpoints there are none.
func (c *Node) SouthboundTLS() (files ovsdb.TLSFiles, managed bool) {
	switch {
	case !usesTLS(c.SouthboundRemote):
		return ovsdb.TLSFiles{}, false
	case c.SouthboundFiles != (ovsdb.TLSFiles{}):
		return c.SouthboundFiles, false
	}
	pair := filepath.Join(c.CertificateDir, names.NodeCertificateFile)
	return ovsdb.TLSFiles{PrivateKey: pair, Certificate: pair, CACertificate: filepath.Join(c.CertificateDir, names.ServerCAFile)}, true
}

func usesTLS(endpoints []string) bool {
	return slices.ContainsFunc(endpoints, func(e string) bool { return strings.HasPrefix(e, "ssl:") })
}
