package names

// Rows that protect ovn-controller from what makes it work packet by packet. What pods can cause and what comes from outside are
// limited apart, so that neither takes the other's share.
const (
	// ProtectPods is the Copp row of what pods are plugged into: the nodes' switches and the cluster router.
	ProtectPods = "ovnkube-pods"
	// ProtectGateways is the Copp row of the gateway routers and their switches.
	ProtectGateways = "ovnkube-gateways"
)

// ProtectionMeter is the meter of a Copp row for one kind of packet.
func ProtectionMeter(copp, kind string) string { return copp + "-" + kind }
