package names

// Keys in the Open_vSwitch table's external_ids, read by ovn-controller (see ovn-controller(8)).
const (
	OVSSystemID            = "system-id"
	OVSHostname            = "hostname"
	OVNRemote              = "ovn-remote"
	OVNRemoteProbeInterval = "ovn-remote-probe-interval"
	OVNOpenFlowProbe       = "ovn-openflow-probe-interval"
	OVNEncapType           = "ovn-encap-type"
	OVNEncapIP             = "ovn-encap-ip"
	OVNBridgeMappings      = "ovn-bridge-mappings"
	OVNMonitorAll          = "ovn-monitor-all"
	OVNWaitBeforeClear     = "ovn-ofctrl-wait-before-clear"
	OVNEnableLflowCache    = "ovn-enable-lflow-cache"
	OVNBridgeDatapathType  = "ovn-bridge-datapath-type"
	// OVNCMSOptions is a comma-separated list for the system on top of OVN. ovn-controller copies it, under the same
	// key, to its Chassis' other_config each time it registers.
	OVNCMSOptions = "ovn-cms-options"
)

// Keys in the external_ids of a pod's OVS interface.
const (
	IfaceID          = "iface-id"
	IfaceIDVer       = "iface-id-ver"
	IfaceMAC         = "attached_mac"
	IfaceIPs         = "ip_addresses"
	IfaceSandbox     = "sandbox"
	IfacePodName     = "pod-if-name"
	IfaceNetwork     = "k8s.ovn.org/network"
	IfaceNAD         = "k8s.ovn.org/nad"
	OVNInstalled     = "ovn-installed"
	RequestedChassis = "requested-chassis"
)

// NFTTable is the nftables table (family inet) of this project on a node; NFTUplinkTable (family
// netdev) holds the ingress drop behind the userspace datapath's NIC.
const (
	NFTTable       = "ovn-kubernetes"
	NFTUplinkTable = "ovn-kubernetes-uplink"
)

// NFTPodTable (family inet) keeps the host's stack from taking what pods send, with the userspace datapath. It
// knows the host's ends of the pods' veths by their link group.
const (
	NFTPodTable  = "ovn-kubernetes-pods"
	PodLinkGroup = 0x6f766e // "ovn"
)

// Paths on a node.
const (
	CNISocket       = "/var/run/ovn-kubernetes/cni/ovn-cni-server.sock"
	CNIUnplugFolder = "unplug" // beside the socket; names the veths that are still to be deleted
	CNIPlugin       = "ovn-k8s-cni-overlay"
	CNIPortMap      = "portmap" // the CNI project's plugin for host ports
	CNIConfFile     = "10-ovn-kubernetes.conflist"
	CNINetworkName  = "ovn-kubernetes"
	// FlowCopy is what ovn-controller has written to the integration bridge, for a new ovs-vswitchd.
	FlowCopy = "/var/run/ovn-kubernetes/br-int.flows"
	// MasterDebugSocket and NodeDebugSocket serve profiles and the log's verbosity.
	MasterDebugSocket = "/var/run/ovn-kubernetes/ovnkube-master.sock"
	NodeDebugSocket   = "/var/run/ovn-kubernetes/ovnkube-node.sock"
)

// Keys of the agent's own in the Open_vSwitch database.
const (
	// UplinkRecord, in the Open_vSwitch table's external_ids, remembers the physical NIC as it was before
	// ExternalBridge took it over (JSON).
	UplinkRecord = "k8s.ovn.org/uplink"
	// BridgeUplink, in the external bridge's external_ids, names the physical NIC.
	BridgeUplink = "bridge-uplink"
)

// SystemIDFile is where distributions keep the chassis' name over a loss of the database.
const SystemIDFile = "/etc/openvswitch/system-id.conf"

// Keys in external_ids of the integration bridge in which ovn-controller says how far it has got: ovn-controller(8).
const (
	OVNConfiguration     = "ovn-nb-cfg"
	OVNConfigurationTime = "ovn-nb-cfg-ts" // in milliseconds since 1970
)
