package netfilter

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Kind says what happens to a packet, and where.
type Kind uint8

// The kinds of rules. But for MarkInternal and KeepSource, all rewrite the destination.
const (
	// NodePort is for packets to a port of any address of the host, from wherever.
	NodePort Kind = iota
	// ExternalIP is for packets to an external or load balancer address, from wherever.
	ExternalIP
	// LocalNodePort and LocalExternalIP come before those, for packets from outside the cluster only (externalTrafficPolicy
	// Local).
	LocalNodePort
	LocalExternalIP
	// Internal is for packets of the host alone: to a cluster IP (internalTrafficPolicy Local), where an endpoint is the host itself, and to
	// an address of a load balancer that is not for everybody (loadBalancerSourceRanges).
	Internal
	// MarkInternal marks them instead, where endpoints are pods: they enter OVN through the management port, where only
	// the node's own endpoints count.
	MarkInternal
	// KeepSource leaves the source of what goes to Dest through the management port as it is.
	KeepSource
	kinds
)

// hasDest tells whether rules of the kind name an address, not just a port.
func (k Kind) hasDest() bool { return k != NodePort && k != LocalNodePort }

// hasTarget tells whether rules of the kind rewrite the destination.
func (k Kind) hasTarget() bool { return k != MarkInternal && k != KeepSource }

// String is for logs.
func (k Kind) String() string {
	return [...]string{"nodeport", "external IP", "local nodeport", "local external IP", "internal", "internal mark", "keep source"}[k]
}

// Protocol is an IP protocol number (IANA).
type Protocol uint8

// The protocols that services have.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// protocolOf returns false for what is none of them.
func protocolOf(p corev1.Protocol) (Protocol, bool) {
	switch p {
	case corev1.ProtocolTCP:
		return TCP, true
	case corev1.ProtocolUDP:
		return UDP, true
	case corev1.ProtocolSCTP:
		return SCTP, true
	}
	return 0, false
}

// String is the name that nftables and iptables use.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprint(uint8(p))
}

func parseProtocol(s string) (Protocol, bool) {
	for _, p := range []Protocol{TCP, UDP, SCTP} {
		if p.String() == s {
			return p, true
		}
	}
	return 0, false
}

// Key is what a rule matches. There is at most one rule with a key.
type Key struct {
	Kind     Kind
	V4       bool
	Protocol Protocol
	// Dest is not set for NodePort and LocalNodePort.
	Dest netip.Addr
	Port uint16
}

// Rule is one rule. To is not set for MarkInternal and KeepSource.
type Rule struct {
	Key
	To netip.AddrPort
}

// Change is a rule that came, went or got another target.
type Change struct {
	Key
	// Was and Is tell whether there was a rule and is one now; Before and After are its targets.
	Was, Is       bool
	Before, After netip.AddrPort
}

// Facts are what rules depend on beside services.
type Facts struct {
	// Node is the name of this node in Kubernetes.
	Node string
	// Addresses are the host's own.
	Addresses []netip.Addr
	// Subnets are the node's, one for each family of the cluster.
	Subnets []netip.Prefix
	// ServiceCIDRs are the service networks.
	ServiceCIDRs []netip.Prefix
	// NoNodePorts says that services are not to be reachable on the node's addresses.
	NoNodePorts bool
}

// serves tells whether the cluster has the family.
func (f Facts) serves(v4 bool) bool {
	return slices.ContainsFunc(f.Subnets, func(s netip.Prefix) bool { return s.Addr().Is4() == v4 })
}
