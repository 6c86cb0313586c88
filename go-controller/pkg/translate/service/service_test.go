package service

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/golden"
)

var update = golden.Update()

var pods = []netip.Prefix{netip.MustParsePrefix("10.128.0.0/14"), netip.MustParsePrefix("fd01::/48")}

// testCluster has the nodes of a list: each has all its InternalIPs for itself and for node ports, and a gateway router when it has
// the annotation.
func testCluster(list corev1.NodeList) *Cluster {
	var nodes []*Node
	for i := range list.Items {
		n := kube.NewNode(&list.Items[i])
		_, gateway := list.Items[i].Annotations[names.L3GatewayConfigAnnotation]
		nodes = append(nodes, &Node{
			Name: n.Name, Chassis: n.Annotations[names.NodeChassisIDAnnotation], Zone: n.Zone, Gateway: gateway,
			Addresses: n.Addresses, NodePortAddresses: n.Addresses,
		})
	}
	return NewCluster(nodes, pods)
}

func load(t *testing.T, file string) (*kube.Service, []*kube.EndpointSlice, *Cluster) {
	t.Helper()
	var service corev1.Service
	var list discoveryv1.EndpointSliceList
	var nodes corev1.NodeList
	golden.Load(t, "testdata/default/nodes.yaml", &nodes)
	golden.Load(t, file, &service, &list, &nodes)
	var endpointSlices []*kube.EndpointSlice
	for i := range list.Items {
		list.Items[i].Namespace = service.Namespace
		endpointSlices = append(endpointSlices, kube.NewEndpointSlice(&list.Items[i]))
	}
	return kube.NewService(&service), endpointSlices, testCluster(nodes)
}

// The input is a Service, its EndpointSlices and, unless the usual three will do, Nodes.
func TestGolden(t *testing.T) {
	dependences := map[string]Dependence{
		"node-port": OnVariables, "external-local": OnNodes, "external-local-ports": OnNodes, "internal-local": OnNodes,
		"internal-local-elsewhere": OnNodes, "host-endpoints": OnNodes, "no-selector": OnNodes, "zone-hints": OnNodes,
		"node-hints": OnNodes, "affinity-node-port": OnNodes, "before-gateways": OnVariables, "affinity-default-node-port": OnVariables, "many-node-addresses": OnVariables,
	}
	for _, file := range golden.Cases(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, endpointSlices, c := load(t, file)
			got, dependence := Rows(s, endpointSlices, c)
			golden.Check(t, file, got, *update)
			if want := dependences[strings.TrimSuffix(filepath.Base(file), ".yaml")]; dependence != want {
				t.Errorf("depends on %d, want %d", dependence, want)
			}
			if err := nbstate.NewStore().Set(nbstate.Owner{Kind: "Service", Name: s.Key()}, got); err != nil {
				t.Errorf("the store refuses it: %v", err)
			}
			// Another order of slices, endpoints and nodes is no change.
			slices.Reverse(endpointSlices)
			for _, slice := range endpointSlices {
				slices.Reverse(slice.Endpoints)
			}
			slices.Reverse(c.nodes)
			again, _ := Rows(s, endpointSlices, NewCluster(c.nodes, pods))
			if diff := cmp.Diff(golden.Format(got), golden.Format(again)); diff != "" {
				t.Errorf("another order makes a difference:\n%s", diff)
			}
		})
	}
}

// Clients behind routers are told apart by their IPv6 addresses where the database can say so, and by nothing but those: a client whose packets come by
// another way keeps its endpoint.
func TestAffinityByIPv6Address(t *testing.T) {
	for able, want := range map[bool]string{false: "eth_src ip_src", true: SelectsByIPv6} {
		s, endpointSlices, c := load(t, "testdata/affinity.yaml")
		d, _ := Rows(s, endpointSlices, c.SelectingByIPv6(able))
		got := map[string]string{}
		for _, r := range d.Rows {
			lb := r.Model.(*nbdb.LoadBalancer)
			var fields []string
			for _, f := range lb.SelectionFields {
				fields = append(fields, string(f))
			}
			got[r.ID] = strings.Join(fields, " ")
		}
		if diff := cmp.Diff(map[string]string{"Service_ns/web_TCP_cluster_IPv4": "ip_src", "Service_ns/web_TCP_cluster_IPv6": want}, got); diff != "" {
			t.Errorf("the database can: %v: %s", able, diff)
		}
	}
}

// Where answers leave by the host, the gateway router has to stand for the client, or nobody translates them back.
func TestSourceIsKeptWhereAnswersComeBack(t *testing.T) {
	s, endpointSlices, c := load(t, "testdata/external-local.yaml")
	c.nodes[0].HostAnswers = true
	d, _ := Rows(s, endpointSlices, c)
	balancers := map[string]*nbdb.LoadBalancer{}
	for _, r := range d.Rows {
		if lb, ok := r.Model.(*nbdb.LoadBalancer); ok {
			balancers[r.ID] = lb
		}
	}
	keeps := map[string]bool{}
	for _, m := range d.Members {
		if endpoints := balancers[m.Value].Vips["192.0.2.10:80"]; endpoints != "" && m.Parent.Table == nbdb.LogicalRouterTable {
			keeps[m.Parent.ID+" "+endpoints] = balancers[m.Value].Options["skip_snat"] == "true"
		}
	}
	want := map[string]bool{"GR_n1 10.128.0.5:8080": false, "GR_n2 10.128.2.5:8080": true, "GR_n3 169.254.169.6:9": true}
	if diff := cmp.Diff(want, keeps); diff != "" {
		t.Errorf("the client's address is kept (-want +got):\n%s", diff)
	}
}

// A family without networks has no rule: "{}" would be no match.
func TestRefusalRows(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("172.29.0.0/24"), netip.MustParsePrefix("172.30.0.0/16"), netip.MustParsePrefix("fd02::/112")}
	match := func(networks []netip.Prefix) (out []string) {
		for _, r := range RefusalRows(networks).Rows {
			if acl, ok := r.Model.(*nbdb.ACL); ok {
				out = append(out, r.ID+": "+acl.Match)
			}
		}
		return out
	}
	want := []string{
		"no_service_IPv4: outport == @clusterServiceClients && ip4.dst == {172.29.0.0/24, 172.30.0.0/16}",
		"no_service_IPv6: outport == @clusterServiceClients && ip6.dst == {fd02::/112}",
	}
	if diff := cmp.Diff(want, match(networks)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want[1:], match(networks[2:])); diff != "" {
		t.Error(diff)
	}
}

func TestNodeRows(t *testing.T) {
	n := &Node{Name: "n1", Chassis: "c1", NodePortAddresses: []netip.Addr{
		netip.MustParseAddr("172.18.0.11"), netip.MustParseAddr("fd00:172:18::11"), netip.MustParseAddr("192.168.5.11"),
	}}
	want := "ChassisTemplateVar c1\n  chassis: c1\n" +
		"  variables: NODEIP_IPv4_0=172.18.0.11, NODEIP_IPv4_1=192.168.5.11, NODEIP_IPv6_0=fd00:172:18::11\n\n" +
		"Port_Group/clusterServiceClients ports += stor-n1\n"
	if diff := cmp.Diff(want, golden.Format(NodeRows(n))); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	n.Chassis, n.Gateway = "", true
	want = "LogicalRouterStaticRoute GR_n1_nobody_IPv4\n  ip_prefix: 169.254.169.6/32\n  nexthop: discard\n\n" +
		"LogicalRouterStaticRoute GR_n1_nobody_IPv6\n  ip_prefix: fd69::6/128\n  nexthop: discard\n\n" +
		"Logical_Router/GR_n1 static_routes += GR_n1_nobody_IPv4\nLogical_Router/GR_n1 static_routes += GR_n1_nobody_IPv6\n" +
		"Port_Group/clusterServiceClients ports += br-ex_n1\nPort_Group/clusterServiceClients ports += stor-n1\n"
	if diff := cmp.Diff(want, golden.Format(NodeRows(n))); diff != "" {
		t.Errorf("rows without chassis, with gateway router (-want +got):\n%s", diff)
	}
}

// many is a service with that many endpoints on that many nodes.
func many(endpoints, nodes int) (*kube.Service, []*kube.EndpointSlice, *Cluster) {
	s := &kube.Service{
		Namespace: "ns", Name: "many", ClusterIPs: []netip.Addr{netip.MustParseAddr("172.30.0.9")},
		Ports: []kube.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80}},
	}
	var list []*kube.EndpointSlice
	address := netip.MustParseAddr("10.128.0.5")
	for i := range endpoints {
		if i%100 == 0 {
			list = append(list, &kube.EndpointSlice{
				Namespace: "ns", Name: fmt.Sprint(i), Service: "many", Ports: []kube.EndpointPort{{Protocol: corev1.ProtocolTCP, Port: 8080}},
			})
		}
		last := list[len(list)-1]
		last.Endpoints = append(last.Endpoints, kube.Endpoint{Address: address, Ready: true, Serving: true, Node: fmt.Sprintf("n%d", i%nodes)})
		address = address.Next()
	}
	var all []*Node
	for i := range nodes {
		all = append(all, &Node{Name: fmt.Sprintf("n%d", i), Gateway: true, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{172, 18, byte(i >> 8), byte(i)})}})
	}
	return s, list, NewCluster(all, pods)
}

func BenchmarkRows(b *testing.B) {
	for _, c := range []struct {
		endpoints, nodes int
		local            bool
	}{{2, 50, false}, {5000, 50, false}, {5000, 500, true}} {
		b.Run(fmt.Sprintf("%d-endpoints-%d-nodes-local=%t", c.endpoints, c.nodes, c.local), func(b *testing.B) {
			s, list, cluster := many(c.endpoints, c.nodes)
			s.InternalLocal = c.local
			for b.Loop() {
				Rows(s, list, cluster)
			}
		})
	}
}
