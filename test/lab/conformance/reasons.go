package conformance

import "regexp"

// Reasons says why specs of the network are left out of the runs that docs/conformance.md shows.
func Reasons() []Reason {
	return []Reason{
		{regexp.MustCompile(`SCTP`), "SCTP: the kernels of the machines that run the lab have none, and the suite's programs need its sockets"},
		{regexp.MustCompile(`Feature:LoadBalancer\]`), "A cloud provider gives load balancers their addresses; the lab has none"},
		{regexp.MustCompile(`Provider:GCE`), "Google's cloud only"},
		{regexp.MustCompile(`KubeProxy|kube-proxy`), "These look into kube-proxy itself (its URLs, metrics, connection tracking settings, restarts), and there is none"},
		{regexp.MustCompile(`Internet connection`), "They need the Internet"},
		{regexp.MustCompile(`iptables rules if they are deleted|restarting apiserver`), "They restart or spoil a node over SSH, which the lab's nodes do not serve"},
		{regexp.MustCompile(`^Netpol|NetworkPolicy`), "NetworkPolicy is not implemented"},
	}
}
