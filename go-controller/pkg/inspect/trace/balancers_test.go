package trace

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/inspecttest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// apart gives every node its own load balancer for shop/db: those of node2 alone lead to its endpoint, as for a service whose endpoints
// differ by node.
func apart(t *testing.T, o *Options) {
	t.Helper()
	const shared, here = "8e049427-5748-4bf1-84b0-4202c827d3d2", "00000000-0000-0000-0000-000000000002"
	balancers := database.Rows[nbdb.LoadBalancer](o.NB, nbdb.LoadBalancerTable)
	leads := balancers[shared]
	if leads == nil {
		t.Fatal("there is no load balancer of shop/db")
	}
	empty := *leads
	empty.UUID, empty.Vips = here, map[string]string{}
	for vip := range leads.Vips {
		empty.Vips[vip] = ""
	}
	o.NB.Put(nbdb.LoadBalancerTable, here, &empty)
	for _, g := range database.Rows[nbdb.LoadBalancerGroup](o.NB, nbdb.LoadBalancerGroupTable) {
		g.LoadBalancer = slices.DeleteFunc(g.LoadBalancer, func(uuid string) bool { return uuid == shared })
	}
	of := map[string]string{"node1": here, "node2": shared, names.GatewayRouter("node1"): here, names.GatewayRouter("node2"): shared}
	for _, s := range database.Rows[nbdb.LogicalSwitch](o.NB, nbdb.LogicalSwitchTable) {
		if of[s.Name] != "" {
			s.LoadBalancer = []string{of[s.Name]}
		}
	}
	for _, r := range database.Rows[nbdb.LogicalRouter](o.NB, nbdb.LogicalRouterTable) {
		if of[r.Name] != "" {
			r.LoadBalancer = []string{of[r.Name]}
		}
	}
}

// Where endpoints differ by node, those count that the load balancers have where the packet enters.
func TestEndpointsByNode(t *testing.T) {
	said, err := os.ReadFile(filepath.Join("testdata", "service.ovn-trace"))
	if err != nil {
		t.Fatal(err)
	}
	local := func(s *corev1.Service) { s.Spec.InternalTrafficPolicy = new(corev1.ServiceInternalTrafficPolicyLocal) }
	hinted := func(e *discoveryv1.Endpoint) {
		e.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "far"}}}
	}
	for _, c := range []struct {
		name, from, via string
		service         func(*corev1.Service)
		endpoint        func(*discoveryv1.Endpoint)
		want            string // in the verdict or error
	}{
		{"local, none is", "guests/client", "", local, nil, "has no endpoint that is ready for port 80, for what comes from node node1"},
		{"local, from a node without one", "node/node1", "", local, nil, "for what comes from node node1"},
		{"local, from its node", "node/node2", "", local, nil, "allowed: arrives at pod shop/db"},
		{"hints for others", "guests/client", "", nil, hinted, "for what comes from node node1"},
		{"hints, from outside", "172.18.0.200", "", nil, hinted, "differ by node"},
		{"hints, from outside by a node", "172.18.0.200", "node2", nil, hinted, "allowed: arrives at pod shop/db"},
		{"the same everywhere, but OVN has it elsewhere only", "guests/client", "", nil, nil, "no load balancer leads from 172.30.117.171:80 to the endpoint"},
	} {
		o := options(t, &inspecttest.Access{Answers: map[string]string{"ovn-trace": string(said)}})
		o.Via = c.via
		apart(t, &o)
		for i := range o.Objects.Services {
			if s := &o.Objects.Services[i]; s.Name == "db" && c.service != nil {
				c.service(s)
			}
		}
		for i := range o.Objects.Slices {
			if s := &o.Objects.Slices[i]; strings.HasPrefix(s.Name, "db-") && c.endpoint != nil {
				c.endpoint(&s.Endpoints[0])
			}
		}
		r, err := Trace(context.Background(), o, c.from, "service/db")
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = r.Verdict
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q in it", c.name, got, c.want)
		}
	}
}

// What comes from outside to local endpoints comes in at each node that has one, be it that the node's only one drains.
func TestLocalFromOutside(t *testing.T) {
	o := options(t, &inspecttest.Access{})
	var slice *discoveryv1.EndpointSlice
	for i := range o.Objects.Slices {
		if s := &o.Objects.Slices[i]; strings.HasPrefix(s.Name, "db-") {
			slice = s
		}
	}
	ready := *slice.Endpoints[0].DeepCopy()
	ready.Addresses, ready.NodeName = []string{"10.128.0.4"}, new("node1")
	slice.Endpoints[0].Conditions = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
	slice.Endpoints = append(slice.Endpoints, ready)
	for i := range o.Objects.Services {
		if s := &o.Objects.Services[i]; s.Name == "db" {
			s.Spec.InternalTrafficPolicy = new(corev1.ServiceInternalTrafficPolicyLocal)
		}
	}
	tr := &tracer{Options: o, v4: true}
	to, err := tr.find("service/db:80")
	if err != nil {
		t.Fatal(err)
	}
	ends, only, err := tr.endpoints(&place{address: netip.MustParseAddr("172.18.0.200")}, to)
	if err != nil || only != "" || len(ends) != 2 {
		t.Errorf("%d endpoints (%v), for node %q alone; want one of each node", len(ends), err, only)
	}
}
