package config

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

const (
	configFileFlag = "config-file"
	defaultMTU     = 1400
)

// AddMasterFlags registers the master's flags on fs and returns the struct they fill.
// It is meaningful after Load.
func AddMasterFlags(fs *pflag.FlagSet) *Master {
	c := &Master{Identity: hostname()}
	addCommonFlags(fs, &c.Common)
	addDebugFlag(fs, &c.Common, names.MasterDebugSocket)
	addDatabaseFlags(fs, "nb", "northbound", &c.Northbound)
	addDatabaseFlags(fs, "sb", "southbound", &c.Southbound)
	fs.StringVar(&c.Identity, "identity", c.Identity, "name of this replica in the leader election")
	fs.DurationVar(&c.CertificateDuration, "cert-duration", 24*time.Hour, "how long certificates last that the master signs")
	fs.IntVar(&c.ACLLoggingRateLimit, "acl-logging-rate-limit", 20, "messages a second that are logged about each rule of network policies, where namespaces ask for it")
	c.JoinSubnets = []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16"), netip.MustParsePrefix("fd98::/64")}
	fs.Var(&prefixValue{target: &c.JoinSubnets[0], v4: true}, "gateway-v4-join-subnet", "IPv4 addresses of the join switch")
	fs.Var(&prefixValue{target: &c.JoinSubnets[1]}, "gateway-v6-join-subnet", "IPv6 addresses of the join switch")
	return c
}

// AddNodeFlags registers the node agent's flags on fs and returns the struct they fill.
// It is meaningful after Load.
func AddNodeFlags(fs *pflag.FlagSet) *Node {
	c := &Node{}
	addCommonFlags(fs, &c.Common)
	addDebugFlag(fs, &c.Common, names.NodeDebugSocket)
	fs.StringVar(&c.NodeName, "node-name", hostname(), "name of the Kubernetes Node this agent serves")
	fs.Var(&endpointsValue{target: &c.SouthboundRemote}, "sb-address", "southbound database, or its relays, for ovn-controller: comma separated unix:, tcp: or ssl: endpoints")
	fs.BoolVar(&c.MonitorAll, "monitor-all", true, "let ovn-controller read all of the southbound database: cheaper for the server, dearer for the node")
	addTLSFlags(fs, "sb", "southbound", &c.SouthboundFiles)
	fs.StringVar(&c.GatewayInterface, "gateway-interface", "", "physical NIC behind the external bridge (default: that of the default route)")
	fs.Var(&addrsValue{&c.GatewayNextHops}, "gateway-nexthop", "routers behind the external bridge, comma separated (default: those of the default routes)")
	c.Netfilter = names.NetfilterAuto
	fs.Var(&choiceValue{target: &c.Netfilter, allowed: []string{names.NetfilterAuto, names.NetfilterNFTables, names.NetfilterIPTables}},
		"netfilter", "how the node's rules are written: auto, nftables or iptables")
	fs.Var(&addrValue{&c.EncapIP}, "encap-ip", "local address of the tunnels (default: that of the gateway interface)")
	fs.IntVar(&c.EncapPort, "encap-port", 6081, "UDP port of Geneve")
	fs.StringVar(&c.CNIConfDir, "cni-conf-dir", "/etc/cni/net.d", "directory of the container runtime's network configuration")
	fs.StringVar(&c.CNIBinDir, "cni-bin-dir", "/opt/cni/bin", "directory of the container runtime's plugins: portmap, if there, serves host ports")
	fs.StringVar(&c.CNIPlugin, "cni-plugin", "", "file of the CNI plugin, to be copied into --cni-bin-dir (default: it is there already)")
	fs.BoolVar(&c.RemoveCNIConf, "cni-conf-remove", false, "remove the network configuration at shutdown")
	c.DatapathType = "auto"
	fs.Var(&choiceValue{target: &c.DatapathType, allowed: []string{"auto", "system", "netdev"}}, "ovs-datapath-type", "datapath of the bridges: auto, system (kernel) or netdev (userspace)")
	fs.StringVar(&c.OVSDB, "ovs-db", "unix:/var/run/openvswitch/db.sock", "endpoint of the local Open_vSwitch database")
	return c
}

func addCommonFlags(fs *pflag.FlagSet, c *Common) {
	fs.String(configFileFlag, "", "YAML file with any of these settings; flags and environment come first")
	fs.StringVar(&c.Kubeconfig, "k8s-kubeconfig", "", "kubeconfig file (default: in-cluster credentials)")
	fs.StringVar(&c.APIServer, "k8s-apiserver", "", "URL of the API server, instead of the kubeconfig's")
	fs.IntVar(&c.LogLevel, "loglevel", 2, "verbosity of the log")
	fs.StringVar(&c.MetricsBindAddress, "metrics-bind-address", "", "ADDRESS:PORT that serves /metrics, /livez and /readyz")
	c.ClusterSubnets = []ClusterSubnet{{Prefix: netip.MustParsePrefix("10.128.0.0/14"), HostPrefix: 23}}
	fs.Var(&clusterSubnetsValue{&c.ClusterSubnets}, "cluster-subnets", "pod address pools, comma separated CIDR/HOSTPREFIX")
	c.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("172.30.0.0/16")}
	fs.Var(&prefixesValue{&c.ServiceCIDRs}, "k8s-service-cidrs", "service networks, comma separated, at most one a family")
	fs.StringVar(&c.CertificateDir, "cert-dir", names.CertificateDir, "where the certificates are kept that the master signs, for ssl: endpoints; empty: none are asked for")
	fs.IntVar(&c.MTU, "mtu", defaultMTU, "MTU of pods")
	c.GatewayMode = names.GatewayModeShared
	fs.Var(&choiceValue{target: &c.GatewayMode, allowed: []string{names.GatewayModeShared, names.GatewayModeLocal}},
		"gateway-mode", "where pods' packets leave a node: shared (straight to the external bridge) or local (through the host's stack)")
	fs.Var(&prefixesValue{&c.NoSNATCIDRs}, "no-snat-cidrs", "destinations outside the cluster that see pods' own addresses, comma separated")
	fs.BoolVar(&c.NodePort, "nodeport", true, "make services reachable on the nodes' addresses")
}

func addDebugFlag(fs *pflag.FlagSet, c *Common, socket string) {
	fs.StringVar(&c.DebugSocket, "debug-socket", socket, "unix socket that serves profiles (/debug/pprof/) and the log's verbosity (/debug/flags/v) to root; empty: none")
}

func addDatabaseFlags(fs *pflag.FlagSet, prefix, name string, d *Database) {
	d.Endpoints = []string{"unix:/var/run/ovn/ovn" + prefix + "_db.sock"}
	fs.Var(&endpointsValue{target: &d.Endpoints}, prefix+"-address", name+" database: comma separated unix:, tcp: or ssl: endpoints")
	addTLSFlags(fs, prefix, name, &d.TLSFiles)
}

func addTLSFlags(fs *pflag.FlagSet, prefix, name string, f *ovsdb.TLSFiles) {
	const instead = " database, in place of the managed one in --cert-dir"
	fs.StringVar(&f.PrivateKey, prefix+"-client-privkey", "", "private key (PEM) for ssl: endpoints of the "+name+instead)
	fs.StringVar(&f.Certificate, prefix+"-client-cert", "", "certificate (PEM) for ssl: endpoints of the "+name+instead)
	fs.StringVar(&f.CACertificate, prefix+"-client-cacert", "", "CA certificate (PEM) for ssl: endpoints of the "+name+instead)
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return strings.ToLower(name)
}

// The pflag.Value types below parse a flag's text and say what is allowed when they refuse it.

type prefixValue struct {
	target *netip.Prefix
	v4     bool
}

func (v *prefixValue) String() string {
	if v.target == nil || !v.target.IsValid() {
		return ""
	}
	return v.target.String()
}
func (v *prefixValue) Type() string { return "cidr" }
func (v *prefixValue) Set(s string) error {
	p, err := parsePrefix(s)
	if err != nil {
		return err
	}
	if p.Addr().Is4() != v.v4 {
		return fmt.Errorf("%q is of the wrong address family", s)
	}
	*v.target = p
	return nil
}

type prefixesValue struct{ target *[]netip.Prefix }

func (v *prefixesValue) String() string {
	if v.target == nil {
		return ""
	}
	return joinStrings(*v.target)
}
func (v *prefixesValue) Type() string { return "cidrs" }
func (v *prefixesValue) Set(s string) error {
	var out []netip.Prefix
	for _, part := range splitList(s) {
		p, err := parsePrefix(part)
		if err != nil {
			return err
		}
		out = append(out, p)
	}
	*v.target = out
	return nil
}

type clusterSubnetsValue struct{ target *[]ClusterSubnet }

func (v *clusterSubnetsValue) String() string {
	if v.target == nil {
		return ""
	}
	return joinStrings(*v.target)
}
func (v *clusterSubnetsValue) Type() string { return "cidr/hostprefixes" }
func (v *clusterSubnetsValue) Set(s string) error {
	var out []ClusterSubnet
	for _, part := range splitList(s) {
		subnet, err := parseClusterSubnet(part)
		if err != nil {
			return err
		}
		out = append(out, subnet)
	}
	*v.target = out
	return nil
}

type endpointsValue struct{ target *[]string }

func (v *endpointsValue) String() string {
	if v.target == nil {
		return ""
	}
	return strings.Join(*v.target, ",")
}
func (v *endpointsValue) Type() string { return "endpoints" }
func (v *endpointsValue) Set(s string) error {
	parts := splitList(s)
	for _, part := range parts {
		if err := checkEndpoint(part); err != nil {
			return err
		}
	}
	*v.target = parts
	return nil
}

type addrValue struct{ target *netip.Addr }

func (v *addrValue) String() string {
	if v.target == nil || !v.target.IsValid() {
		return ""
	}
	return v.target.String()
}
func (v *addrValue) Type() string { return "address" }
func (v *addrValue) Set(s string) error {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return fmt.Errorf("%q is not an IP address", s)
	}
	*v.target = a
	return nil
}

type addrsValue struct{ target *[]netip.Addr }

func (v *addrsValue) String() string {
	if v.target == nil {
		return ""
	}
	return joinStrings(*v.target)
}
func (v *addrsValue) Type() string { return "addresses" }
func (v *addrsValue) Set(s string) error {
	var out []netip.Addr
	for _, part := range splitList(s) {
		var a netip.Addr
		if err := (&addrValue{&a}).Set(part); err != nil {
			return err
		}
		out = append(out, a)
	}
	*v.target = out
	return nil
}

type choiceValue struct {
	target  *string
	allowed []string
}

func (v *choiceValue) String() string {
	if v.target == nil {
		return ""
	}
	return *v.target
}
func (v *choiceValue) Type() string { return "string" }
func (v *choiceValue) Set(s string) error {
	if !slices.Contains(v.allowed, s) {
		return fmt.Errorf("%q is not one of %s", s, strings.Join(v.allowed, ", "))
	}
	*v.target = s
	return nil
}
