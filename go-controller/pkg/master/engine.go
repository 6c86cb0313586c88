package master

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ipam"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/topology"
)

// Reasons of Events.
const (
	reasonBadSubnets       = "InvalidNodeSubnets"
	reasonNoSubnet         = "NodeSubnetsExhausted"
	reasonSubnetsRestored  = "NodeSubnetsRestored"
	reasonNoAddress        = "PodAddressesExhausted"
	reasonNodeBlocked      = "NodeHasNoPodNetwork"
	reasonAddressReplaced  = "PodNetworkReplaced"
	reasonBadHostCIDRs     = "InvalidHostCIDRs"
	reasonBadGateway       = "InvalidGatewayConfig"
	reasonNorthboundFailed = "NorthboundWriteFailed"
	reasonPatchRefused     = "AnnotationRefused"
	reasonBadPolicy        = "InvalidNetworkPolicy"
	reasonBadLogging       = "InvalidACLLogging"
)

// desiredState is the part of nbstate.Store that the engine uses.
type desiredState interface {
	Set(nbstate.Owner, nbstate.Desired) error
	Delete(nbstate.Owner)
	Generation(nbstate.Owner) uint64
	Synced()
}

// network is what the engine has to know of the configuration.
type network struct {
	pools []ipam.Pool
	join  []netip.Prefix
	// noSNAT are destinations outside the cluster that see pods' own addresses.
	noSNAT []netip.Prefix
	// mtu is that of pods.
	mtu int
	// internal are the ranges in which no host address can lie.
	internal []netip.Prefix
	// serviceCIDRs are the service networks that are configured; ServiceCIDR objects have more.
	serviceCIDRs []netip.Prefix
	// nodePorts: services are reachable on the nodes' addresses.
	nodePorts bool
	// aclLogRate limits the log messages of an ACL, a second; zero: defaultACLLogRate.
	aclLogRate int
}

// deps are the engine's surroundings.
type deps struct {
	nodes *kube.Mirror[*kube.Node]
	pods  *kube.Mirror[*kube.Pod]
	// services and slices may be nil: then there are none.
	services *kube.Mirror[*kube.Service]
	slices   *kube.ServiceSlices
	// serviceCIDRs may be nil: then there are none.
	serviceCIDRs *kube.Mirror[*kube.ServiceCIDR]
	// selectsByIPv6 is what the northbound database can, as it was when work began.
	selectsByIPv6 bool
	// policies and namespaces may be nil: then there are none.
	policies   *kube.Mirror[*kube.NetworkPolicy]
	namespaces *kube.Mirror[*kube.Namespace]

	store   desiredState
	patcher kube.Patcher
	events  kube.Recorder
	metrics *metrics
	// nodeGone is told the name of a node that is gone. It must not block.
	nodeGone func(name string)
	// whileHeld allows what only the holder of the Lease may do.
	whileHeld permission
}

// engine allocates and says what is wanted. All of its state belongs to one goroutine; see the package's
// comment.
type engine struct {
	deps
	network   network
	cluster   topology.Cluster
	worker    *kube.Worker[key]
	annotator *annotator
	service   *services
	policy    *policies
	inbox     inbox
	progress  progress

	ledger *ledger
	// held are former attachments whose addresses wait for the database, by the owner of their port.
	held map[nbstate.Owner]*heldAddresses
	// waiting are pods that cannot be served before something happens on their node.
	waiting waiters
	// blocked are nodes without subnets, with the reason: they wait for one to become free, or for their annotation to change.
	blocked    map[string]string
	complaints complaints
	// hosts says which node has which host address.
	hosts *hostAddresses
	// firstSeen is when a pod could first have been served.
	firstSeen sync.Map
	// unwritten is when the first event came about services and policies (nbstate.Owner) that have not been handed in since.
	unwritten sync.Map
}

// heldAddresses are freed when the database has reached a generation of their port's owner.
type heldAddresses struct {
	generation  uint64
	attachments []*attachment
	// inherited: the port is a former master's and what it is a member of is not known: no other of its name comes before it has gone.
	inherited bool
}

func newEngine(n network, d deps) *engine {
	e := &engine{
		deps: d, network: n, cluster: n.cluster(),
		ledger:     newLedger(n.pools),
		held:       map[nbstate.Owner]*heldAddresses{},
		waiting:    newWaiters(),
		blocked:    map[string]string{},
		complaints: complaints{},
		hosts:      newHostAddresses(n.internal),
	}
	e.worker = kube.NewWorker("engine", d.metrics.queues, e.handle)
	e.service = newServices(serviceOptions{
		network: n, nodes: d.nodes, services: d.services, slices: d.slices, serviceCIDRs: d.serviceCIDRs, selectsByIPv6: d.selectsByIPv6,
		events: d.events, queues: d.metrics.queues, event: e.noteEvent, set: e.set, remove: e.remove, looked: e.allLookedAt,
	})
	e.policy = newPolicies(policyOptions{
		source: d.policies, namespaceSource: d.namespaces, families: n.families(), logRate: n.aclLogRate,
		complaints: e.complaints, complain: e.complain, set: e.set, remove: e.remove, progress: &e.progress, wake: e.worker.Add,
	})
	e.annotator = newAnnotator(d.patcher, d.metrics.queues, e.annotations, e.patched)
	e.annotator.whileHeld = d.whileHeld
	e.annotator.refused = func(about kube.Ref, err error) { e.events.Warn(about, reasonPatchRefused, err.Error()) }
	return e
}

// nodeChanged and podChanged are handlers of the mirrors.
func (e *engine) nodeChanged(name string, _, _ *kube.Node) { e.worker.Add(key{nodeKey, name}) }

func (e *engine) podChanged(name string, before, after *kube.Pod) {
	if before == nil && (after.HostNetwork || after.Node == "") {
		return
	}
	if after != nil && after.Network == "" && !after.HostNetwork && after.Node != "" {
		e.firstSeen.LoadOrStore(name, time.Now())
	}
	e.worker.Add(key{podKey, name})
}

func (e *engine) namespaceChanged(name string, _, _ *kube.Namespace) {
	e.worker.Add(key{namespaceKey, name})
}

func (e *engine) policyChanged(name string, _, _ *kube.NetworkPolicy) {
	e.noteEvent(policyOwner(name))
	e.worker.Add(key{policyKey, name})
}

func (e *engine) serviceChanged(name string, _, _ *kube.Service) { e.service.changed(name) }

func (e *engine) serviceCIDRChanged(string, *kube.ServiceCIDR, *kube.ServiceCIDR) {
	e.service.networksChanged()
}

func (e *engine) sliceChanged(_ string, before, after *kube.EndpointSlice) {
	e.service.sliceChanged(before, after)
}

// onResult takes what the reconciler reports. It does not block.
func (e *engine) onResult(r nbsync.Result) {
	if e.inbox.put(r) {
		e.worker.Add(key{kind: resultsKey})
	}
}

// start makes work of all that there is now. The mirrors' handlers must be connected before, so that no change is lost
// in between.
func (e *engine) start() {
	nodes := e.nodes.All()
	slices.SortFunc(nodes, olderNode)
	for _, n := range nodes {
		e.worker.Add(key{nodeKey, n.Name})
	}
	for _, p := range e.pods.All() {
		e.podChanged(p.Key(), nil, p)
	}
	e.worker.Add(key{kind: syncedKey})
}

// run works until ctx ends.
func (e *engine) run(ctx context.Context) {
	var wg sync.WaitGroup
	// One worker only: the state belongs to it.
	wg.Go(func() { e.worker.Run(ctx, 1) })
	wg.Go(func() { e.service.worker.Run(ctx, 1) })
	wg.Go(func() { e.annotator.worker.Run(ctx, annotationWorkers) })
	wg.Wait()
}

func (e *engine) handle(_ context.Context, k key) error {
	switch k.kind {
	case nodeKey:
		return errors.Join(e.reconcileNode(k.name), e.nodePolicies(k.name))
	case podKey:
		return e.reconcilePod(k.name)
	case namespaceKey:
		e.policy.reconcileNamespace(k.name)
	case policyKey:
		e.policy.reconcile(k.name)
	case policyStepKey:
		e.policy.step(k.name)
	case resultsKey:
		for _, r := range e.inbox.take() {
			e.result(r)
		}
		e.policy.written()
	case syncedKey:
		klog.InfoS("All nodes and pods have been looked at", "nodes", len(e.ledger.nodes), "pods", len(e.ledger.pods))
		e.service.begin()
	}
	return nil
}

// set hands rows to the store and remembers that an answer is due. It may be called from any goroutine.
func (e *engine) set(owner nbstate.Owner, d nbstate.Desired) error {
	return e.progress.expect(owner, e.eventOf(owner), func() (uint64, error) {
		before := e.store.Generation(owner)
		if err := e.store.Set(owner, d); err != nil {
			return 0, err
		}
		if after := e.store.Generation(owner); after != before {
			return after, nil
		}
		return 0, nil
	})
}

// remove takes an owner's rows away and returns the generation at which they are gone; zero when
// there is nothing to wait for. It may be called from any goroutine.
func (e *engine) remove(owner nbstate.Owner) uint64 {
	var generation uint64
	_ = e.progress.expect(owner, e.eventOf(owner), func() (uint64, error) {
		e.store.Delete(owner)
		generation = e.store.Generation(owner)
		return generation, nil
	})
	return generation
}

// result acts on a report of the reconciler.
func (e *engine) result(r nbsync.Result) {
	since := e.progress.answer(r.Owner, r.Generation)
	if r.Err != nil {
		e.writeFailed(r)
		return
	}
	if !since.IsZero() {
		e.metrics.programming.WithLabelValues(r.Owner.Kind).Observe(time.Since(since).Seconds())
	}
	if h := e.held[r.Owner]; h != nil && r.Generation >= h.generation {
		delete(e.held, r.Owner)
		for _, a := range h.attachments {
			e.freeAddresses(a)
		}
		if h.inherited {
			e.worker.Add(key{podKey, r.Owner.Name})
		}
	}
	if r.Owner.Kind == names.OwnerNode && r.Deleted {
		e.nodeUnwired(r.Owner.Name, r.Generation)
	}
}

func (e *engine) writeFailed(r nbsync.Result) {
	if errors.Is(r.Err, nbsync.ErrWaiting) {
		klog.V(2).InfoS("Northbound rows wait for others", "owner", r.Owner.String(), "for", r.Err.Error())
		return
	}
	e.metrics.writeFailures.WithLabelValues(r.Owner.Kind).Inc()
	klog.ErrorS(r.Err, "The northbound database refused rows; they will be tried again", "owner", r.Owner.String())
	if ref, ok := e.ref(r.Owner); ok {
		e.events.Warn(ref, reasonNorthboundFailed, r.Err.Error())
	}
}

// ref finds the object that stands behind an owner.
func (e *engine) ref(owner nbstate.Owner) (kube.Ref, bool) {
	switch owner.Kind {
	case names.OwnerService:
		if s, ok := e.services.Get(owner.Name); ok {
			return s.Ref(), true
		}
	case names.OwnerNetworkPolicy, names.OwnerIsolation, names.OwnerPolicyGroup, names.OwnerPolicyPeers:
		return e.policy.ref(owner)
	case names.OwnerNode, names.OwnerNodeVariables, names.OwnerNodePolicy:
		if n, ok := e.nodes.Get(owner.Name); ok {
			return n.Ref(), true
		}
	case names.OwnerPod:
		if p, ok := e.pods.Get(owner.Name); ok {
			return p.Ref(), true
		}
	}
	return kube.Ref{}, false
}

// complain records a Warning unless the same was recorded already.
func (e *engine) complain(k key, ref kube.Ref, reason, message string) {
	if e.complaints.news(k, reason, string(ref.UID)+message) {
		e.events.Warn(ref, reason, message)
	}
}

// annotations are what an object has now, for the annotator; it is called from other goroutines.
func (e *engine) annotations(k key, ref kube.Ref) map[string]string {
	if k.kind == nodeKey {
		n, ok := e.nodes.Get(k.name)
		if !ok || n.UID != ref.UID {
			return nil
		}
		if n.Annotations == nil {
			return map[string]string{}
		}
		return n.Annotations
	}
	p, ok := e.pods.Get(k.name)
	if !ok || p.UID != ref.UID {
		return nil
	}
	return map[string]string{names.PodNetworksAnnotation: p.Network}
}

// patched is called from other goroutines after a patch.
func (e *engine) patched(k key) {
	if k.kind != podKey {
		return
	}
	e.metrics.podsAnnotated.Inc()
	if since, ok := e.firstSeen.LoadAndDelete(k.name); ok {
		e.metrics.podLatency.Observe(time.Since(since.(time.Time)).Seconds())
	}
}
