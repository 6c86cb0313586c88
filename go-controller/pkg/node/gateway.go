package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/bridge"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/gateway"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/openflow"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/reconcile"
)

// Pauses between two tries to watch flows: a bridge that is being made again takes some tenths of a second.
const (
	minFlowWatchPause = 100 * time.Millisecond
	maxFlowWatchPause = time.Second
)

// reconcileGateway keeps what the host needs beside a gateway router, and says how the node leads out. It says so
// only when flows keep the two apart: both have the bridge's MAC and the node's addresses.
func (a *Agent) reconcileGateway(ctx context.Context) error {
	uplink, known := a.facts.getUplink()
	if !known {
		return reconcile.Waiting("the physical NIC is not known yet")
	}
	external, err := hostnet.Observe(names.ExternalBridge)
	if err != nil {
		return err
	}
	if external == nil {
		return reconcile.Waiting("there is no device " + names.ExternalBridge)
	}
	state := ovs.Observe(a.db)
	nic := state.Ports[uplink.NIC]
	if !nic.Attached() || nic.Bridge != names.ExternalBridge {
		return reconcile.Waiting(fmt.Sprintf("%s is not a port of %s", uplink.NIC, names.ExternalBridge))
	}
	addresses := gateway.Addresses(uplink.Addresses, a.clusterPrefixes())
	patch := state.Ports[names.PatchToIntegration(a.cfg.NodeName)]
	err = a.ensureFlows(ctx, gateway.Facts{
		MAC: external.MAC, NIC: nic.OFPort, Patch: max(patch.OFPort, 0),
		Addresses: hosts(addresses), ServiceCIDRs: a.serviceCIDRs(),
	})
	if err != nil {
		return err
	}
	if err := carries(external, addresses); err != nil {
		return err
	}
	if err := a.gatewayHost(ctx, external, addresses); err != nil {
		return err
	}
	a.announceGateway(annotations.GatewayConfig{
		Mode: a.cfg.GatewayMode, BridgeID: names.ExternalBridge, InterfaceID: names.ExternalLocalnetPort(a.cfg.NodeName),
		MAC: external.MAC, Addresses: addresses, NextHops: a.nextHops(external, uplink, addresses), NodePortEnable: a.cfg.NodePort,
	})
	return nil
}

// carries waits for the node's addresses on the external bridge: routes name them as sources, and the masquerade address must
// not become the bridge's first.
func carries(external *hostnet.Device, addresses []netip.Prefix) error {
	if len(addresses) == 0 {
		return reconcile.Waiting(fmt.Sprintf("%s has no address of the cluster's families", names.ExternalBridge))
	}
	for _, want := range addresses {
		if !slices.ContainsFunc(external.Addresses, func(a hostnet.Address) bool { return a.Prefix == want }) {
			return reconcile.Waiting(fmt.Sprintf("%s does not have the node's address %s", names.ExternalBridge, want))
		}
	}
	return nil
}

// ensureFlows keeps the external bridge's flows.
func (a *Agent) ensureFlows(ctx context.Context, f gateway.Facts) error {
	ensure := a.flows.Ensure
	// Asked before the services are read: a list that is completed in between must not pass for a complete one.
	allServices, allSlices := synced(a.services.Synced()), synced(a.slices.Synced())
	if !allServices || !allSlices {
		ensure = a.flows.Add // flows of services that are not known yet are not superfluous
	}
	own, err := ownAddresses()
	if err != nil {
		return err
	}
	frontends := a.frontends(f.Addresses)
	frontends.HostServes = a.hostServes(own)
	if !allSlices { // it may: nothing new takes packets away from the host
		frontends.HostServes = func(*kube.Service, kube.ServicePort, bool) bool { return true }
	}
	f.Ports = frontends.ServicePorts(a.decided())
	changes, err := ensure(ctx, gateway.Flows(f))
	if err != nil {
		return err
	}
	logFlows(changes)
	return nil
}

func synced(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (a *Agent) nextHops(external *hostnet.Device, uplink bridge.Record, addresses []netip.Prefix) []netip.Addr {
	// What the bridge is to carry follows what it carries: a route that somebody has deleted comes back.
	return gateway.NextHops(addresses, a.cfg.GatewayNextHops, slices.Concat(external.Routes, uplink.Routes))
}

// announceGateway lets the others know of the gateway.
func (a *Agent) announceGateway(c annotations.GatewayConfig) {
	if !a.facts.setGateway(annotations.FormatGatewayConfig(c)) {
		return
	}
	klog.InfoS("The node's gateway", "mode", c.Mode, "addresses", c.Addresses, "nextHops", c.NextHops)
	a.loops.annotations.Wake()
}

// routed tells whether pods' packets leave by the gateway router, and not through the host.
func (a *Agent) routed(s ovs.State) bool {
	return a.cfg.GatewayMode == names.GatewayModeShared && s.Ports[names.PatchToIntegration(a.cfg.NodeName)].Attached()
}

// gatewayHost keeps the host's addresses and routes for services.
func (a *Agent) gatewayHost(ctx context.Context, external *hostnet.Device, addresses []netip.Prefix) error {
	h := gateway.Host{Addresses: addresses, ServiceCIDRs: a.serviceCIDRs(), Subnets: a.facts.getSubnets(), MTU: a.cfg.MTU}
	actions := hostnet.Plan(external, hostnet.Settings{}, gateway.External(h))
	if a.loops.mgmtport.Err() == nil {
		management, err := hostnet.Observe(names.ManagementPort)
		if err != nil {
			return err
		}
		actions = append(actions, hostnet.Plan(management, hostnet.Settings{}, gateway.Management(h))...)
	}
	for _, action := range actions {
		klog.InfoS("Gateway", "action", action)
	}
	return hostnet.Apply(ctx, actions...)
}

// watchFlows wakes the gateway's loop when somebody changes flows of the external bridge.
func (a *Agent) watchFlows(ctx context.Context) {
	pause := minFlowWatchPause
	for ctx.Err() == nil {
		began := time.Now()
		err := a.flows.Watch(ctx, a.loops.gateway.Wake)
		if time.Since(began) > maxFlowWatchPause {
			pause = minFlowWatchPause
		}
		klog.V(2).InfoS("Flows are not watched; trying again", "bridge", names.ExternalBridge, "after", pause, "reason", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, maxFlowWatchPause)
	}
}

// flowsOf reaches the external bridge's flows; ovsdb is the endpoint of the local database.
func flowsOf(ovsdb string) *openflow.Keeper {
	return &openflow.Keeper{Bridge: openflow.Bridge{
		Name: names.ExternalBridge, Socket: openflow.SocketBeside(ovsdb, names.ExternalBridge), Cookie: names.FlowCookie,
	}, Learned: gateway.LearnedTables()}
}

// guard keeps a copy of the integration bridge's flows, for an ovs-vswitchd that has ended.
func (a *Agent) guard() *openflow.Guard {
	return &openflow.Guard{
		Bridge: openflow.Bridge{
			Name: names.IntegrationBridge, Socket: openflow.SocketBeside(a.cfg.OVSDB, names.IntegrationBridge), Cookie: names.RestoredFlowCookie,
		},
		File:       names.FlowCopy,
		Interfered: func() { a.facts.setEmptied(true); a.loops.chassis.Wake() },
	}
}

// logFlows names single changes; a bridge that is filled shows as one line.
func logFlows(changes []openflow.Change) {
	const few = 4
	if len(changes) > few {
		klog.InfoS("Changed flows", "bridge", names.ExternalBridge, "count", len(changes))
		return
	}
	for _, c := range changes {
		klog.InfoS("Changed flow", "bridge", names.ExternalBridge, "change", c)
	}
}

func hosts(prefixes []netip.Prefix) []netip.Addr {
	out := make([]netip.Addr, len(prefixes))
	for i, p := range prefixes {
		out[i] = p.Addr()
	}
	return out
}
