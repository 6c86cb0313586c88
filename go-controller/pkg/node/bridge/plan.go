package bridge

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
)

// Config is what the administrator, or detection, has chosen.
type Config struct {
	// NIC is the physical device.
	NIC string
	// DatapathType is ovs.System or ovs.Netdev.
	DatapathType string
}

func (c Config) userspace() bool { return c.DatapathType == ovs.Netdev }

// Observed is all that a plan depends on.
type Observed struct {
	OVS       ovs.State
	Record    Record
	HasRecord bool
	// NIC and Bridge are nil when there is no such device.
	NIC    *hostnet.Device
	Bridge *hostnet.Device
	// NICSysctls are the NIC's current settings that Plan may change; BridgeSettings those of the bridge.
	NICSysctls     map[string]string
	BridgeSettings hostnet.Settings
	// Guarded tells whether the drop behind the userspace datapath's NIC is in place.
	Guarded bool
	BootID  string
	Now     time.Time
	// Lost are addresses of the record that have gone from the bridge, and when; the zero time says before the first
	// observation. Came are those on the bridge that were not in the record at first, and when they came.
	Lost, Came map[netip.Prefix]time.Time
}

// Step is one thing to do. Exactly one field is set.
type Step struct {
	OVS *ovs.Desired
	// What says what OVS is for.
	What string
	Host hostnet.Action
	// Guard puts the drop in place (true) or removes it.
	Guard *bool
}

// String says in a line what the step does.
func (s Step) String() string {
	switch {
	case s.OVS != nil:
		return s.What
	case s.Host != nil:
		return s.Host.String()
	case s.Guard != nil && *s.Guard:
		return "drop what the userspace datapath handles on the NIC"
	case s.Guard != nil:
		return "let the host's stack receive from the NIC"
	}
	return "nothing"
}

// Plan is what to do next.
type Plan struct {
	Steps []Step
	// Waiting says what must happen before there can be more steps; its coming shows as an event.
	Waiting string
	// Again is when there may be more steps even if nothing happens; zero: never.
	Again time.Duration
	// Record is what the bridge should carry.
	Record Record
	// followed are addresses of the record that have taken the place of others.
	followed []netip.Prefix
}

// Done tells whether the bridge has taken over all.
func (p Plan) Done() bool { return len(p.Steps) == 0 && p.Waiting == "" }

// TakeOver plans how the external bridge comes to carry what the NIC carries.
func TakeOver(o Observed, c Config) Plan {
	record, followed, waiting := nextRecord(o, c)
	p := Plan{Waiting: waiting, Record: record, followed: followed}
	if waiting != "" {
		return p
	}
	if !o.HasRecord || record.encode() != o.Record.encode() {
		p.ovs("remember what the NIC carries", ovs.Desired{ExternalIDs: map[string]string{names.UplinkRecord: record.encode()}})
	}
	base := desiredBridge(record, c)
	if len(ovs.Plan(o.OVS, base)) > 0 {
		p.ovs("make the external bridge", base)
	}
	if p.Waiting = bridgeMissing(o, record); p.Waiting != "" {
		return p
	}
	carrier := desiredCarrier(o, record, c)
	routes := carrier.Routes
	carrier.Routes = nil
	p.host(hostnet.Plan(o.Bridge, o.BridgeSettings, carrier)...)
	if p.Waiting = p.attach(o, base, c); p.Waiting != "" {
		return p
	}
	carrier.Routes = routes
	p.move(o, carrier, c)
	if o.HasRecord {
		p.host(obsolete(o.Record, record, o.Bridge)...)
		p.host(endConnections(o.Record, record)...)
	}
	if c.userspace() {
		p.silence(o, c)
	}
	if _, _, p.Again = o.held(record); p.Again > 0 {
		p.Waiting = fmt.Sprintf("an address of %s has gone: it comes back unless another one comes in its place", names.ExternalBridge)
	}
	return p
}

// nextRecord decides what the bridge should carry from what was remembered and what is seen.
func nextRecord(o Observed, c Config) (record Record, followed []netip.Prefix, waiting string) {
	nicHasAddresses := o.NIC != nil && len(o.NIC.Addresses) > 0
	bridgeHasAddresses := o.Bridge != nil && len(ownAddresses(o.Bridge)) > 0
	port, attached := o.OVS.Ports[c.NIC]
	switch {
	case o.HasRecord && o.Record.NIC != c.NIC:
		return Record{}, nil, fmt.Sprintf("%s has taken over %s, but %s is configured: run `ovnkube node cleanup` first", names.ExternalBridge, o.Record.NIC, c.NIC)
	case o.HasRecord && o.Record.BootID != o.BootID && nicHasAddresses && !bridgeHasAddresses:
		record = snapshot(c.NIC, o.NIC, o) // the host has booted and was configured anew
	case o.HasRecord && o.NIC != nil:
		record = o.Record
		if bridgeHasAddresses {
			record = record.adopt(o.Bridge)
			record.BootID = o.BootID
		}
		record = record.merge(o.NIC)
	case o.HasRecord:
		record = o.Record
	case attached && port.Bridge == names.ExternalBridge && bridgeHasAddresses:
		record = snapshot(c.NIC, o.Bridge, o) // somebody else has made the bridge
		if o.NIC != nil {
			record = record.merge(o.NIC)
		}
	case nicHasAddresses:
		record = snapshot(c.NIC, o.NIC, o)
	case o.NIC == nil:
		return Record{}, nil, fmt.Sprintf("there is no device %s", c.NIC)
	default:
		return Record{}, nil, fmt.Sprintf("%s has no address", c.NIC)
	}
	record, followed = record.prune(o.Now, o.Bridge).follow(o)
	return record.ordered(), followed, ""
}

// ordered makes equal records have equal texts.
func (r Record) ordered() Record {
	r.Routes = slices.SortedStableFunc(slices.Values(r.Routes), func(a, b hostnet.Route) int {
		return cmp.Or(a.Destination.Compare(b.Destination), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Metric, b.Metric))
	})
	return r
}

func desiredBridge(r Record, c Config) ovs.Desired {
	return ovs.Desired{
		Bridges: []ovs.Bridge{{
			Name: names.ExternalBridge, DatapathType: c.DatapathType,
			OtherConfig: map[string]string{"hwaddr": r.MAC},
			ExternalIDs: map[string]string{names.BridgeUplink: r.NIC, names.OwnerControllerKey: names.ControllerName},
		}},
		Ports: []ovs.Port{{Name: names.ExternalBridge, Bridge: names.ExternalBridge, Type: ovs.Internal, MTU: r.MTU}},
	}
}

func bridgeMissing(o Observed, r Record) string {
	switch {
	case o.Bridge == nil:
		return "ovs-vswitchd has not made the device " + names.ExternalBridge + " yet"
	case o.Bridge.MAC.String() != r.MAC:
		return fmt.Sprintf("ovs-vswitchd has not given %s the address %s yet", names.ExternalBridge, r.MAC)
	}
	return ""
}

// desiredCarrier is the bridge's own device with all that the NIC had.
func desiredCarrier(o Observed, r Record, c Config) hostnet.Desired {
	d := hostnet.Desired{
		Device: names.ExternalBridge, MTU: r.MTU, NoTxChecksum: c.userspace(), Sysctls: bridgeSysctls(o, r),
	}
	heldV4, heldV6, _ := o.held(r)
	held := func(a netip.Addr) bool { return a.Is4() && heldV4 || a.Is6() && heldV6 }
	d.Routes = slices.DeleteFunc(slices.Clone(r.Routes), func(route hostnet.Route) bool { return held(route.Destination.Addr()) })
	for _, a := range r.Addresses {
		if held(a.Prefix.Addr()) {
			continue
		}
		a.NoPrefixRoute = true // the subnet's route moves later, as a step of its own
		d.Addresses = append(d.Addresses, a)
	}
	return d
}

// attach makes the NIC a port of the bridge. It returns what is missing until ovs-vswitchd has done so.
func (p *Plan) attach(o Observed, base ovs.Desired, c Config) (waiting string) {
	if o.NIC == nil {
		return fmt.Sprintf("there is no device %s", c.NIC)
	}
	if !o.NIC.Up {
		p.host(hostnet.SetLink{Device: c.NIC, Up: true})
	}
	base.Ports = append(base.Ports, ovs.Port{Name: c.NIC, Bridge: names.ExternalBridge})
	port, ok := o.OVS.Ports[c.NIC]
	if !ok || port.Bridge != names.ExternalBridge {
		p.ovs("make the NIC a port of the external bridge", base)
		return fmt.Sprintf("ovs-vswitchd has not attached %s to %s yet", c.NIC, names.ExternalBridge)
	}
	if !port.Attached() {
		return fmt.Sprintf("ovs-vswitchd has not attached %s to %s: %s", c.NIC, names.ExternalBridge, cmp.Or(port.Error, "not yet"))
	}
	return ""
}

// move switches routes over to the bridge and then takes the addresses off the NIC.
func (p *Plan) move(o Observed, carrier hostnet.Desired, c Config) {
	p.host(hostnet.Plan(o.Bridge, o.BridgeSettings, hostnet.Desired{Device: carrier.Device, Routes: carrier.Routes})...)
	for _, a := range o.NIC.Addresses {
		p.host(hostnet.DeleteAddress{Device: c.NIC, Address: a})
	}
	p.host(leftovers(o.NIC, o.Bridge)...)
}

// leftovers deletes routes that both devices have from the first.
func leftovers(from, to *hostnet.Device) []hostnet.Action {
	var out []hostnet.Action
	for _, route := range from.Routes {
		if slices.ContainsFunc(to.Routes, func(r hostnet.Route) bool { return r.Key() == route.Key() }) {
			out = append(out, hostnet.DeleteRoute{Device: from.Name, Route: route})
		}
	}
	return out
}

// silence keeps the host's stack from handling what the userspace datapath, which reads a copy of each
// packet, handles already.
func (p *Plan) silence(o Observed, c Config) {
	d := hostnet.Desired{Device: c.NIC, Sysctls: silentSysctls(c.NIC)}
	p.host(hostnet.Plan(o.NIC, hostnet.Settings{Sysctls: o.NICSysctls}, d)...)
	if !o.Guarded {
		on := true
		p.Steps = append(p.Steps, Step{Guard: &on})
	}
}

func (p *Plan) ovs(what string, d ovs.Desired) {
	p.Steps = append(p.Steps, Step{OVS: &d, What: what})
}

func (p *Plan) host(actions ...hostnet.Action) {
	for _, a := range actions {
		p.Steps = append(p.Steps, Step{Host: a})
	}
}
