package nbsync

import (
	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// tableSpec says what the schema does not: which columns are not ours and how rows are found again in
// tables that have no external_ids.
type tableSpec struct {
	// serverColumns are written by northd or the server. They are never compared, written or monitored.
	serverColumns []string
	// skipIf tells, by column, for which wanted rows the column belongs to somebody else.
	skipIf map[string]func(model.Model) bool
	// identity lists the columns that make up the row ID, joined by "|", where there is no external_ids.
	// Such rows carry no mark of their owner: all that have the identity of a wanted row are ours.
	identity []string
	// singleton is a table with one row that all systems share. Its maps are merged key by key, other
	// columns are written when they are not zero, and it is never deleted.
	singleton bool
}

// specs has an entry for each table that may hold rows of ours; tables without one are not used.
var specs = map[string]tableSpec{
	nbdb.ACLTable:                {},
	nbdb.AddressSetTable:         {},
	nbdb.BFDTable:                {serverColumns: []string{"status"}},
	nbdb.ChassisTemplateVarTable: {},
	nbdb.CoppTable:               {},
	nbdb.DHCPOptionsTable:        {},
	nbdb.DNSTable:                {},
	nbdb.ForwardingGroupTable:    {},
	nbdb.GatewayChassisTable:     {},
	nbdb.HAChassisTable:          {},
	nbdb.HAChassisGroupTable:     {},
	nbdb.LoadBalancerTable:       {},
	nbdb.LoadBalancerGroupTable:  {identity: []string{"name"}},

	nbdb.LoadBalancerHealthCheckTable:  {},
	nbdb.LogicalRouterTable:            {},
	nbdb.LogicalRouterPolicyTable:      {},
	nbdb.LogicalRouterPortTable:        {serverColumns: []string{"ipv6_prefix"}},
	nbdb.LogicalRouterStaticRouteTable: {},
	nbdb.LogicalSwitchTable:            {},
	nbdb.LogicalSwitchPortTable: {
		serverColumns: []string{"up", "dynamic_addresses"},
		// northd answers tag_request with a tag: ovn-nb(5), "tag_request".
		skipIf: map[string]func(model.Model) bool{"tag": func(m model.Model) bool {
			p, ok := m.(*nbdb.LogicalSwitchPort)
			return ok && p.TagRequest != nil
		}},
	},
	nbdb.MeterTable:     {},
	nbdb.MeterBandTable: {},
	nbdb.MirrorTable:    {},
	nbdb.NATTable:       {},
	nbdb.NBGlobalTable: {
		singleton: true,
		serverColumns: []string{"nb_cfg", "nb_cfg_timestamp", "sb_cfg", "sb_cfg_timestamp", "hv_cfg",
			"hv_cfg_timestamp", "connections", "ssl"},
	},
	nbdb.PortGroupTable:        {},
	nbdb.QoSTable:              {},
	nbdb.StaticMACBindingTable: {identity: []string{"logical_port", "ip"}},
}
