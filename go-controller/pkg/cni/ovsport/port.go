// Package ovsport keeps the pods' ports on the integration bridge, in the local Open_vSwitch database.
//
// A port is one Port row with one Interface row of the same name. ovn-controller binds it to the logical
// port in external_ids:iface-id and sets external_ids:ovn-installed=true on the Interface once the port's flows
// are in the switch (see ovn-controller(8)).
package ovsport

import (
	"maps"
	"strings"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/vswitchdb"
)

const (
	switchTable    = "Open_vSwitch"
	bridgeTable    = "Bridge"
	portTable      = "Port"
	interfaceTable = "Interface"
	// transientKey marks ports that ovs-ctl may delete at boot (see ovs-ctl(8), "delete-transient-ports").
	transientKey = "transient"
)

// Port is a pod's port as the CNI server wants it.
type Port struct {
	// Name is that of the Port and Interface rows and of the veth.
	Name string
	// LogicalPort and LogicalPortVersion become iface-id and iface-id-ver.
	LogicalPort, LogicalPortVersion string
	MAC                             string
	// Addresses are the pod's, with prefix length.
	Addresses []string
	// Sandbox is the ID of the pod's sandbox.
	Sandbox string
	// PodInterface is the interface's name inside of the pod.
	PodInterface string
}

// Status is a port as the database shows it.
type Status struct {
	Name        string
	ExternalIDs map[string]string
	// OnBridge tells whether the integration bridge has the port.
	OnBridge bool
	// OFPort is the OpenFlow port number; 0 when ovs-vswitchd has not taken the port up yet.
	OFPort int
	// Error is ovs-vswitchd's, empty when there is none.
	Error string
}

// Sandbox is the ID of the sandbox that the port was made for.
func (s Status) Sandbox() string { return s.ExternalIDs[names.IfaceSandbox] }

// PodInterface is the name of the interface inside of the pod.
func (s Status) PodInterface() string { return s.ExternalIDs[names.IfacePodName] }

// LogicalPort is the iface-id.
func (s Status) LogicalPort() string { return s.ExternalIDs[names.IfaceID] }

// Installed tells whether ovn-controller has put the port's flows into the switch.
func (s Status) Installed() bool { return s.ExternalIDs[names.OVNInstalled] == "true" }

// Differences says in which ways s is not what p wants; none means that it is.
func (s Status) Differences(p Port) []string {
	var out []string
	if !s.OnBridge {
		out = append(out, "is not on "+names.IntegrationBridge)
	}
	for key, want := range p.ExternalIDs() {
		if got := s.ExternalIDs[key]; got != want {
			out = append(out, "external_ids:"+key+" is \""+got+"\" and not \""+want+"\"")
		}
	}
	return out
}

// ExternalIDs are those of the Interface row.
func (p Port) ExternalIDs() map[string]string {
	ids := map[string]string{
		names.IfaceID:      p.LogicalPort,
		names.IfaceMAC:     p.MAC,
		names.IfaceIPs:     strings.Join(p.Addresses, ","),
		names.IfaceSandbox: p.Sandbox,
		names.IfacePodName: p.PodInterface,
		names.IfaceNetwork: names.DefaultNetwork,
		names.IfaceNAD:     names.DefaultNetwork,
	}
	if p.LogicalPortVersion != "" {
		ids[names.IfaceIDVer] = p.LogicalPortVersion
	}
	return ids
}

// insertOps returns the operations that create the port's rows, and the named UUID of the Port row.
// tag keeps named UUIDs apart within a transaction.
func (p Port) insertOps(tag string) ([]libovsdb.Operation, libovsdb.UUID) {
	ids := make(map[any]any)
	for k, v := range p.ExternalIDs() {
		ids[k] = v
	}
	port := libovsdb.UUID{GoUUID: "port" + tag}
	return []libovsdb.Operation{
		{
			Op:       libovsdb.OperationInsert,
			Table:    interfaceTable,
			UUIDName: "iface" + tag,
			Row:      libovsdb.Row{"name": p.Name, "external_ids": libovsdb.OvsMap{GoMap: ids}},
		},
		{
			Op:       libovsdb.OperationInsert,
			Table:    portTable,
			UUIDName: port.GoUUID,
			Row: libovsdb.Row{
				"name":         p.Name,
				"interfaces":   libovsdb.UUID{GoUUID: "iface" + tag},
				"other_config": libovsdb.OvsMap{GoMap: map[any]any{transientKey: "true"}},
			},
		},
	}, port
}

// mutateBridge returns the operation that adds ports to, or takes them from, the integration bridge.
// Rows that nothing refers to any more go by themselves.
func mutateBridge(mutator libovsdb.Mutator, ports []libovsdb.UUID) libovsdb.Operation {
	set := libovsdb.OvsSet{}
	for _, p := range ports {
		set.GoSet = append(set.GoSet, p)
	}
	return libovsdb.Operation{
		Op:        libovsdb.OperationMutate,
		Table:     bridgeTable,
		Where:     []libovsdb.Condition{libovsdb.NewCondition("name", libovsdb.ConditionEqual, names.IntegrationBridge)},
		Mutations: []libovsdb.Mutation{*libovsdb.NewMutation("ports", mutator, set)},
	}
}

func statusOf(i *vswitchdb.Interface) Status {
	s := Status{Name: i.Name, ExternalIDs: maps.Clone(i.ExternalIDs)}
	if i.Ofport != nil {
		s.OFPort = *i.Ofport
	}
	if i.Error != nil {
		s.Error = *i.Error
	}
	return s
}
