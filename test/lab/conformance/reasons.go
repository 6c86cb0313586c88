package conformance

import "regexp"

// Reasons for which specs are left out now and have failed in earlier runs.
const (
	kubeProxy = "They look into kube-proxy itself (URLs, metrics, its settings of connection tracking, restarts), and there is none"
	internet  = "They need the Internet"
)

// KnownReasons are those of the runs that docs/conformance.md shows.
func KnownReasons() Reasons {
	return Reasons{
		LeftOut: []Reason{
			{regexp.MustCompile(`SCTPConnectivity|SCTP HostPort|SCTP service`), "SCTP: the kernels that the lab ran on have none, and the suite's programs need its sockets"},
			{regexp.MustCompile(`Feature:LoadBalancer\]`), "A cloud provider gives load balancers their addresses; the lab has none"},
			{regexp.MustCompile(`Provider:GCE`), "Google's cloud only"},
			{regexp.MustCompile(`Feature:IPv6DualStack\]`), "Not run: they need nodes and services of both families"},
			{regexp.MustCompile(`KubeProxy|kube-proxy`), kubeProxy},
			{regexp.MustCompile(`Internet connection|PTR lookup`), internet},
			{regexp.MustCompile(`iptables rules if they are deleted|restarting apiserver`), "They spoil or restart things over SSH, which the lab's machines do not serve"},
			{regexp.MustCompile(`Feature:PerformanceDNS|Feature:Networking-Performance`), "Measurements, not behaviour: docs/performance.md has ours"},
			{regexp.MustCompile(`^Netpol|NetworkPolicy`), "those about NetworkPolicy have runs of their own, see Network policies"},
		},
		Failed: []Reason{
			{regexp.MustCompile(`kube-proxy`), kubeProxy},
			{regexp.MustCompile(`PTR lookup`), internet},
			{
				regexp.MustCompile(`NodePort and HealthCheckNodePort correctly`),
				"One check does not hold: with externalTrafficPolicy Local, what a node's host sends to its own node port reaches an endpoint " +
					"on another node from the gateway router's address (100.64.0.0/16), not the node's: an answer to that would leave by a gateway " +
					"that knows nothing of the connection. Health check ports, and the port from other nodes, hold",
			},
			{
				regexp.MustCompile(`large requests: udp|endpoints using hostNetwork`),
				"2,000 bytes in one datagram to a service arrive as fragments, which in Open vSwitch's userspace datapath have no ports for a load " +
					"balancer to match, whatever the version of OVN; the kernel's datapath puts them together first. All other steps hold, and " +
					"fragments between pods arrive",
			},
		},
	}
}
