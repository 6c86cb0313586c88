package names

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// Kinds of owners of rows that are there because of NetworkPolicies.
const (
	OwnerNetworkPolicy = "NetworkPolicy"
	// OwnerPolicyGroup owns the port group of pods that policies select. Its name says which those are.
	OwnerPolicyGroup = "PolicyGroup"
	// OwnerPolicyPeers owns the address sets of pods that rules of policies name. Its name says which those are.
	OwnerPolicyPeers = "PolicyPeers"
	// OwnerIsolation owns the default-deny port groups of a namespace.
	OwnerIsolation = "Isolation"
	// OwnerNodePolicy owns what lets a node's host reach its pods.
	OwnerNodePolicy = "NodePolicy"
)

// Keys in the external_ids of policies' ACLs, beside those that name the policy.
const (
	// ACLDirectionKey: Ingress or Egress.
	ACLDirectionKey = "direction"
	// ACLRulesKey: the numbers of the policy's rules, from zero, that the ACL stands for.
	ACLRulesKey = "rules"
)

// ACLLoggingAnnotation on a namespace says how severe it is that policies allow and deny: {"allow":"info","deny":"alert"}.
const ACLLoggingAnnotation = "k8s.ovn.org/acl-logging"

// ACLLoggingMeter limits the messages about ACLs, those of each ACL for itself.
const ACLLoggingMeter = "acl-logging"

// Priorities of ACLs, all in one table: the floor version of OVN has no tiers, so what takes precedence has a higher number.
// ovn-nb(5) allows 0 to 32767. All bounds are inclusive.
const (
	// ACLNotForPods drops what no pod may say: it comes before all that policies allow.
	ACLNotForPods = 32100
	// ACLServiceSources drops what must not reach a service, before load balancing. No rule for other purposes may let it through.
	ACLServiceSources = 32000
	// ACLNoService refuses what is sent to a cluster IP that no service has, where it leaves a switch. Nobody can be behind it.
	ACLNoService = 31000
	// ACLAdminFirst (to ACLAdminLast) is for policies of administrators that come before NetworkPolicies. Reserved.
	ACLAdminFirst = 30000
	// ACLAdminLast is the lowest of them.
	ACLAdminLast = 11000
	// ACLEgressFirewallFirst (to ACLEgressFirewallLast) is for egress firewalls. Reserved.
	ACLEgressFirewallFirst = 10000
	// ACLEgressFirewallLast is the lowest of them.
	ACLEgressFirewallLast = 2000
	// ACLMulticastFirst (to ACLMulticastLast) is for multicast between pods of a namespace. Reserved.
	ACLMulticastFirst = 1013
	// ACLMulticastLast is the lowest of them.
	ACLMulticastLast = 1011
	// ACLPolicyAllow: rules of NetworkPolicies, and what no policy can forbid (the pod's own node, itself, ARP).
	ACLPolicyAllow = 1001
	// ACLPolicyDeny: pods that a NetworkPolicy isolates get and send nothing else.
	ACLPolicyDeny = 1000
	// ACLBaselineFirst (to ACLBaselineLast) is for policies of administrators that apply where no NetworkPolicy does. Reserved.
	ACLBaselineFirst = 999
	// ACLBaselineLast is the lowest of them.
	ACLBaselineLast = 1
)

// ClusterNodePortsGroup has the management port of every node, and so is in effect on the switch of every node.
const ClusterNodePortsGroup = "clusterNodePorts"

// NodePolicyACL lets a node's host reach the node's own pods.
func NodePolicyACL(node string) string { return "policy_node_" + node }

// PolicyPortGroup is the port group of the pods that key, a canonical selector, selects.
func PolicyPortGroup(key string) string { return "np_" + digest(key) }

// PeerAddressSet holds the addresses of a family of the pods that key, a canonical selector, selects.
func PeerAddressSet(key string, v4 bool) string { return "peer_" + digest(key) + familySuffix(v4) }

// IsolationPortGroup has the pods of a namespace that policies isolate in a direction. Its ACL, which does, has the same ID.
func IsolationPortGroup(namespace string, ingress bool) string {
	if ingress {
		return "deny_in_" + digest(namespace)
	}
	return "deny_out_" + digest(namespace)
}

func familySuffix(v4 bool) string {
	if v4 {
		return "_v4"
	}
	return "_v6"
}

// digest makes an OVN identifier of any text, since those have letters, digits, dots and underscores only. 80 bits of SHA-256: nobody can
// make the name of a group that is another's.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:10]))
}
