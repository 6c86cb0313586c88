package topology

import (
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// protected returns the kinds of packets (keys of Copp.meters in ovn-nb(5)) that ovn-controller works on one by one. BFD is not among
// them: who sends it must not be stopped.
func protected() []string {
	return []string{
		"arp", "arp-resolve", "nd-na", "nd-ns", "nd-ns-resolve", "nd-ra-opts",
		"icmp4-error", "icmp6-error", "reject", "tcp-reset",
		"dhcpv4-opts", "dhcpv6-opts", "dns", "event-elb", "igmp", "svc-monitor",
	}
}

const (
	// protectedRate is how many packets a second of one kind reach ovn-controller on a node, for each Copp row. Refusals of connections and
	// neighbour discovery of a busy node stay below it; the processor time it costs is in docs/design/hostile-inputs.md.
	protectedRate = 500
	// protectedBurst is how many more may come at once: hundreds of pods of a node that resolve their router when it starts.
	protectedBurst = 500
)

// ProtectionRows keep what pods and others send from taking all of the time of the nodes' OVN controllers, and pods from speaking for
// routers and hosts. The rows of ClusterRows and NodeRows refer to them.
func ProtectionRows() nbstate.Desired {
	var d desired
	d.protection(names.ProtectPods)
	d.protection(names.ProtectGateways)
	d.silence()
	return d.Desired
}

// protection is a Copp row with a meter for each kind of packet. Each meter exists once on a node, for all switches and routers
// that refer to the row.
func (d *desired) protection(copp string) {
	row := &nbdb.Copp{Name: copp, Meters: map[string]string{}}
	fair := true
	for _, kind := range protected() {
		meter := names.ProtectionMeter(copp, kind)
		d.Rows = append(d.Rows,
			nbstate.Row{ID: meter, Model: &nbdb.MeterBand{Action: nbdb.MeterBandActionDrop, Rate: protectedRate, BurstSize: protectedBurst}},
			nbstate.Row{ID: meter, Model: &nbdb.Meter{Name: meter, Fair: &fair, Unit: nbdb.MeterUnitPktps, Bands: []string{meter}}})
		row.Meters[kind] = meter
	}
	d.row(copp, row)
}

// protectedBy refers to a Copp row.
func protectedBy(copp string) *string { return &copp }
