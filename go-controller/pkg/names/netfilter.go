package names

// Chains of iptables. Operators know them.
const (
	IPTChainNodePort       = "OVN-KUBE-NODEPORT"
	IPTChainExternalIP     = "OVN-KUBE-EXTERNALIP"
	IPTChainETP            = "OVN-KUBE-ETP"
	IPTChainITP            = "OVN-KUBE-ITP"
	IPTChainSNATManagement = "OVN-KUBE-SNAT-MGMTPORT"
)

// Chains in NFTTable.
const (
	NFTChainServices           = "services"
	NFTChainServicesETP        = "services-etp"
	NFTChainServicesITP        = "services-itp"
	NFTChainServicesITPMark    = "services-itp-mark"
	NFTChainServicesPrerouting = "services-prerouting"
	NFTChainServicesOutput     = "services-output"
	NFTChainManagementSNAT     = "mgmtport-snat"
)

// Maps and sets in NFTTable; each exists for both families, see NFTMap.
const (
	NFTMapNodePorts      = "nodeports"
	NFTMapExternalIPs    = "external-ips"
	NFTMapETPNodePorts   = "etp-nodeports"
	NFTMapETPExternalIPs = "etp-external-ips"
	NFTMapITP            = "itp-local"
	NFTSetITPMark        = "itp-mark"
	NFTSetKeepSource     = "mgmtport-no-snat"
)

// NFTMap is the map or set of a family.
func NFTMap(name string, v4 bool) string {
	if v4 {
		return name + "-v4"
	}
	return name + "-v6"
}

// What the host sends to a service with internalTrafficPolicy Local is marked, and a rule for the mark looks up a table
// that leads through the management port.
const (
	ServiceMark         = 0x1745ec
	ServiceRulePriority = 30
	ServiceRouteTable   = 7
)
