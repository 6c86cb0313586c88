package master

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ipam"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// fatal is what testing.T and rapid.T have in common.
type fatal interface {
	Helper()
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

// harness runs an engine step by step: the API server, the northbound database and their delays are under
// the test's control.
type harness struct {
	t      fatal
	engine *engine
	store  *nbstate.Store
	nodes  *kube.Mirror[*kube.Node]
	pods   *kube.Mirror[*kube.Pod]
	// services and endpointSlices are the API server's.
	services       *kube.Mirror[*kube.Service]
	endpointSlices *kube.Mirror[*kube.EndpointSlice]
	slices         *kube.ServiceSlices
	serviceCIDRs   *kube.Mirror[*kube.ServiceCIDR]
	policies       *kube.Mirror[*kube.NetworkPolicy]
	namespaces     *kube.Mirror[*kube.Namespace]
	db             *fakeDatabase
	events         []string
	gone           []string
	clock          time.Time
	uids           int
	pools          []ipam.Pool
	join           []netip.Prefix
	// wrap, if any, stands between the engine and its store.
	wrap func(*nbstate.Store) desiredState
}

// fakeDatabase holds what was committed, by owner. It survives a restart of the engine.
type fakeDatabase struct {
	rows   map[nbstate.Owner]nbstate.Desired
	refuse map[nbstate.Owner]error
}

func newHarness(t fatal, pools ...string) *harness {
	h := &harness{
		t: t, nodes: kube.NewNodeMirror(), pods: kube.NewPodMirror(),
		db:    &fakeDatabase{rows: map[nbstate.Owner]nbstate.Desired{}, refuse: map[nbstate.Owner]error{}},
		clock: time.Unix(1e9, 0), join: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16")},
	}
	h.services, h.endpointSlices = kube.NewServiceMirror(), kube.NewEndpointSliceMirror()
	h.slices = kube.NewServiceSlices(h.endpointSlices)
	h.serviceCIDRs = kube.NewServiceCIDRMirror()
	h.policies, h.namespaces = kube.NewNetworkPolicyMirror(), kube.NewNamespaceMirror()
	for _, p := range pools {
		i := strings.LastIndexByte(p, '/')
		pool := ipam.Pool{Prefix: netip.MustParsePrefix(p[:i])}
		if _, err := fmt.Sscan(p[i+1:], &pool.HostPrefix); err != nil {
			t.Fatalf("pool %s: %v", p, err)
		}
		h.pools = append(h.pools, pool)
	}
	relay(h, h.nodes, (*engine).nodeChanged)
	relay(h, h.pods, (*engine).podChanged)
	relay(h, h.namespaces, (*engine).namespaceChanged)
	relay(h, h.policies, (*engine).policyChanged)
	relay(h, h.services, (*engine).serviceChanged)
	relay(h, h.serviceCIDRs, (*engine).serviceCIDRChanged)
	relay(h, h.endpointSlices, (*engine).sliceChanged)
	return h
}

func testServiceCIDRs() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("172.30.0.0/16"), netip.MustParsePrefix("fd02::/112")}
}

// relay tells the engine that runs of a mirror's changes.
func relay[T kube.Object[T]](h *harness, m *kube.Mirror[T], changed func(*engine, string, T, T)) {
	m.OnChange(func(name string, before, after T) {
		if h.engine != nil {
			changed(h.engine, name, before, after)
		}
	})
}

// start starts an engine, the first or a new one after a restart.
func (h *harness) start() {
	h.t.Helper()
	h.store = nbstate.NewStore()
	n := network{pools: h.pools, join: h.join, mtu: 1400, nodePorts: true, serviceCIDRs: testServiceCIDRs()}
	for _, p := range h.pools {
		n.internal = append(n.internal, p.Prefix)
	}
	var store desiredState = h.store
	if h.wrap != nil {
		store = h.wrap(h.store)
	}
	h.engine = newEngine(n, deps{
		nodes: h.nodes, pods: h.pods, services: h.services, slices: h.slices, serviceCIDRs: h.serviceCIDRs, policies: h.policies, namespaces: h.namespaces, store: store, patcher: h, events: h, metrics: newMetrics(nil),
		nodeGone: func(name string) { h.gone = append(h.gone, name) }, whileHeld: always,
	})
	if err := h.engine.rebuild(h.db.observe()); err != nil {
		h.t.Fatalf("rebuild: %v", err)
	}
	h.engine.start()
}

// allocate lets the engine work, but neither annotation nor database follow.
func (h *harness) allocate() int {
	return h.engine.worker.RunUntilIdle(context.Background()) + h.engine.service.worker.RunUntilIdle(context.Background())
}

// annotate lets the patches through.
func (h *harness) annotate() { h.engine.annotator.worker.RunUntilIdle(context.Background()) }

// settle lets everything happen until nothing is left to do.
func (h *harness) settle() {
	h.t.Helper()
	for range 1000 {
		n := h.allocate() + h.engine.annotator.worker.RunUntilIdle(context.Background())
		if n+h.commit() == 0 {
			return
		}
	}
	h.t.Fatalf("it never comes to rest")
}

// commit carries out what the store wants and reports; it returns how many owners it dealt with.
func (h *harness) commit() int {
	n := 0
	var later []nbstate.Owner
	for _, owner := range h.store.TakeDirty() {
		r := nbsync.Result{Owner: owner}
		var view nbstate.OwnerView
		var synced bool
		h.store.Read(func(v nbstate.View) { view, _ = v.Owner(owner); synced = v.IsSynced() })
		r.Generation, r.Deleted = view.Generation, view.Deleted
		switch err := h.db.refuse[owner]; {
		case err != nil:
			r.Err = err
		case view.Deleted && !synced:
			later = append(later, owner)
			continue
		case view.Deleted:
			delete(h.db.rows, owner)
			h.store.Done(owner, view.Generation)
		default:
			h.db.rows[owner] = view.Desired
			h.store.Done(owner, view.Generation)
		}
		n++
		h.engine.onResult(r)
	}
	if len(later) > 0 {
		h.t.Fatalf("deletions %v wait for caches: let the engine work before commit", later)
	}
	return n
}

// prune deletes rows nobody wants, as the reconciler does after Synced.
func (h *harness) prune() {
	h.store.Read(func(v nbstate.View) {
		if !v.IsSynced() {
			return
		}
		for owner := range h.db.rows {
			if o, ok := v.Owner(owner); !ok || o.Deleted {
				delete(h.db.rows, owner)
			}
		}
	})
}

// observe reads the committed rows as a new master does.
func (d *fakeDatabase) observe() observed {
	ports, routerPorts := map[string]*nbdb.LogicalSwitchPort{}, map[string]*nbdb.LogicalRouterPort{}
	for owner, desired := range d.rows {
		ids := map[string]string{names.OwnerControllerKey: names.ControllerName, names.OwnerTypeKey: owner.Kind, names.OwnerNameKey: owner.Name}
		for _, r := range desired.Rows {
			switch m := r.Model.(type) {
			case *nbdb.LogicalSwitchPort:
				c := *m
				c.ExternalIDs = ids
				ports[m.Name] = &c
			case *nbdb.LogicalRouterPort:
				c := *m
				c.ExternalIDs = ids
				routerPorts[m.Name] = &c
			}
		}
	}
	return observe(ports, routerPorts)
}

// Warn implements kube.Recorder.
func (h *harness) Warn(about kube.Ref, reason, _ string) {
	h.events = append(h.events, reason+" "+names.ObjectName(about.Namespace, about.Name))
}

// PatchPod implements kube.Patcher on the mirror.
func (h *harness) PatchPod(_ context.Context, ref kube.Ref, set map[string]string) error {
	p, ok := h.pods.Get(names.ObjectName(ref.Namespace, ref.Name))
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, ref.Name)
	}
	if p.UID != ref.UID {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, ref.Name, nil)
	}
	c := *p
	c.Network = set[names.PodNetworksAnnotation]
	h.pods.Put(&c)
	return nil
}

// PatchNode implements kube.Patcher on the mirror.
func (h *harness) PatchNode(_ context.Context, ref kube.Ref, set map[string]string) error {
	n, ok := h.nodes.Get(ref.Name)
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "nodes"}, ref.Name)
	}
	if n.UID != ref.UID {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Node"}, ref.Name, nil)
	}
	h.annotateNode(ref.Name, set)
	return nil
}

// always is a Lease that nobody takes.
func always(ctx context.Context) (context.Context, context.CancelFunc, error) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, cancel, nil
}

func (h *harness) nextUID() types.UID {
	h.uids++
	h.clock = h.clock.Add(time.Second)
	return types.UID(fmt.Sprintf("uid-%d", h.uids))
}

// addNode registers a node; subnets, when not empty, are its annotation.
func (h *harness) addNode(name string, subnets ...string) {
	n := &kube.Node{Name: name, UID: h.nextUID(), Created: h.clock}
	if len(subnets) > 0 {
		n.Annotations = map[string]string{names.NodeSubnetsAnnotation: `{"default":["` + strings.Join(subnets, `","`) + `"]}`}
	}
	h.nodes.Put(n)
}

// annotateNode sets annotations of a node; an empty value removes one.
func (h *harness) annotateNode(name string, set map[string]string) {
	n, ok := h.nodes.Get(name)
	if !ok {
		h.t.Fatalf("no node %s", name)
	}
	c := *n
	c.Annotations = maps.Clone(n.Annotations)
	if c.Annotations == nil {
		c.Annotations = map[string]string{}
	}
	for k, v := range set {
		if v == "" {
			delete(c.Annotations, k)
		} else {
			c.Annotations[k] = v
		}
	}
	h.nodes.Put(&c)
}

// addPod creates a pod that is scheduled to node, with an annotation for addresses when there are any.
func (h *harness) addPod(name, node string, addresses ...string) {
	h.pods.Put(&kube.Pod{Namespace: "ns", Name: name, UID: h.nextUID(), Created: h.clock, Node: node, Network: networkText(addresses...)})
}

func networkText(addresses ...string) string {
	if len(addresses) == 0 {
		return ""
	}
	mac := "0a:58"
	for _, b := range netip.MustParsePrefix(addresses[0]).Addr().AsSlice() {
		mac += fmt.Sprintf(":%02x", b)
	}
	gateway := netip.MustParsePrefix(addresses[0]).Masked().Addr().Next()
	return fmt.Sprintf(`{"default":{"ip_addresses":["%s"],"mac_address":"%s","gateway_ips":["%s"]}}`, strings.Join(addresses, `","`), mac, gateway)
}

func (h *harness) changePod(name string, change func(*kube.Pod)) {
	p, ok := h.pods.Get("ns/" + name)
	if !ok {
		h.t.Fatalf("no pod %s", name)
	}
	c := *p
	change(&c)
	h.pods.Put(&c)
}

func (h *harness) deletePod(name string) { h.pods.Remove("ns/" + name) }

// subnetsOf is what a node's annotation says.
func (h *harness) subnetsOf(node string) string {
	n, ok := h.nodes.Get(node)
	if !ok {
		return "gone"
	}
	subnets, err := annotations.ParseNodeSubnets(n.Annotations)
	if err != nil {
		return "none"
	}
	return join(subnets)
}

// addressOf is what a pod's annotation says.
func (h *harness) addressOf(pod string) string {
	p, ok := h.pods.Get("ns/" + pod)
	if !ok {
		return "gone"
	}
	network, err := parseNetwork(p)
	if err != nil {
		return "none"
	}
	var out []netip.Addr
	for _, a := range network.Addresses {
		out = append(out, a.Addr())
	}
	return join(out)
}

// portOf is what the database says of a pod's port: "ADDRESSES on NODE for UID".
func (h *harness) portOf(pod string) string {
	d, ok := h.db.rows[podOwner("ns/"+pod)]
	if !ok {
		return "none"
	}
	p := d.Rows[0].Model.(*nbdb.LogicalSwitchPort)
	_, addresses, _ := strings.Cut(p.Addresses[0], " ")
	return addresses + " on " + p.Options[names.RequestedChassis] + " for " + p.Options[names.IfaceIDVer]
}

// wired tells whether the database has a node's switch.
func (h *harness) wired(node string) bool {
	_, ok := h.db.rows[nodeOwner(node)]
	return ok
}

func join[T fmt.Stringer](in []T) string {
	var out []string
	for _, v := range in {
		out = append(out, v.String())
	}
	return strings.Join(out, " ")
}

func (h *harness) want(what, got, want string) {
	h.t.Helper()
	if got != want {
		h.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// wantEvents compares the Events since the last call, in any order.
func (h *harness) wantEvents(want ...string) {
	h.t.Helper()
	slices.Sort(h.events)
	slices.Sort(want)
	if !slices.Equal(h.events, want) {
		h.t.Errorf("Events %q, want %q", h.events, want)
	}
	h.events = nil
}

func newTest(t *testing.T, pools ...string) *harness {
	t.Helper()
	if len(pools) == 0 {
		pools = []string{"10.128.0.0/14/23"}
	}
	return newHarness(t, pools...)
}
