package bridge

import (
	"slices"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
)

// GiveBack plans the way back: the NIC carries again what the record says; then the external bridge and the
// record go, in one transaction. Without a record there is nothing to give back.
func GiveBack(o Observed, c Config) Plan {
	p := Plan{Record: o.Record}
	if !o.HasRecord {
		return p
	}
	if o.NIC != nil {
		p.restore(o, o.Record.prune(o.Now, o.Bridge), c)
	}
	if len(p.Steps) == 0 { // seen to be in place: now the bridge may go
		p.ovs("remove the external bridge", ovs.Desired{
			AbsentBridges: []string{names.ExternalBridge}, AbsentExternalIDs: []string{names.UplinkRecord},
		})
	}
	return p
}

// restore puts everything back on the NIC, which works beside the bridge meanwhile.
func (p *Plan) restore(o Observed, r Record, c Config) {
	addresses := hostnet.Desired{Device: c.NIC, Addresses: r.Addresses, Sysctls: formerSysctls(r, c)}
	p.host(hostnet.Plan(o.NIC, hostnet.Settings{Sysctls: o.NICSysctls}, addresses)...)
	if o.Guarded {
		off := false
		p.Steps = append(p.Steps, Step{Guard: &off})
	}
	routes := hostnet.Desired{Device: c.NIC, Routes: slices.DeleteFunc(slices.Clone(r.Routes), r.kernelMakes)}
	p.host(hostnet.Plan(o.NIC, hostnet.Settings{}, routes)...)
	if o.Bridge != nil {
		p.host(leftovers(o.Bridge, o.NIC)...)
	}
}

// kernelMakes tells whether route comes by itself with one of the addresses.
func (r Record) kernelMakes(route hostnet.Route) bool {
	return route.Protocol == hostnet.ProtocolKernel && !route.Gateway.IsValid() &&
		slices.ContainsFunc(r.Addresses, func(a hostnet.Address) bool {
			return !a.NoPrefixRoute && a.Prefix.Masked() == route.Destination
		})
}

// formerSysctls are the values that the take-over has changed, as they were.
func formerSysctls(r Record, c Config) map[string]string {
	out := map[string]string{}
	for key := range silentSysctls(c.NIC) {
		if value, ok := r.Sysctls[key]; ok {
			out[key] = value
		}
	}
	return out
}
