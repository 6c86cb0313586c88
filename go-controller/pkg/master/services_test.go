package master

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/service"
)

// putService makes ns/NAME with one TCP port 80 at a cluster IP.
func (h *harness) putService(name, clusterIP string, change ...func(*kube.Service)) {
	s := &kube.Service{
		Namespace: "ns", Name: name, UID: h.nextUID(), ClusterIPs: []netip.Addr{netip.MustParseAddr(clusterIP)},
		Ports: []kube.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80}},
	}
	for _, c := range change {
		c(s)
	}
	h.services.Put(s)
}

// putEndpoints makes the slice ns/NAME-1: endpoints are "ADDRESS" or "ADDRESS@NODE", on port 8080.
func (h *harness) putEndpoints(name string, endpoints ...string) {
	s := &kube.EndpointSlice{
		Namespace: "ns", Name: name + "-1", Service: name, Ports: []kube.EndpointPort{{Protocol: corev1.ProtocolTCP, Port: 8080}},
	}
	for _, e := range endpoints {
		address, node, _ := strings.Cut(e, "@")
		s.Endpoints = append(s.Endpoints, kube.Endpoint{Address: netip.MustParseAddr(address), Ready: true, Serving: true, Node: node})
	}
	h.endpointSlices.Put(s)
}

// balancers are the load balancers of ns/NAME in the database: "SCOPE VIP=ENDPOINTS…", and where they are.
func (h *harness) balancers(name string) string {
	var out []string
	d := h.db.rows[serviceOwner("ns/"+name)]
	for _, r := range d.Rows {
		lb := r.Model.(*nbdb.LoadBalancer)
		_, scope, _ := strings.Cut(lb.Name, "_TCP_")
		for vip, endpoints := range lb.Vips {
			out = append(out, scope+" "+vip+"="+endpoints)
		}
	}
	for _, m := range d.Members {
		_, scope, _ := strings.Cut(m.Value, "_TCP_")
		out = append(out, scope+" on "+m.Parent.ID)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func (h *harness) gatewayNode(name, address string) {
	h.addNode(name)
	h.annotateNode(name, map[string]string{
		names.NodeChassisIDAnnotation:   "chassis-" + name,
		names.HostCIDRsAnnotation:       `["` + address + `/24"]`,
		names.L3GatewayConfigAnnotation: strings.ReplaceAll(goodGateway, "172.18.0.11/24", address+"/24"),
	})
}

func TestServiceFollowsItsEndpoints(t *testing.T) {
	h := newTest(t)
	h.putService("web", "172.30.0.9")
	h.start()
	h.settle()
	h.want("without endpoints", h.balancers("web"), "cluster_nosnat 172.30.0.9:80=; cluster_nosnat on clusterLBGroup")
	h.putEndpoints("web", "10.128.0.5", "10.128.2.5")
	h.settle()
	h.want("with endpoints", h.balancers("web"), "cluster 172.30.0.9:80=10.128.0.5:8080,10.128.2.5:8080; cluster on clusterLBGroup")
	h.endpointSlices.Remove("ns/web-1")
	h.settle()
	h.want("without again", h.balancers("web"), "cluster_nosnat 172.30.0.9:80=; cluster_nosnat on clusterLBGroup")
	// A slice may change the service that it belongs to.
	h.putService("api", "172.30.0.10")
	h.putEndpoints("web", "10.128.0.5")
	h.settle()
	s, _ := h.endpointSlices.Get("ns/web-1")
	moved := *s
	moved.Service = "api"
	h.endpointSlices.Put(&moved)
	h.settle()
	h.want("the slice's former service", h.balancers("web"), "cluster_nosnat 172.30.0.9:80=; cluster_nosnat on clusterLBGroup")
	h.want("the slice's new service", h.balancers("api"), "cluster 172.30.0.10:80=10.128.0.5:8080; cluster on clusterLBGroup")
	h.putService("web", "172.30.0.9", func(s *kube.Service) { s.ClusterIPs = nil })
	h.settle()
	h.want("headless now", h.balancers("web"), "")
	h.services.Remove("ns/api")
	h.settle()
	if _, ok := h.db.rows[serviceOwner("ns/api")]; ok {
		t.Error("a deleted service has rows")
	}
	h.wantEvents()
}

// A new service is written once, with its endpoints; one that gets none in time is written without.
func TestNewServiceWaitsForItsSlices(t *testing.T) {
	h := newTest(t)
	h.start()
	h.settle()
	h.engine.service.sliceWait = time.Hour
	selects := func(s *kube.Service) { s.Selects = true }
	h.putService("web", "172.30.0.9", selects)
	h.putService("manual", "172.30.0.10")
	h.settle()
	h.want("before its slice", h.balancers("web"), "")
	h.want("nobody makes slices", h.balancers("manual"), "cluster_nosnat 172.30.0.10:80=; cluster_nosnat on clusterLBGroup")
	h.putEndpoints("web", "10.128.0.5")
	h.settle()
	h.want("with its slice", h.balancers("web"), "cluster 172.30.0.9:80=10.128.0.5:8080; cluster on clusterLBGroup")

	h.putService("alone", "172.30.0.11", selects)
	h.settle()
	h.want("before its time is up", h.balancers("alone"), "")
	h.engine.service.changed("ns/alone") // as the queue does then
	h.settle()
	h.want("after", h.balancers("alone"), "cluster_nosnat 172.30.0.11:80=; cluster_nosnat on clusterLBGroup")
}

func TestServiceFollowsNodes(t *testing.T) {
	h := newTest(t)
	h.gatewayNode("n1", "172.18.0.11")
	h.putService("api", "172.30.0.1")
	h.putEndpoints("api", "172.18.0.11", "172.18.0.12")
	h.putService("web", "172.30.0.9", func(s *kube.Service) { s.Ports[0].NodePort = 30080 })
	h.start()
	h.settle()
	h.want("on the one node", h.balancers("api"), "cluster_switch 172.30.0.1:80=172.18.0.11:8080,172.18.0.12:8080; cluster_switch on clusterSwitchLBGroup; "+
		"node_router_n1 172.30.0.1:80=169.254.169.2:8080,172.18.0.12:8080; node_router_n1 on GR_n1")
	web := h.store.Generation(serviceOwner("ns/web"))

	h.gatewayNode("n2", "172.18.0.12")
	h.settle()
	h.want("with a second node", h.balancers("api"), "cluster_switch 172.30.0.1:80=172.18.0.11:8080,172.18.0.12:8080; cluster_switch on clusterSwitchLBGroup; "+
		"node_router_n1 172.30.0.1:80=169.254.169.2:8080,172.18.0.12:8080; node_router_n1 on GR_n1; "+
		"node_router_n2 172.30.0.1:80=172.18.0.11:8080,169.254.169.2:8080; node_router_n2 on GR_n2")
	if got := h.db.rows[nodeVariablesOwner("n2")].Rows[2].Model.(*nbdb.ChassisTemplateVar); got.Chassis != "chassis-n2" || got.Variables["NODEIP_IPv4_0"] != "172.18.0.12" {
		t.Errorf("n2's variables are %v", got)
	}
	if h.store.Generation(serviceOwner("ns/web")) != web {
		t.Error("a node that is like the others changed a service that is the same on all")
	}
	h.want("node port", h.balancers("web"), "cluster_nosnat 172.30.0.9:80=; cluster_nosnat on clusterLBGroup; "+
		"cluster_nosnat_template_IPv4 ^NODEIP_IPv4_0:30080=; cluster_nosnat_template_IPv4 on clusterLBGroup")

	h.annotateNode("n1", map[string]string{names.L3GatewayConfigAnnotation: ""})
	h.settle()
	h.want("n1 has no gateway router", h.balancers("api"), "cluster_switch 172.30.0.1:80=172.18.0.11:8080,172.18.0.12:8080; cluster_switch on clusterSwitchLBGroup; "+
		"node_router_n2 172.30.0.1:80=172.18.0.11:8080,169.254.169.2:8080; node_router_n2 on GR_n2")
	h.nodes.Remove("n2")
	h.settle()
	h.want("n2 is gone", h.balancers("api"), "cluster 172.30.0.1:80=172.18.0.11:8080,172.18.0.12:8080; cluster on clusterLBGroup")
	if _, ok := h.db.rows[nodeVariablesOwner("n2")]; ok {
		t.Error("a node that is gone has variables")
	}
}

// With many services, a change of one costs the work of one, and a node that changes nothing for them that of none.
func TestChangesCostTheirService(t *testing.T) {
	h := newTest(t)
	h.gatewayNode("n1", "172.18.0.11")
	for i := range 200 {
		h.putService(fmt.Sprintf("s%d", i), fmt.Sprintf("172.30.1.%d", i), func(s *kube.Service) { s.Ports[0].NodePort = uint16(30000 + i) })
		h.putEndpoints(fmt.Sprintf("s%d", i), fmt.Sprintf("10.128.0.%d@n1", i))
	}
	h.start()
	h.settle()
	run := func() int {
		h.engine.worker.RunUntilIdle(context.Background())
		return h.engine.service.worker.RunUntilIdle(context.Background())
	}
	h.putEndpoints("s7", "10.128.0.7@n1", "10.128.1.7@n1")
	if n := run(); n != 1 {
		t.Errorf("a change of endpoints made %d services be looked at", n)
	}
	h.gatewayNode("n2", "172.18.0.12")
	if n := run(); n != 0 {
		t.Errorf("a node made %d services be looked at that do not depend on nodes", n)
	}
}

// What no service has is refused: in the networks that are configured and those of objects, but not where pods or nodes are.
func TestServiceNetworks(t *testing.T) {
	h := newTest(t)
	h.gatewayNode("n1", "172.18.0.11")
	put := func(name string, prefixes ...string) {
		object := &kube.ServiceCIDR{Name: name}
		for _, p := range prefixes {
			object.Prefixes = append(object.Prefixes, netip.MustParsePrefix(p))
		}
		h.serviceCIDRs.Put(object)
	}
	refused := func() string {
		h.settle()
		var out []string
		for _, r := range h.db.rows[nbstate.Owner{Kind: names.OwnerCluster, Name: clusterRefusals}].Rows {
			if acl, ok := r.Model.(*nbdb.ACL); ok {
				_, networks, _ := strings.Cut(acl.Match, ".dst == ")
				out = append(out, acl.Action+" "+networks)
			}
		}
		return strings.Join(out, " ")
	}
	put("kubernetes", "172.30.0.0/16")
	h.start()
	h.want("at the start", refused(), "reject {172.30.0.0/16} reject {fd02::/112}")
	put("more", "172.29.0.0/16", "fd03::/112")
	h.want("one more", refused(), "reject {172.29.0.0/16, 172.30.0.0/16} reject {fd02::/112, fd03::/112}")
	put("over-pods", "10.0.0.0/8")
	put("over-nodes", "172.18.0.0/16")
	put("over-join", "100.64.7.0/24")
	put("over-masquerade", "169.254.0.0/16")
	put("over-later-nodes", "172.19.0.0/16")
	h.want("over others", refused(), "reject {172.19.0.0/16, 172.29.0.0/16, 172.30.0.0/16} reject {fd02::/112, fd03::/112}")
	h.gatewayNode("n2", "172.19.0.12")
	h.want("over a new node", refused(), "reject {172.29.0.0/16, 172.30.0.0/16} reject {fd02::/112, fd03::/112}")
	h.serviceCIDRs.Remove("more")
	h.want("gone again", refused(), "reject {172.30.0.0/16} reject {fd02::/112}")
}

// In a database that has lost everything addresses must not be refused before their load balancers are there; in one that has the
// refusals they stay.
func TestRefusalsComeAfterServices(t *testing.T) {
	h := newTest(t)
	h.gatewayNode("n1", "172.18.0.11")
	h.putService("web", "172.30.0.9")
	owner := nbstate.Owner{Kind: names.OwnerCluster, Name: clusterRefusals}
	refuses := func() bool { return len(h.db.rows[owner].Rows) > 0 }
	h.start()
	h.engine.service.networksChanged() // Whatever happens meanwhile.
	h.engine.service.worker.RunUntilIdle(context.Background())
	h.engine.worker.RunUntilIdle(context.Background())
	h.serviceCIDRs.Put(&kube.ServiceCIDR{Name: "kubernetes", Prefixes: testServiceCIDRs()})
	for _, o := range h.store.TakeDirty() {
		if o == owner {
			t.Error("addresses are refused before services were looked at")
		}
		if d, ok := h.wanted(o); ok {
			h.db.rows[o] = d
		}
	}
	h.engine.service.worker.RunUntilIdle(context.Background())
	var order []string
	for _, o := range h.store.TakeDirty() {
		if o == owner || o == serviceOwner("ns/web") {
			order = append(order, o.Name)
		}
		if d, ok := h.wanted(o); ok {
			h.db.rows[o] = d
		}
	}
	h.want("order", strings.Join(order, ", "), "ns/web, no-services")

	h.engine = nil
	h.start()
	h.engine.worker.RunUntilIdle(context.Background())
	h.commit()
	h.prune()
	if !refuses() {
		t.Error("the next master has removed the refusals while it looks at services")
	}
	h.settle()
	h.prune()
	if !refuses() {
		t.Error("the next master has removed the refusals")
	}
}

// wanted is what the store wants of an owner.
func (h *harness) wanted(owner nbstate.Owner) (nbstate.Desired, bool) {
	var view nbstate.OwnerView
	h.store.Read(func(v nbstate.View) { view, _ = v.Owner(owner) })
	return view.Desired, !view.Deleted
}

// At the start each node would otherwise have all nodes' addresses read once more.
func TestServiceNetworksAreLookedAtWhenAddressesChange(t *testing.T) {
	h := newTest(t)
	h.gatewayNode("n1", "172.18.0.11")
	h.serviceCIDRs.Put(&kube.ServiceCIDR{Name: "kubernetes", Prefixes: testServiceCIDRs()})
	h.start()
	h.settle()
	look := func(change func(*service.Node)) int {
		n := *h.engine.service.places["n1"]
		change(&n)
		if err := h.engine.service.node(&n); err != nil {
			t.Fatal(err)
		}
		pending := h.engine.service.worker.Len()
		h.settle()
		return pending
	}
	if n := look(func(n *service.Node) { n.Zone = "z" }); n != 0 {
		t.Errorf("another zone makes work: %d", n)
	}
	if n := look(func(n *service.Node) { n.Addresses = []netip.Addr{netip.MustParseAddr("172.18.0.12")} }); n != 1 {
		t.Errorf("another address makes no work: %d", n)
	}
}

func TestServicesBeforePruning(t *testing.T) {
	h := newTest(t)
	h.gatewayNode("n1", "172.18.0.11")
	h.putService("web", "172.30.0.9", func(s *kube.Service) { s.ExternalLocal = true; s.Ports[0].NodePort = 30080 })
	h.putEndpoints("web", "10.128.0.5@n1")
	h.putService("gone", "172.30.0.10")
	h.start()
	h.settle()
	before := h.balancers("web")
	if !strings.Contains(before, "node_router_nosnat_template_IPv4_n1 on GR_n1") {
		t.Fatalf("rows %s", before)
	}

	// The next master: nothing may be pruned before services were looked at, and readiness waits for that too.
	h.engine = nil
	h.services.Remove("ns/gone")
	h.start()
	h.engine.worker.RunUntilIdle(context.Background())
	h.prune()
	if got := h.balancers("web"); got != before {
		t.Errorf("nodes and pods were looked at, services were not: %q, want %q", got, before)
	}
	if h.engine.progress.settled {
		t.Error("ready before services were looked at")
	}
	h.settle()
	h.prune()
	h.want("after all", h.balancers("web"), before)
	h.want("gone meanwhile", h.balancers("gone"), "")
}

// Rows for a cluster whose nodes are not all known would be written for nothing, and be wrong for a moment.
func TestServicesWaitForNodes(t *testing.T) {
	h := newTest(t)
	h.gatewayNode("n1", "172.18.0.11")
	h.putService("api", "172.30.0.1")
	h.start()
	h.putEndpoints("api", "172.18.0.11")
	if n := h.engine.service.worker.Len(); n != 0 {
		t.Errorf("%d services are looked at before the nodes", n)
	}
	h.settle()
	h.want("the change is not lost", h.balancers("api"), "cluster_switch 172.30.0.1:80=172.18.0.11:8080; cluster_switch on clusterSwitchLBGroup; "+
		"node_router_n1 172.30.0.1:80=169.254.169.2:8080; node_router_n1 on GR_n1")

	// Nodes that change while a service is translated for the first time do not know yet that it cares.
	h.engine.service.depend("ns/api", service.OnNodes, service.NewCluster(nil, nil))
	if n := h.engine.service.worker.Len(); n != 1 {
		t.Errorf("after rows for former nodes, %d services are looked at again, want 1", n)
	}
}

func TestRefusedServiceIsTold(t *testing.T) {
	h := newTest(t)
	h.db.refuse[serviceOwner("ns/web")] = errors.New("no")
	h.putService("web", "172.30.0.9")
	h.start()
	h.settle()
	h.wantEvents("NorthboundWriteFailed ns/web")
}
