package master

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/service"
)

func serviceOwner(key string) nbstate.Owner {
	return nbstate.Owner{Kind: names.OwnerService, Name: key}
}

// clusterServices is the name of the owner of what services have in common.
const clusterServices = "services"

// clusterRefusals is the name of the owner of what refuses packets to addresses that no service has.
const clusterRefusals = "no-services"

// services says what services want. It has a goroutine of its own; nodes are told to it by the engine, when they have a switch.
type services struct {
	serviceOptions
	worker     *kube.Worker[key]
	complaints complaints
	begun      atomic.Bool
	// settled says that all services of the start have been looked at; met are those seen since. The worker's own.
	settled bool
	met     map[string]types.UID
	// sliceWait is the constant of that name outside of tests.
	sliceWait time.Duration

	mu      sync.Mutex
	places  map[string]*service.Node
	cluster *service.Cluster
	// depends has the services that a change of nodes concerns.
	depends map[string]service.Dependence
}

// serviceOptions are the surroundings of services.
type serviceOptions struct {
	network  network
	nodes    *kube.Mirror[*kube.Node]
	services *kube.Mirror[*kube.Service]
	slices   *kube.ServiceSlices
	// serviceCIDRs may be nil: then there are none.
	serviceCIDRs *kube.Mirror[*kube.ServiceCIDR]
	// selectsByIPv6: load balancers may have service.SelectsByIPv6.
	selectsByIPv6 bool
	events        kube.Recorder
	queues        *kube.QueueMetrics
	// event is told of whatever may change what an owner wants, set and remove what it wants.
	event  func(nbstate.Owner)
	set    func(nbstate.Owner, nbstate.Desired) error
	remove func(nbstate.Owner) uint64
	// looked is called once, when every service has been looked at.
	looked func()
}

func newServices(o serviceOptions) *services {
	s := &services{
		serviceOptions: o, complaints: complaints{}, met: map[string]types.UID{}, sliceWait: sliceWait,
		places: map[string]*service.Node{}, depends: map[string]service.Dependence{},
	}
	s.cluster = s.newCluster()
	s.worker = kube.NewWorker("services", o.queues, s.handle)
	return s
}

// changed says that a service, or one of its slices, is not what it was. What comes before begin is not lost: begin looks at all.
func (s *services) changed(name string) {
	if s.begun.Load() {
		s.event(serviceOwner(name))
		s.worker.Add(key{serviceKey, name})
	}
}

// sliceChanged does the same for the service, or the two services, of a slice.
func (s *services) sliceChanged(before, after *kube.EndpointSlice) {
	for _, slice := range []*kube.EndpointSlice{before, after} {
		if slice != nil && slice.Service != "" {
			s.changed(slice.ServiceKey())
		}
	}
}

// begin makes work of all services that there are. The nodes should be known by then: what is written for a
// cluster without nodes is written again with the first.
func (s *services) begin() {
	s.begun.Store(true)
	if s.services != nil {
		for _, svc := range s.services.All() {
			s.changed(svc.Key())
		}
	}
	s.worker.Add(key{kind: syncedKey})
}

func (s *services) handle(_ context.Context, k key) error {
	switch k.kind {
	case syncedKey:
		s.settled = true
		err := s.refusals() // Before what nobody wants by now is removed.
		s.looked()
		return err
	case serviceNetworksKey:
		return s.refusals()
	}
	return s.reconcile(k.name)
}

// reconcile costs time in proportion to the service's endpoints; in proportion to the nodes only where those differ for it.
func (s *services) reconcile(name string) error {
	svc, exists := s.services.Get(name)
	if !exists {
		s.depend(name, service.OnNothing, nil)
		s.complaints.forget(key{serviceKey, name})
		delete(s.met, name)
		s.remove(serviceOwner(name))
		return nil
	}
	endpoints := s.slices.Of(name)
	if s.early(svc, len(endpoints)) {
		s.worker.AddAfter(key{serviceKey, name}, s.sliceWait)
		return nil
	}
	s.mu.Lock()
	cluster := s.cluster
	s.mu.Unlock()
	desired, dependence := service.Rows(svc, endpoints, cluster)
	s.depend(name, dependence, cluster)
	if err := s.want(serviceOwner(name), desired); err != nil {
		if k := (key{serviceKey, name}); s.complaints.news(k, reasonNorthboundFailed, string(svc.UID)+err.Error()) {
			s.events.Warn(svc.Ref(), reasonNorthboundFailed, err.Error())
		}
		return err
	}
	s.complaints.forget(key{serviceKey, name})
	return nil
}

// sliceWait is for how long a new service waits for the slices that Kubernetes makes for it, typically 10 ms after it: northd
// takes a service without endpoints and then with them as two pieces of work, of which the first is thrown away.
const sliceWait = 50 * time.Millisecond

// early tells whether a service is so new that its slices are not there yet. It says so once for each service.
func (s *services) early(svc *kube.Service, slices int) bool {
	if !s.settled || s.met[svc.Key()] == svc.UID {
		return false
	}
	s.met[svc.Key()] = svc.UID
	return svc.Selects && slices == 0
}

func (s *services) want(owner nbstate.Owner, d nbstate.Desired) error {
	if len(d.Rows)+len(d.Members) == 0 {
		s.remove(owner)
		return nil
	}
	return s.set(owner, d)
}

// depend remembers what a service's rows, made with a cluster, depend on.
func (s *services) depend(name string, d service.Dependence, with *service.Cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d == service.OnNothing {
		delete(s.depends, name)
		return
	}
	s.depends[name] = d
	if s.cluster != with {
		s.worker.Add(key{serviceKey, name}) // The nodes have changed meanwhile, and nobody knew that this service cares.
	}
}

// node takes what services depend on of a node, after its switch was handed in.
func (s *services) node(n *service.Node) error {
	s.mu.Lock()
	if was := s.places[n.Name]; was == nil || !was.Equal(n) {
		if was == nil || !slices.Equal(was.Addresses, n.Addresses) {
			s.addressesChanged()
		}
		s.places[n.Name] = n
		s.nodesChanged()
	}
	s.mu.Unlock()
	return s.want(nodeVariablesOwner(n.Name), service.NodeRows(n))
}

// nodeGone forgets a node, before its switch is deleted.
func (s *services) nodeGone(name string) {
	s.mu.Lock()
	if s.places[name] != nil {
		delete(s.places, name)
		s.addressesChanged()
		s.nodesChanged()
	}
	s.mu.Unlock()
	s.remove(nodeVariablesOwner(name))
}

func nodeVariablesOwner(node string) nbstate.Owner {
	return nbstate.Owner{Kind: names.OwnerNodeVariables, Name: node}
}

// nodesChanged wakes the services that the change concerns. The caller holds the lock.
func (s *services) nodesChanged() {
	before := s.cluster
	s.cluster = s.newCluster()
	concerned := service.OnNodes
	if !s.cluster.SameVariables(before) {
		concerned = service.OnVariables
	}
	for name, d := range s.depends {
		if d >= concerned {
			s.changed(name)
		}
	}
}

func (s *services) newCluster() *service.Cluster {
	pods := s.network.cluster().Subnets
	return service.NewCluster(slices.Collect(maps.Values(s.places)), pods).SelectingByIPv6(s.selectsByIPv6)
}

// allLookedAt is called when every node, pod and service has been looked at once: what nobody wants by now is left over.
func (e *engine) allLookedAt() {
	klog.InfoS("All nodes, pods and services have been looked at")
	e.store.Synced()
	e.progress.settle()
}
