package master

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ipam"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

// component names the source of Events.
const component = "ovnkube-master"

// Options are what a master needs besides its configuration.
type Options struct {
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
	// RESTConfig reaches the API server; nil means as configured.
	RESTConfig *rest.Config
}

// Master is one replica. All replicas keep copies of what they need; the leader alone acts.
type Master struct {
	cfg     config.Master
	options Options
	metrics *metrics
	nodes   *kube.Mirror[*kube.Node]
	pods    *kube.Mirror[*kube.Pod]

	services       *kube.Mirror[*kube.Service]
	endpointSlices *kube.Mirror[*kube.EndpointSlice]
	slices         *kube.ServiceSlices
	serviceCIDRs   *kube.Mirror[*kube.ServiceCIDR]
	policies       *kube.Mirror[*kube.NetworkPolicy]
	namespaces     *kube.Mirror[*kube.Namespace]

	// engine is set while this replica leads.
	engine atomic.Pointer[engine]
	nb     atomic.Pointer[ovsdb.Client]
	elect  atomic.Pointer[election]
	// watchdog is set while this replica leads.
	watchdog atomic.Pointer[watchdog]
}

// New prepares a master; nothing is connected before Run.
func New(cfg config.Master, o Options) (*Master, error) {
	if o.RESTConfig == nil {
		var err error
		if o.RESTConfig, err = kube.RESTConfig(cfg.Kubeconfig, cfg.APIServer); err != nil {
			return nil, err
		}
	}
	m := &Master{
		cfg: cfg, options: o, metrics: newMetrics(o.Registerer),
		nodes: kube.NewNodeMirror(), pods: kube.NewPodMirror(),
		services: kube.NewServiceMirror(), endpointSlices: kube.NewEndpointSliceMirror(), serviceCIDRs: kube.NewServiceCIDRMirror(),
		policies: kube.NewNetworkPolicyMirror(), namespaces: kube.NewNamespaceMirror(),
	}
	m.slices = kube.NewServiceSlices(m.endpointSlices) // Before other handlers of the same mirror.
	m.connect()
	if o.Registerer != nil {
		if err := o.Registerer.Register(newConfiguration(m.global)); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return m, nil
}

// connect leads what the mirrors tell to the engine, while there is one.
func (m *Master) connect() {
	m.nodes.OnChange(func(name string, before, after *kube.Node) {
		if e := m.engine.Load(); e != nil {
			e.nodeChanged(name, before, after)
		}
	})
	m.pods.OnChange(func(name string, before, after *kube.Pod) {
		if e := m.engine.Load(); e != nil {
			e.podChanged(name, before, after)
		}
	})
	m.services.OnChange(func(name string, before, after *kube.Service) {
		if e := m.engine.Load(); e != nil {
			e.serviceChanged(name, before, after)
		}
	})
	m.endpointSlices.OnChange(func(name string, before, after *kube.EndpointSlice) {
		if e := m.engine.Load(); e != nil {
			e.sliceChanged(name, before, after)
		}
	})
	m.serviceCIDRs.OnChange(func(name string, before, after *kube.ServiceCIDR) {
		if e := m.engine.Load(); e != nil {
			e.serviceCIDRChanged(name, before, after)
		}
	})
	m.policies.OnChange(func(name string, before, after *kube.NetworkPolicy) {
		if e := m.engine.Load(); e != nil {
			e.policyChanged(name, before, after)
		}
	})
	m.namespaces.OnChange(func(name string, before, after *kube.Namespace) {
		if e := m.engine.Load(); e != nil {
			e.namespaceChanged(name, before, after)
		}
	})
}

// synced are closed when the mirrors have their first list.
func (m *Master) synced() []<-chan struct{} {
	return []<-chan struct{}{m.nodes.Synced(), m.pods.Synced(), m.services.Synced(), m.endpointSlices.Synced(),
		m.serviceCIDRs.Synced(), m.policies.Synced(), m.namespaces.Synced()}
}

// Ready returns nil when this replica has all it needs, and, as the leader, gets its writes done. Otherwise it
// says what is missing.
func (m *Master) Ready() error {
	for _, synced := range m.synced() {
		if !done(synced) {
			return errors.New("nodes, pods, services with their slices and networks, namespaces and network policies are not yet all listed from the API server")
		}
	}
	if nb := m.nb.Load(); nb == nil || !nb.Connected() {
		return errors.New("not connected to the northbound database")
	}
	if e := m.elect.Load(); e != nil {
		if err := e.problem(time.Now()); err != nil {
			return err
		}
	}
	if w := m.watchdog.Load(); w != nil {
		if err := w.problem(time.Now()); err != nil {
			return err
		}
	}
	if e := m.engine.Load(); e != nil {
		return e.progress.problem(time.Now())
	}
	return nil
}

// Live returns nil unless this replica should be restarted.
func (m *Master) Live() error {
	if e := m.elect.Load(); e != nil {
		return e.check()
	}
	return nil
}

// Run works until ctx ends, which is no error. Losing the leadership is one: the process is meant to end and
// start again as a standby.
func (m *Master) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	clients, err := kube.NewClients(m.options.RESTConfig)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { m.nodes.Run(ctx, kube.Nodes(clients.Core)) })
	wg.Go(func() { m.pods.Run(ctx, kube.LivePods(clients.Core)) })
	wg.Go(func() { m.services.Run(ctx, kube.Services(clients.Core)) })
	wg.Go(func() { m.endpointSlices.Run(ctx, kube.EndpointSlices(clients.Discovery)) })
	wg.Go(func() { m.serviceCIDRs.Run(ctx, kube.ServiceCIDRs(clients.Networking)) })
	wg.Go(func() { m.policies.Run(ctx, kube.NetworkPolicies(clients.Networking)) })
	wg.Go(func() { m.namespaces.Run(ctx, kube.Namespaces(clients.Core)) })

	connected := make(chan struct{}, 1)
	nb, err := m.connectNorthbound(ctx, connected)
	if err != nil {
		return retry.IgnoreEnd(ctx, err)
	}
	defer nb.Close()
	m.nb.Store(nb)
	klog.InfoS("Connected to the northbound database", "endpoint", nb.Endpoint())
	for _, synced := range m.synced() {
		select {
		case <-synced:
		case <-ctx.Done():
			return nil
		}
	}
	e, err := newElection(clients.Coordination.Leases(leaseNamespace), m.cfg.Identity, m.metrics.leader, defaultTiming())
	if err != nil {
		return err
	}
	m.elect.Store(e)
	l := leader{master: m, clients: clients, nb: nb, connected: connected}
	return retry.IgnoreEnd(ctx, e.run(ctx, l.lead))
}

func done(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// networkOf takes from the configuration what the engine needs.
func networkOf(cfg *config.Master) network {
	var n network
	for _, s := range cfg.ClusterSubnets {
		n.pools = append(n.pools, ipam.Pool{Prefix: s.Prefix, HostPrefix: s.HostPrefix})
		n.internal = append(n.internal, s.Prefix)
	}
	n.internal = append(n.internal, cfg.ServiceCIDRs...)
	n.internal = append(n.internal, cfg.JoinSubnets...)
	n.internal = append(n.internal, names.MasqueradeSubnet(true), names.MasqueradeSubnet(false))
	n.serviceCIDRs = cfg.ServiceCIDRs
	n.noSNAT, n.mtu, n.nodePorts, n.aclLogRate = cfg.NoSNATCIDRs, cfg.MTU, cfg.NodePort, cfg.ACLLoggingRateLimit
	for _, v4 := range []bool{true, false} {
		for _, s := range cfg.JoinSubnets {
			if s.Addr().Is4() == v4 && (v4 && cfg.IPv4() || !v4 && cfg.IPv6()) {
				n.join = append(n.join, s)
			}
		}
	}
	return n
}
