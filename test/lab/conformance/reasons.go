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
			{regexp.MustCompile(`SCTPConnectivity|SCTP HostPort|SCTP service`), "SCTP: the kernels of the machines that run the lab have none, and the suite's programs need its sockets"},
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
				"One of its checks does not hold: with externalTrafficPolicy Local, what a node's own host sends to its own node port goes to an endpoint " +
					"on another node with the address of the gateway router (100.64.0.0/16), not the node's, as source. An answer to the node's address " +
					"would leave through the gateway of the endpoint's node, which knows nothing of the connection. The steps before it hold: health check ports, " +
					"and the node port from another node with that node's address kept",
			},
			{
				regexp.MustCompile(`large requests: udp|endpoints using hostNetwork`),
				"2,000 bytes in one datagram to a service arrive as fragments. In the userspace datapath of Open vSwitch fragments have no ports for a " +
					"load balancer to match (connection tracking hands them on one by one, whatever the version of OVN); the kernel's datapath, which these machines lack, puts them " +
					"together first. All other steps of these specs hold, and fragments between pods arrive",
			},
		},
	}
}
