package conformance

import "regexp"

// KnownReasons are those of the runs that docs/conformance.md shows.
func KnownReasons() Reasons {
	return Reasons{
		LeftOut: []Reason{
			{regexp.MustCompile(`SCTP`), "SCTP: the kernels of the machines that run the lab have none, and the suite's programs need its sockets"},
			{regexp.MustCompile(`Feature:LoadBalancer\]`), "A cloud provider gives load balancers their addresses; the lab has none"},
			{regexp.MustCompile(`Provider:GCE`), "Google's cloud only"},
			{regexp.MustCompile(`Feature:IPv6DualStack\] Granular|Feature:IPv6DualStack\]`), "Not run: they need nodes and services of both families"},
			{regexp.MustCompile(`KubeProxy|kube-proxy`), "They look into kube-proxy itself (URLs, metrics, its settings of connection tracking, restarts), and there is none"},
			{regexp.MustCompile(`Internet connection|PTR lookup`), "They need the Internet"},
			{regexp.MustCompile(`iptables rules if they are deleted|restarting apiserver`), "They spoil or restart things over SSH, which the lab's machines do not serve"},
			{regexp.MustCompile(`Feature:PerformanceDNS|Feature:Networking-Performance`), "Measurements, not behaviour: docs/performance.md has ours"},
			{regexp.MustCompile(`^Netpol|NetworkPolicy`), "NetworkPolicy is not part of these runs"},
		},
		Failed: []Reason{
			{
				regexp.MustCompile(`large requests: udp|endpoints using hostNetwork`),
				"2,000 bytes in one datagram to a service arrive as fragments. In the userspace datapath of Open vSwitch fragments have no ports for a " +
					"load balancer to match (connection tracking hands them on one by one, whatever the version of OVN); the kernel's datapath puts them " +
					"together first. All other steps of these specs hold, and fragments between pods arrive",
			},
		},
	}
}
