package nbstate

import (
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// sharedColumns lists the set columns that many owners contribute to, by table, with the table that they
// refer to ("" for plain strings). Only members fill them; a row's own model must leave them empty.
var sharedColumns = map[string]map[string]string{
	nbdb.LogicalSwitchTable: {
		"ports":               nbdb.LogicalSwitchPortTable,
		"acls":                nbdb.ACLTable,
		"qos_rules":           nbdb.QoSTable,
		"load_balancer":       nbdb.LoadBalancerTable,
		"load_balancer_group": nbdb.LoadBalancerGroupTable,
		"dns_records":         nbdb.DNSTable,
		"forwarding_groups":   nbdb.ForwardingGroupTable,
	},
	nbdb.LogicalRouterTable: {
		"ports":               nbdb.LogicalRouterPortTable,
		"static_routes":       nbdb.LogicalRouterStaticRouteTable,
		"policies":            nbdb.LogicalRouterPolicyTable,
		"nat":                 nbdb.NATTable,
		"load_balancer":       nbdb.LoadBalancerTable,
		"load_balancer_group": nbdb.LoadBalancerGroupTable,
	},
	nbdb.PortGroupTable: {
		"ports": nbdb.LogicalSwitchPortTable,
		"acls":  nbdb.ACLTable,
	},
	nbdb.AddressSetTable:        {"addresses": ""},
	nbdb.LoadBalancerGroupTable: {"load_balancer": nbdb.LoadBalancerTable},
}

// SharedColumns returns the shared columns of a table and the tables that they refer to ("" for plain
// strings). The map must not be changed.
func SharedColumns(table string) map[string]string { return sharedColumns[table] }
