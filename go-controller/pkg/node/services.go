package node

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/conntrack"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/gateway"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/healthcheck"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/netfilter"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/openflow"
)

// prepareServices lets everyone who needs services follow them. It connects nothing.
func (a *Agent) prepareServices() {
	a.endpoints = kube.NewServiceSlices(a.slices)
	a.rules = netfilter.New(netfilter.Options{
		Services: a.services, Slices: a.slices, Index: a.endpoints, Facts: a.netfilterFacts,
		Choose: func(ctx context.Context) (netfilter.Renderer, []netfilter.Renderer, string, error) {
			return netfilter.Choose(ctx, a.cfg.Netfilter)
		},
		First: a.flowsFirst, Changed: a.outcomeChanged,
	})
	a.health = healthcheck.New(healthcheck.Options{
		Services: a.services, Slices: a.slices, Index: a.endpoints, Node: a.cfg.NodeName, Events: lateRecorder{a},
		Healthy: func() bool { return a.Ready() == nil && a.loops.gateway.Err() == nil && a.rules.Loop().Err() == nil },
	})
	a.sweeper = conntrack.New(conntrack.Options{
		Services: a.services, Slices: a.slices, Index: a.endpoints,
		Flush: func(ctx context.Context, stale func(conntrack.Entry) bool) ([]conntrack.Entry, error) {
			// The datapath is chosen later than this is prepared.
			t := conntrack.Table{Datapath: a.datapathType, Socket: openflow.SocketBeside(a.cfg.OVSDB, names.IntegrationBridge)}
			return t.Flush(ctx, stale)
		},
	})
	ports := func(s *kube.Service) []gateway.ServicePort {
		if s == nil {
			return nil
		}
		// The datapath is chosen later than this is prepared.
		everywhere := a.frontends([]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()})
		return everywhere.ServicePorts([]*kube.Service{s})
	}
	a.services.OnChange(func(_ string, before, after *kube.Service) {
		if !slices.Equal(ports(before), ports(after)) || isLocal(before) != isLocal(after) {
			a.loops.gateway.Wake()
		}
	})
	a.slices.OnChange(func(_ string, before, after *kube.EndpointSlice) {
		s, ok := a.services.Get(serviceOf(before, after))
		if ok && isLocal(s) && (before == nil || after == nil || a.hasHost(before) || a.hasHost(after)) {
			a.loops.gateway.Wake()
		}
	})
}

// lateRecorder is the agent's recorder of Events, which is there only when the agent runs.
type lateRecorder struct{ a *Agent }

// Warn implements kube.Recorder.
func (r lateRecorder) Warn(about kube.Ref, reason, message string) {
	r.a.events.Warn(about, reason, message)
}

func isLocal(s *kube.Service) bool { return s != nil && s.ExternalLocal }

func serviceOf(before, after *kube.EndpointSlice) string {
	if after != nil {
		return after.ServiceKey()
	}
	return before.ServiceKey()
}

// hasHost tells whether an endpoint of a slice may be this host itself: it is here, and no pod's network has its address.
func (a *Agent) hasHost(s *kube.EndpointSlice) bool {
	return s != nil && slices.ContainsFunc(s.Endpoints, func(e kube.Endpoint) bool {
		inPool := func(p netip.Prefix) bool { return p.Contains(e.Address) }
		return e.Node == a.cfg.NodeName && !slices.ContainsFunc(a.clusterPrefixes(), inPool)
	})
}

// runServices follows services, and does on this node what they need, until ctx ends.
func (a *Agent) runServices(ctx context.Context) {
	var wg sync.WaitGroup
	for _, run := range []func(context.Context){
		a.health.Run, a.rules.Run, a.sweeper.Run,
		func(ctx context.Context) { a.services.Run(ctx, kube.Services(a.kube.CoreV1())) },
		func(ctx context.Context) { a.slices.Run(ctx, kube.EndpointSlices(a.kube.DiscoveryV1())) },
		func(ctx context.Context) { a.serviceNetworks.Run(ctx, kube.ServiceCIDRs(a.kube.NetworkingV1())) },
		func(ctx context.Context) { whenClosed(ctx, a.services.Synced(), a.loops.gateway.Wake) },
		func(ctx context.Context) { whenClosed(ctx, a.slices.Synced(), a.loops.gateway.Wake) },
		func(ctx context.Context) { whenClosed(ctx, a.serviceNetworks.Synced(), a.wakeForServiceCIDRs) },
	} {
		wg.Go(func() { run(ctx) })
	}
	wg.Wait()
}

func whenClosed(ctx context.Context, closed <-chan struct{}, do func()) {
	select {
	case <-closed:
		do()
	case <-ctx.Done():
	}
}

// flowsFirst returns when the external bridge's flows are as services are now. A connection from outside that the host's
// netfilter has taken, since its rules were there before the flows, would break when the flows lead it to the gateway router.
func (a *Agent) flowsFirst(ctx context.Context) {
	a.loops.gateway.Settle(ctx)
}

// decided are the services for which it is known by which way packets from outside reach them.
func (a *Agent) decided() []*kube.Service {
	return slices.DeleteFunc(a.services.All(), func(s *kube.Service) bool { return s.Undecided(a.endpoints.Of(s.Key())) })
}

// frontends are the ports at which the gateway router answers for services: in local mode those alone that the host's netfilter
// must not serve. The userspace datapath lets a packet pass
// connection tracking six times; to a pod by way of a node port it would have to be seven, unless the client's address
// is kept. There the host's netfilter takes the other node ports.
func (a *Agent) frontends(addresses []netip.Addr) gateway.Frontends {
	f := gateway.Frontends{Addresses: addresses, NodePorts: gateway.AllNodePorts}
	switch {
	case a.cfg.GatewayMode == names.GatewayModeLocal:
		f.NodePorts, f.RestrictedOnly = gateway.NoNodePorts, true
	case !a.cfg.NodePort:
		f.NodePorts = gateway.NoNodePorts
	case a.userspace():
		f.NodePorts = gateway.LocalNodePorts
	}
	return f
}

// hostServes is Frontends.HostServes for a host with these addresses.
func (a *Agent) hostServes(own []netip.Addr) func(*kube.Service, kube.ServicePort, bool) bool {
	return func(s *kube.Service, port kube.ServicePort, v4 bool) bool {
		return slices.ContainsFunc(kube.UsableOn(a.cfg.NodeName, a.endpoints.Of(s.Key()), port, v4), func(e netip.AddrPort) bool {
			return slices.Contains(own, e.Addr())
		})
	}
}

// ownAddresses are the host's, of all devices.
func ownAddresses() ([]netip.Addr, error) {
	addresses, err := hostnet.HostAddresses(names.ManagementPort)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(hosts(addresses), names.IsMasquerade), nil
}

func (a *Agent) netfilterFacts() (netfilter.Facts, error) {
	subnets := a.facts.getSubnets()
	if len(subnets) == 0 {
		return netfilter.Facts{}, noSubnets(a.cfg.NodeName)
	}
	own, err := ownAddresses()
	if err != nil {
		return netfilter.Facts{}, err
	}
	return netfilter.Facts{
		Node: a.cfg.NodeName, Addresses: own, Subnets: subnets, ServiceCIDRs: a.serviceCIDRs(), NoNodePorts: !a.cfg.NodePort,
	}, nil
}
