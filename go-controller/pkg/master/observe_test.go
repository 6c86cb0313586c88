package master

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

func TestObserveReadsOurRowsOnly(t *testing.T) {
	ids := func(controller, kind, name string) map[string]string {
		return map[string]string{names.OwnerControllerKey: controller, names.OwnerTypeKey: kind, names.OwnerNameKey: name}
	}
	port := func(controller, kind, pod string, addresses ...string) *nbdb.LogicalSwitchPort {
		return &nbdb.LogicalSwitchPort{
			Name: pod, Addresses: addresses, ExternalIDs: ids(controller, kind, pod),
			Options: map[string]string{names.RequestedChassis: "n1", names.IfaceIDVer: "uid"},
		}
	}
	got := observe(map[string]*nbdb.LogicalSwitchPort{
		"1": port(names.ControllerName, names.OwnerPod, "ns/a", "0a:58:0a:80:00:03 10.128.0.3 fd01::3"),
		"2": port("another", names.OwnerPod, "ns/b", "0a:58:0a:80:00:04 10.128.0.4"),
		"3": port(names.ControllerName, names.OwnerNode, "n1", "0a:58:0a:80:00:02 10.128.0.2"),
		"4": port(names.ControllerName, names.OwnerPod, "ns/c", "dynamic"),
		"5": port(names.ControllerName, names.OwnerPod, "ns/d"),
		"6": port(names.ControllerName, names.OwnerPod, "ns/e", "0a:58:0a:80:00:05 nonsense"),
	}, map[string]*nbdb.LogicalRouterPort{
		"1": {Name: "rtos-n1", Networks: []string{"10.128.0.1/23", "fd01::1/64"}, ExternalIDs: ids(names.ControllerName, names.OwnerNode, "n1")},
		"2": {Name: "rtos-n2", Networks: []string{"10.128.2.1/23"}, ExternalIDs: ids("another", names.OwnerNode, "n2")},
		"3": {Name: "rtoj-ovn_cluster_router", Networks: []string{"100.64.0.1/16"}, ExternalIDs: ids(names.ControllerName, names.OwnerCluster, "default")},
	})
	subnets := map[string]string{}
	for node, s := range got.subnets {
		subnets[node] = join(s)
	}
	if diff := cmp.Diff(map[string]string{"n1": "10.128.0.0/23 fd01::/64"}, subnets); diff != "" {
		t.Errorf("subnets (-want +got):\n%s", diff)
	}
	ports := map[string]string{}
	for _, p := range got.ports {
		ports[p.key] = join(p.Addresses) + " " + p.MAC.String() + " " + p.node + " " + string(p.uid)
	}
	if want := map[string]string{"ns/a": "10.128.0.3 fd01::3 0a:58:0a:80:00:03 n1 uid"}; !maps.Equal(ports, want) {
		t.Errorf("ports %v, want %v", ports, want)
	}
}
