package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/bridge"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/mgmtport"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/mtu"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/reconcile"
)

// reconcileUplink lets the external bridge take over the NIC.
func (a *Agent) reconcileUplink(ctx context.Context) error {
	state := ovs.Observe(a.db)
	defaults, err := hostnet.DefaultDevices()
	if err != nil {
		return err
	}
	nic, err := chooseNIC(state, a.cfg.GatewayInterface, defaults)
	if err != nil {
		return err
	}
	plan, err := a.bridge.TakeOver(ctx, bridge.Config{NIC: nic, DatapathType: a.datapathType})
	if len(plan.Record.Addresses) > 0 && a.facts.setUplink(plan.Record) {
		a.loops.chassis.Wake()
		a.loops.mgmtport.Wake()
		a.loops.gateway.Wake()
		a.loops.annotations.Wake()
	}
	if err != nil {
		return err
	}
	if plan.Again > 0 {
		time.AfterFunc(plan.Again, a.loops.uplink.Wake)
	}
	if plan.Waiting != "" {
		return reconcile.Waiting(plan.Waiting)
	}
	return nil
}

// reconcileChassis keeps the integration bridge and ovn-controller's settings.
func (a *Agent) reconcileChassis(ctx context.Context) error {
	uplink, known := a.facts.getUplink()
	if !known {
		return reconcile.Waiting("the physical NIC is not known yet")
	}
	state := ovs.Observe(a.db)
	encap := a.cfg.EncapIP
	if !encap.IsValid() {
		encap = a.defaultEncap(uplink, state)
	}
	carrier, err := tunnelDevice(uplink, encap, hostnet.Carrier)
	if err != nil {
		return err
	}
	a.facts.setTunnelDevice(carrier.Name)
	if err := a.checkMTU(carrier, encap); err != nil {
		return err
	}
	id := state.ExternalIDs[names.OVSSystemID]
	if id == "" {
		id = a.facts.getSystemID()
	} else if a.facts.setSystemID(id) {
		a.loops.annotations.Wake()
	}
	port, err := hostnet.Observe(names.ManagementPort)
	if err != nil {
		return err
	}
	bridge := integrationBridge(a.datapathType)
	emptied := a.facts.takeEmptied()
	if emptied {
		a.integration.refill(state, &bridge, time.Now())
	}
	hasFlows, again := a.integration.hasFlows(state, port != nil && port.Carrier, time.Now())
	if again > 0 {
		time.AfterFunc(again, a.loops.chassis.Wake)
	}
	desired := ovs.Desired{
		ExternalIDs:  chassisSettings(a.cfg, id, a.datapathType, encap, hasFlows),
		Bridges:      []ovs.Bridge{bridge},
		Ports:        []ovs.Port{{Name: bridge.Name, Bridge: bridge.Name, Type: ovs.Internal}},
		Capabilities: map[string]map[string]string{ovs.Netdev: hiddenCapabilities()},
	}
	lost, err := a.integration.lostPorts(state, hostnet.Exists)
	if err != nil {
		return err
	}
	desired.Ports = append(desired.Ports, lost...)
	incomplete := addCredentials(&desired, state, a.cfg)
	if _, err = ovs.Ensure(ctx, a.db, desired); err != nil {
		if emptied {
			a.facts.setEmptied(true)
		}
		return err
	}
	return incomplete
}

// defaultEncap is where the tunnels end when nobody has said it: at the address by which Kubernetes knows the node.
func (a *Agent) defaultEncap(uplink bridge.Record, s ovs.State) netip.Addr {
	var known []netip.Addr
	if node, ok := a.node.Get(a.cfg.NodeName); ok {
		known = node.Addresses
	} else if current, err := netip.ParseAddr(s.ExternalIDs[names.OVNEncapIP]); err == nil {
		known = []netip.Addr{current} // a restart must not move the tunnels
	}
	return encapAddress(uplink, known, a.cfg.ClusterSubnets[0].Prefix.Addr().Is4())
}

// encapAddress chooses among the uplink's addresses: the first known one, else the first; of the wanted family, if the uplink has
// one of it.
func encapAddress(uplink bridge.Record, known []netip.Addr, v4 bool) netip.Addr {
	primary := uplink.Primary(v4)
	for _, k := range known {
		onUplink := slices.ContainsFunc(uplink.Addresses, func(a hostnet.Address) bool { return a.Prefix.Addr() == k })
		if onUplink && k.Is4() == primary.Is4() {
			return k
		}
	}
	return primary
}

// tunnelDevice is the device through which the tunnels leave: the uplink, or the one that carries --encap-ip.
func tunnelDevice(uplink bridge.Record, encap netip.Addr, carrier func(netip.Addr) (*hostnet.Link, error)) (hostnet.Link, error) {
	if slices.ContainsFunc(uplink.Addresses, func(a hostnet.Address) bool { return a.Prefix.Addr() == encap }) {
		return hostnet.Link{Name: uplink.NIC, MTU: uplink.MTU}, nil
	}
	link, err := carrier(encap)
	if err != nil {
		return hostnet.Link{}, err
	}
	if link == nil {
		return hostnet.Link{}, reconcile.Waiting(fmt.Sprintf("--encap-ip %s is on no device of this host: set it to one of the host's addresses, or leave it out for that of %s", encap, uplink.NIC))
	}
	return *link, nil
}

// checkMTU refuses to go on when pods' packets would not fit.
func (a *Agent) checkMTU(carrier hostnet.Link, encap netip.Addr) error {
	err := mtu.Check(a.cfg.MTU, carrier.Name, carrier.MTU, encap)
	if a.facts.setMTUProblem(err) {
		a.loops.mgmtport.Wake()
		a.loops.annotations.Wake()
	}
	if err != nil {
		return reconcile.Waiting(err.Error())
	}
	return nil
}

// reconcileManagementPort keeps the management port: in Open vSwitch, and as a device of the host.
func (a *Agent) reconcileManagementPort(ctx context.Context) error {
	if err := a.facts.getMTUProblem(); err != nil {
		return reconcile.Waiting(err.Error())
	}
	uplink, known := a.facts.getUplink()
	if !known { // forwarding is switched on only when the NIC's settings are recorded
		return reconcile.Waiting("the physical NIC is not known yet")
	}
	if err := checkPools(uplink, a.clusterPrefixes()); err != nil {
		return err
	}
	subnets := a.facts.getSubnets()
	if len(subnets) == 0 {
		return noSubnets(a.cfg.NodeName)
	}
	state := ovs.Observe(a.db)
	if _, ok := state.Bridges[names.IntegrationBridge]; !ok {
		return reconcile.Waiting("there is no bridge " + names.IntegrationBridge)
	}
	c := a.managementPort(subnets)
	if _, err := ovs.Ensure(ctx, a.db, ovs.Desired{Ports: []ovs.Port{mgmtport.Port(c)}}); err != nil {
		return err
	}
	device, err := hostnet.Observe(names.ManagementPort)
	if err != nil {
		return err
	}
	if device == nil || device.MAC.String() != c.MAC().String() {
		return reconcile.Waiting("ovs-vswitchd has not made the device " + names.ManagementPort)
	}
	desired := mgmtport.Device(c)
	settings, err := hostnet.ObserveSettings(desired)
	if err != nil {
		return err
	}
	actions := hostnet.Plan(device, settings, desired)
	for _, action := range actions {
		klog.InfoS("Management port", "action", action)
	}
	return hostnet.Apply(ctx, actions...)
}

// checkPools refuses pools that lie over the host's own network: the route to them would lead into the tunnels what
// belongs to the wire, and cut the node off.
func checkPools(uplink bridge.Record, pools []netip.Prefix) error {
	for _, address := range wireAddresses(uplink) {
		for _, pool := range pools {
			if pool.Contains(address) {
				return reconcile.Waiting(fmt.Sprintf("--cluster-subnets %s overlaps the network of %s, which has %s: choose pools that no host's network uses", pool, uplink.NIC, address))
			}
		}
	}
	return nil
}

// wireAddresses are the host's on the wire, and those of its next hops there.
func wireAddresses(uplink bridge.Record) []netip.Addr {
	var out []netip.Addr
	for _, a := range uplink.Addresses {
		out = append(out, a.Prefix.Addr())
	}
	for _, r := range uplink.Routes {
		if r.Gateway.IsValid() {
			out = append(out, r.Gateway)
		}
	}
	return out
}

func noSubnets(node string) error {
	return reconcile.Waiting(fmt.Sprintf("the master has not given node %s a subnet (annotation %s)", node, names.NodeSubnetsAnnotation))
}

func (a *Agent) managementPort(subnets []netip.Prefix) mgmtport.Config {
	return mgmtport.Config{
		Node: a.cfg.NodeName, Subnets: subnets, ClusterSubnets: a.clusterPrefixes(), MTU: a.cfg.MTU, Userspace: a.userspace(),
	}
}

func remembered(s ovs.State, node string) ([]netip.Prefix, error) {
	if s.Ports[names.ManagementPort].ExternalIDs[names.IfaceID] != names.ManagementLogicalPort(node) {
		return nil, nil
	}
	return mgmtport.Remembered(s)
}

// learnSubnets takes the node's subnets from its annotation. A bad or missing annotation changes nothing.
func (a *Agent) learnSubnets(node *kube.Node) {
	subnets, err := annotations.ParseNodeSubnets(node.Annotations)
	if errors.Is(err, annotations.ErrMissing) {
		return
	}
	if err != nil {
		a.events.Warn(node.Ref(), "BadNodeSubnets", err.Error())
		return
	}
	if a.facts.setSubnets(subnets) {
		klog.InfoS("The node's subnets", "subnets", subnets)
		a.loops.mgmtport.Wake()
		a.loops.gateway.Wake()
		a.loops.masquerade.Wake()
		a.rules.Wake()
	}
}

// reconcileMasquerade keeps the rules that give pods' traffic the host's address, as long as it comes through the
// host, and the host's traffic the source by which services know it; and the table that guards pods' veths.
func (a *Agent) reconcileMasquerade(ctx context.Context) error {
	if a.userspace() && a.opts.PodGuard.Name != "" {
		if _, err := a.tables.Ensure(ctx, a.opts.PodGuard); err != nil {
			return err
		}
	}
	subnets := a.facts.getSubnets()
	if len(subnets) == 0 {
		return noSubnets(a.cfg.NodeName)
	}
	if a.routed(ovs.Observe(a.db)) {
		subnets = nil // pods' packets get the node's address from the gateway router
	}
	table := nft.Masquerade(subnets, a.clusterPrefixes())
	table.Chains = append(table.Chains, nft.ToServices(a.serviceCIDRs()))
	_, err := a.tables.Ensure(ctx, table)
	return err
}

// reconcileAnnotations publishes on the Node what others need to know about it.
func (a *Agent) reconcileAnnotations(ctx context.Context) error {
	node, ok := a.node.Get(a.cfg.NodeName)
	if !ok {
		return nil // its coming is an event
	}
	if err := a.facts.getMTUProblem(); err != nil {
		a.events.Warn(node.Ref(), "ImpossibleMTU", err.Error())
	}
	addresses, err := hostnet.HostAddresses(names.ManagementPort)
	if err != nil {
		return err
	}
	addresses = slices.DeleteFunc(addresses, func(p netip.Prefix) bool { return names.IsMasquerade(p.Addr()) })
	want := map[string]string{names.HostCIDRsAnnotation: annotations.FormatHostCIDRs(addresses)}
	if gateway := a.facts.getGateway(); gateway != "" {
		want[names.L3GatewayConfigAnnotation] = gateway
	}
	if id := a.facts.getSystemID(); id != "" {
		want[names.NodeChassisIDAnnotation] = id
	}
	if subnets := a.facts.getSubnets(); len(subnets) > 0 {
		want[names.NodeMgmtPortMACAnnotation] = annotations.FormatMgmtPortMAC(a.managementPort(subnets).MAC())
	}
	maps.DeleteFunc(want, func(key, value string) bool { return node.Annotations[key] == value })
	if len(want) == 0 || a.published.underWay(node, want) {
		return nil
	}
	klog.InfoS("Publishing on the node", "annotations", slices.Sorted(maps.Keys(want)))
	if err := a.patcher.PatchNode(ctx, node.Ref(), want); err != nil {
		return err
	}
	a.published = published{node: node, values: want}
	return nil
}

// published is the last patch of the node.
type published struct {
	node   *kube.Node
	values map[string]string
}

// underWay tells whether these values were sent already and the watch has not shown anything newer since.
func (p published) underWay(node *kube.Node, values map[string]string) bool {
	return p.node == node && maps.Equal(p.values, values)
}

// reconcileReadiness finds out what is still missing, and lets pods be served when nothing is.
func (a *Agent) reconcileReadiness(context.Context) error {
	for _, l := range []*reconcile.Loop{a.loops.uplink, a.loops.chassis, a.loops.mgmtport, a.loops.masquerade} {
		if err := l.Err(); err != nil {
			return reconcile.Waiting(err.Error())
		}
	}
	if err := mgmtport.Missing(ovs.Observe(a.db)); err != nil {
		return reconcile.Waiting(err.Error())
	}
	if a.facts.setReady() {
		a.loops.chassis.Wake()
	}
	return nil
}
