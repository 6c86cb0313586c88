package topology

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/golden"
)

var update = golden.Update()

// The input is a Node with its annotations and, where they matter, the cluster's settings.
func TestNodeGolden(t *testing.T) {
	for _, file := range golden.Cases(t) {
		t.Run(file, func(t *testing.T) {
			var in corev1.Node
			var cluster Cluster
			golden.Load(t, file, &in, &cluster)
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
				Gateway: gatewayOf(t, in.Annotations, cluster),
			}), *update)
		})
	}
}

func gatewayOf(t *testing.T, set map[string]string, cluster Cluster) *Gateway {
	c, err := annotations.ParseGatewayConfig(set)
	if errors.Is(err, annotations.ErrMissing) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	id, err := annotations.ParseNodeID(set)
	if err != nil {
		t.Fatal(err)
	}
	return &Gateway{Cluster: cluster, ID: id, Mode: c.Mode, MAC: c.MAC, Addresses: c.Addresses, NextHops: c.NextHops, VLAN: c.VLAN}
}

func TestProtectionGolden(t *testing.T) {
	golden.Check(t, "testdata/protection.yaml", ProtectionRows(), *update)
}

// Every switch and router is protected by one of the rows that there are.
func TestEverythingIsProtected(t *testing.T) {
	there := map[string]bool{}
	for _, r := range ProtectionRows().Rows {
		if c, ok := r.Model.(*nbdb.Copp); ok {
			there[r.ID] = len(c.Meters) > 0
		}
	}
	cluster := Cluster{JoinSubnets: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16")}}
	node := Node{
		Name: "n1", Subnets: []netip.Prefix{netip.MustParsePrefix("10.128.0.0/23")}, Chassis: "c1",
		Gateway: &Gateway{Cluster: cluster, ID: 2, Mode: names.GatewayModeShared, Addresses: []netip.Prefix{netip.MustParsePrefix("172.18.0.11/24")}},
	}
	seen := 0
	for _, r := range slices.Concat(ClusterRows(cluster).Rows, NodeRows(node).Rows) {
		var copp *string
		switch m := r.Model.(type) {
		case *nbdb.LogicalSwitch:
			copp = m.Copp
		case *nbdb.LogicalRouter:
			copp = m.Copp
		default:
			continue
		}
		seen++
		if copp == nil || !there[*copp] {
			t.Errorf("%s is not protected", r.ID)
		}
	}
	if seen != 5 {
		t.Errorf("%d switches and routers, want 5", seen)
	}
}

func TestClusterGolden(t *testing.T) {
	v4, v6 := netip.MustParsePrefix("100.64.0.0/16"), netip.MustParsePrefix("fd98::/64")
	exempt := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	for name, c := range map[string]Cluster{
		"ipv4": {JoinSubnets: []netip.Prefix{v4}}, "ipv6": {JoinSubnets: []netip.Prefix{v6}}, "dual": {JoinSubnets: []netip.Prefix{v4, v6}},
		"no-snat-dual": {JoinSubnets: []netip.Prefix{v4, v6}, Subnets: []netip.Prefix{netip.MustParsePrefix("10.128.0.0/14"), netip.MustParsePrefix("10.4.0.0/16"), netip.MustParsePrefix("fd01::/48")}, NoSNAT: exempt},
	} {
		t.Run(name, func(t *testing.T) {
			golden.Check(t, "testdata/cluster-"+name+".yaml", ClusterRows(c), *update)
		})
	}
}
