package node

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/bridge"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/conntrack"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/datapath"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/healthcheck"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/netfilter"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/openflow"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/reconcile"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/vswitchdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/telemetry"
)

// supportedEncapPort is Geneve's registered port (RFC 8926), the only one that ovn-controller uses.
const supportedEncapPort = 6081

// Options are what an Agent needs beyond its configuration.
type Options struct {
	// Registerer takes the metrics. May be nil.
	Registerer prometheus.Registerer
	// RESTConfig is how to reach the API server; nil means as configured.
	RESTConfig *rest.Config
	// Serve serves pods (the CNI server). It is called when the node is ready for pods, must run
	// until ctx ends, and is called again, after a pause, when it fails. Nil means that no pods are served.
	Serve func(ctx context.Context, h Host) error
	// PodGuard is kept in place, with the userspace datapath, beside the agent's own tables. The zero Table is none.
	PodGuard nft.Table
}

// Host is what Serve needs to know.
type Host struct {
	Config config.Node
	Kube   kubernetes.Interface
	// DatapathType is ovs.System or ovs.Netdev.
	DatapathType string
	// Ready returns nil when pods can be served, else what is missing.
	Ready func() error
}

// Agent makes this host a node and keeps it one.
type Agent struct {
	cfg   config.Node
	opts  Options
	kube  kubernetes.Interface
	facts *facts

	datapathType string
	db           *ovsdb.Client
	databases    *telemetry.Databases
	// connected is db, for those who ask before there is one.
	connected atomic.Pointer[ovsdb.Client]
	bridge    *bridge.Manager
	tables    nft.Runner
	flows     *openflow.Keeper
	node      *kube.Mirror[*kube.Node]
	services  *kube.Mirror[*kube.Service]
	slices    *kube.Mirror[*kube.EndpointSlice]
	// serviceNetworks are those that were added to the configured ones.
	serviceNetworks *kube.Mirror[*kube.ServiceCIDR]
	// endpoints finds the slices of a service; rules are the host's own for services.
	endpoints *kube.ServiceSlices
	rules     *netfilter.Controller
	health    *healthcheck.Server
	sweeper   *conntrack.Sweeper
	patcher   kube.Patcher
	events    kube.Recorder

	// integration is used by the chassis loop alone, published by the annotations loop alone, greeter by
	// the tunnels loop alone.
	integration integration
	published   published
	greeter     greeter

	loops loops
}

// loops are the reconcilers, one a kind of host object.
type loops struct {
	uplink, chassis, mgmtport, gateway, masquerade, annotations, tunnels, ready *reconcile.Loop
}

func (l loops) all() []*reconcile.Loop {
	return []*reconcile.Loop{l.uplink, l.chassis, l.mgmtport, l.gateway, l.masquerade, l.annotations, l.tunnels, l.ready}
}

type namedWork struct {
	name string
	do   func(context.Context) error
}

// New checks the configuration and makes clients; it connects nothing.
func New(cfg config.Node, opts Options) (*Agent, error) {
	if cfg.EncapPort != supportedEncapPort {
		return nil, fmt.Errorf("--encap-port %d: only %d is supported", cfg.EncapPort, supportedEncapPort)
	}
	rc := opts.RESTConfig
	if rc == nil {
		var err error
		if rc, err = kube.RESTConfig(cfg.Kubeconfig, cfg.APIServer); err != nil {
			return nil, err
		}
	}
	client, err := kubernetes.NewForConfig(rc)
	if err != nil {
		return nil, fmt.Errorf("kubernetes client: %w", err)
	}
	a := &Agent{
		cfg: cfg, opts: opts, kube: client, facts: newFacts(), tables: nft.Kernel(), flows: flowsOf(cfg.OVSDB),
		node: kube.NewNodeMirror(), services: kube.NewServiceMirror(), slices: kube.NewEndpointSliceMirror(),
		serviceNetworks: kube.NewServiceCIDRMirror(), patcher: kube.NewPatcher(client.CoreV1()), greeter: greeter{send: sendDatagram},
		databases: telemetry.NewDatabases(metricsPrefix, opts.Registerer),
	}
	a.loops.ready = reconcile.New("readiness", a.reconcileReadiness, nil)
	for loop, work := range map[**reconcile.Loop]namedWork{
		&a.loops.uplink:      {"external bridge", a.reconcileUplink},
		&a.loops.chassis:     {"chassis", a.reconcileChassis},
		&a.loops.mgmtport:    {"management port", a.reconcileManagementPort},
		&a.loops.gateway:     {"gateway", a.reconcileGateway},
		&a.loops.masquerade:  {"masquerade", a.reconcileMasquerade},
		&a.loops.annotations: {"annotations", a.reconcileAnnotations},
		&a.loops.tunnels:     {"tunnels", a.reconcileTunnels},
	} {
		*loop = reconcile.New(work.name, work.do, a.outcomeChanged)
	}
	a.prepareServices()
	a.prepareServiceCIDRs()
	if opts.Registerer != nil {
		if err := opts.Registerer.Register(newCollector(append(a.loops.all(), a.rules.Loop(), a.health.Loop()), a.integrationIDs)); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return a, nil
}

// Run works until ctx ends; it must be called once. It fails only for what no event can mend.
func (a *Agent) Run(ctx context.Context) error {
	err := a.run(ctx)
	if ctx.Err() != nil {
		return nil // what fails after the end is its consequence
	}
	return err
}

func (a *Agent) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var reason string
	var err error
	if a.datapathType, reason, err = datapath.ThisHost().Resolve(ctx, a.cfg.DatapathType); err != nil {
		return err
	}
	klog.InfoS("Datapath chosen", "type", a.datapathType, "reason", reason)
	if a.db, err = a.connect(ctx); err != nil {
		return err
	}
	defer a.db.Close()
	a.connected.Store(a.db)
	if err := a.seed(); err != nil {
		return err
	}
	a.bridge = &bridge.Manager{OVS: a.db, Tables: a.tables}
	a.events = kube.NewRecorder(ctx, a.kube.CoreV1(), "ovnkube-node")
	return a.runAll(ctx, cancel)
}

// seed takes over what an agent before has left in the local database: what a node needs without the API server.
func (a *Agent) seed() error {
	state := ovs.Observe(a.db)
	id, err := resolveSystemID(state, names.SystemIDFile)
	if err != nil {
		return err
	}
	a.facts.setSystemID(id)
	subnets, err := remembered(state, a.cfg.NodeName)
	if err != nil {
		klog.ErrorS(err, "Waiting for the API server to name the node's subnets")
	}
	a.facts.setSubnets(subnets)
	return a.rememberServiceRoutes()
}

// Ready returns nil when pods can be served, else what is missing.
func (a *Agent) Ready() error { return a.loops.ready.Err() }

// Live returns nil: the loops never give up, and an agent that waits for something must not be restarted.
func (a *Agent) Live() error { return nil }

// integrationIDs are the integration bridge's external_ids, nil while there is no bridge.
func (a *Agent) integrationIDs() map[string]string {
	if db := a.connected.Load(); db != nil {
		for _, b := range ovsdb.Rows[vswitchdb.Bridge](db) {
			if b.Name == names.IntegrationBridge {
				return b.ExternalIDs
			}
		}
	}
	return nil
}

func (a *Agent) userspace() bool { return a.datapathType == ovs.Netdev }

func (a *Agent) clusterPrefixes() []netip.Prefix {
	out := make([]netip.Prefix, len(a.cfg.ClusterSubnets))
	for i, s := range a.cfg.ClusterSubnets {
		out[i] = s.Prefix
	}
	return out
}

// outcomeChanged wakes those whose work depends on how others' has ended.
func (a *Agent) outcomeChanged() {
	a.loops.ready.Wake()
	a.loops.gateway.Wake()
	a.loops.tunnels.Wake()
}
