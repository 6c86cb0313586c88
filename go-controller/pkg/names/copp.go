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

// What no pod may send.
const (
	// NotForPodsACL is the id of the ACL that drops what only routers and servers of addresses say.
	NotForPodsACL = "not_for_pods"
	// MasqueradePolicyPriority is for what pods send to masquerade addresses, on the cluster router; it comes after OwnHostPolicyPriority.
	MasqueradePolicyPriority = 1003
)

// MasqueradePolicy is the id of the policy of the cluster router that drops what is sent to a family's masquerade addresses.
func MasqueradePolicy(v4 bool) string {
	if v4 {
		return "no_masquerade_v4"
	}
	return "no_masquerade_v6"
}
