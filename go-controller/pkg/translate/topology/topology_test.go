package topology

import (
	"errors"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/golden"
)

var update = golden.Update()

// The input is a Node with its annotations.
func TestNodeGolden(t *testing.T) {
	for _, file := range golden.Cases(t) {
		t.Run(file, func(t *testing.T) {
			var in corev1.Node
			golden.Load(t, file, &in)
			node := kube.NewNode(&in)
			subnets, err := annotations.ParseNodeSubnets(node.Annotations)
			if err != nil {
				t.Fatal(err)
			}
			hosts := node.Addresses
			if cidrs, err := annotations.ParseHostCIDRs(node.Annotations); err == nil {
				hosts = nil
				for _, c := range cidrs {
					hosts = append(hosts, c.Addr())
				}
			} else if !errors.Is(err, annotations.ErrMissing) {
				t.Fatal(err)
			}
			golden.Check(t, file, NodeRows(Node{
				Name: node.Name, Subnets: subnets, Chassis: node.Annotations[names.NodeChassisIDAnnotation], HostAddresses: hosts,
			}), *update)
		})
	}
}

func TestClusterGolden(t *testing.T) {
	v4, v6 := netip.MustParsePrefix("100.64.0.0/16"), netip.MustParsePrefix("fd98::/64")
	for name, subnets := range map[string][]netip.Prefix{
		"ipv4": {v4}, "ipv6": {v6}, "dual": {v4, v6},
	} {
		t.Run(name, func(t *testing.T) {
			golden.Check(t, "testdata/cluster-"+name+".yaml", ClusterRows(Cluster{JoinSubnets: subnets}), *update)
		})
	}
}
