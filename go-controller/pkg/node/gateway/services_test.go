package gateway

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

// Services are reached from outside at node ports of their families, external addresses and those of load balancers.
func TestServicePorts(t *testing.T) {
	tcp := func(port, nodePort uint16) kube.ServicePort {
		return kube.ServicePort{Protocol: corev1.ProtocolTCP, Port: port, NodePort: nodePort}
	}
	sctp := kube.ServicePort{Protocol: corev1.ProtocolSCTP, Port: 9, NodePort: 30009}
	node := Frontends{Addresses: addrs("172.18.0.11", "fd00:172:18::b"), NodePorts: AllNodePorts}
	serving := node
	serving.HostServes = func(_ *kube.Service, p kube.ServicePort, v4 bool) bool { return p.Port == 80 && v4 }
	both := &kube.Service{ClusterIPs: addrs("172.30.0.5", "fd02::5"), ExternalIPs: addrs("192.0.2.1", "2001:db8::1"), Ports: []kube.ServicePort{tcp(80, 30080), tcp(81, 30081)}}
	kept := *both
	kept.ExternalLocal = true
	ranges := kept
	ranges.ExternalIPs, ranges.LoadBalancerIPs, ranges.Ports = nil, addrs("192.0.2.2"), ranges.Ports[:1]
	free := ranges
	ranges.SourceRanges = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, c := range map[string]struct {
		node     Frontends
		services []*kube.Service
		want     []string
	}{
		"cluster IP": {node, []*kube.Service{{ClusterIPs: addrs("172.30.0.5"), Ports: []kube.ServicePort{tcp(80, 0)}}}, nil},
		"headless":   {node, []*kube.Service{{ExternalIPs: addrs("192.0.2.1"), Ports: []kube.ServicePort{tcp(80, 0)}}}, nil},
		"node port of one family": {node, []*kube.Service{{ClusterIPs: addrs("172.30.0.5"), Ports: []kube.ServicePort{tcp(80, 30080), sctp}}},
			[]string{"sctp 172.18.0.11 30009", "tcp 172.18.0.11 30080"}},
		"node port of both": {node, []*kube.Service{{ClusterIPs: addrs("172.30.0.5", "fd02::5"), Ports: []kube.ServicePort{tcp(80, 30080)}}},
			[]string{"tcp 172.18.0.11 30080", "tcp fd00:172:18::b 30080"}},
		"no node ports wanted": {Frontends{Addresses: node.Addresses}, []*kube.Service{{ClusterIPs: addrs("172.30.0.5"), Ports: []kube.ServicePort{tcp(80, 30080)}}}, nil},
		"local ones wanted": {Frontends{Addresses: node.Addresses, NodePorts: LocalNodePorts}, []*kube.Service{
			{ClusterIPs: addrs("172.30.0.5"), Ports: []kube.ServicePort{tcp(80, 30080)}},
			{ClusterIPs: addrs("172.30.0.6"), Ports: []kube.ServicePort{tcp(80, 30081)}, ExternalLocal: true}}, []string{"tcp 172.18.0.11 30081"}},
		"the host serves, with policy Cluster": {serving, []*kube.Service{both}, []string{"tcp 172.18.0.11 30080", "tcp 172.18.0.11 30081", "tcp 192.0.2.1 80", "tcp 192.0.2.1 81",
			"tcp 2001:db8::1 80", "tcp 2001:db8::1 81", "tcp fd00:172:18::b 30080", "tcp fd00:172:18::b 30081"}},
		"the host serves, with policy Local": {serving, []*kube.Service{&kept}, []string{"tcp 172.18.0.11 30081", "tcp 192.0.2.1 81",
			"tcp 2001:db8::1 80", "tcp 2001:db8::1 81", "tcp fd00:172:18::b 30080", "tcp fd00:172:18::b 30081"}},
		"a load balancer where the host serves": {serving, []*kube.Service{&free}, []string{"tcp fd00:172:18::b 30080"}},
		"the same, not for everybody":           {serving, []*kube.Service{&ranges}, []string{"tcp 192.0.2.2 80", "tcp fd00:172:18::b 30080"}},
		"restricted alone":                      {Frontends{Addresses: node.Addresses, RestrictedOnly: true}, []*kube.Service{both, &free, &ranges}, []string{"tcp 192.0.2.2 80"}},
		"external address, load balancer, the same twice": {node, []*kube.Service{
			{ClusterIPs: addrs("172.30.0.5"), ExternalIPs: addrs("192.0.2.1"), LoadBalancerIPs: addrs("192.0.2.2", "2001:db8::2"), Ports: []kube.ServicePort{tcp(80, 0)}},
			{ClusterIPs: addrs("172.30.0.6"), ExternalIPs: addrs("192.0.2.1"), Ports: []kube.ServicePort{tcp(80, 0)}}},
			[]string{"tcp 192.0.2.1 80", "tcp 192.0.2.2 80", "tcp 2001:db8::2 80"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range c.node.ServicePorts(c.services) {
				got = append(got, fmt.Sprintf("%s %s %d", p.Protocol, p.Addr, p.Port))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
		})
	}
}
