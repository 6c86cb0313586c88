package ovs

import (
	"net/netip"
	"slices"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/vswitchdb"
)

// Types of datapaths, ports and fail modes (see ovs-vswitchd.conf.db(5)).
const (
	System     = "system"
	Netdev     = "netdev"
	Internal   = "internal"
	Geneve     = "geneve"
	FailSecure = "secure"
	// FailStandalone is the value for "not set" too: the bridge is a learning switch.
	FailStandalone = ""
)

// Bridge is a row of the Bridge table.
type Bridge struct {
	Name         string
	DatapathType string
	FailMode     string
	// Protocols are the versions of OpenFlow that controllers may speak. In a Desired, nil leaves them alone; a change
	// makes ovs-vswitchd end all controllers' connections.
	Protocols   []string
	OtherConfig map[string]string
	ExternalIDs map[string]string
}

// Port is a port with its single interface of the same name.
type Port struct {
	Name   string
	Bridge string
	// Type is Internal, or "" for a device of the host.
	Type string
	// MAC of an internal port; "" lets Open vSwitch choose.
	MAC string
	// MTU asks for an MTU in bytes; 0 does not.
	MTU int
	// ExternalIDs of the interface.
	ExternalIDs map[string]string
	// Transient marks a new port as one that ovs-ctl may delete at boot (see ovs-ctl(8), delete-transient-ports).
	Transient bool
}

// PortState is a port as the database shows it.
type PortState struct {
	Port
	// OFPort is the OpenFlow port number: 0 while ovs-vswitchd has not looked at it, -1 when it failed.
	OFPort int
	// Error is why it failed.
	Error string
	// Remote is the far end of a tunnel; the zero Addr where there is none.
	Remote netip.Addr

	portUUID, interfaceUUID string
}

// ID changes when the port is deleted and made again.
func (p PortState) ID() string { return p.interfaceUUID }

// Attached tells whether ovs-vswitchd has the port in its datapath.
func (p PortState) Attached() bool { return p.OFPort > 0 }

// SSL is the row of the SSL table that the Open_vSwitch table refers to: what ovn-controller connects with.
type SSL struct {
	PrivateKey, Certificate, CACert string
}

// State is the part of the database that matters here.
type State struct {
	// SSL is nil where there is none. SSLOwned tells whether the agent has made it.
	SSL      *SSL
	SSLOwned bool
	// ExternalIDs of the Open_vSwitch table's only row.
	ExternalIDs map[string]string
	Bridges     map[string]Bridge
	Ports       map[string]PortState
	// Capabilities of the datapaths, by type; a type that ovs-vswitchd has not made yet is missing.
	Capabilities map[string]map[string]string

	rootUUID      string
	sslUUID       string
	bridgeUUIDs   map[string]string
	datapathUUIDs map[string]string
}

// BridgeID changes when the bridge is deleted and made again; it is empty when there is no such bridge.
func (s State) BridgeID(name string) string { return s.bridgeUUIDs[name] }

// WithID returns p with that ID. For tests.
func WithID(p PortState, id string) PortState {
	p.interfaceUUID = id
	return p
}

// WithBridgeID returns s with a bridge of that id. For tests.
func WithBridgeID(s State, bridge, id string) State {
	s.bridgeUUIDs = map[string]string{bridge: id}
	return s
}

// Monitors are the tables and columns that State needs.
func Monitors() []ovsdb.Monitor {
	return []ovsdb.Monitor{
		{Table: vswitchdb.OpenvSwitchTable, Columns: []string{"bridges", "datapaths", "external_ids", "ssl"}},
		{Table: vswitchdb.SSLTable},
		{Table: vswitchdb.DatapathTable, Columns: []string{"capabilities"}},
		{Table: vswitchdb.BridgeTable, Columns: []string{"name", "datapath_type", "fail_mode", "protocols", "other_config", "external_ids", "ports"}},
		{Table: vswitchdb.PortTable, Columns: []string{"name", "interfaces"}},
		{Table: vswitchdb.InterfaceTable, Columns: []string{"name", "type", "mac", "mtu_request", "external_ids", "ofport", "error", "options"}},
	}
}

// Observe reads the state from the connection's cache.
func Observe(c *ovsdb.Client) State {
	s := State{
		Bridges: map[string]Bridge{}, Ports: map[string]PortState{}, Capabilities: map[string]map[string]string{}, bridgeUUIDs: map[string]string{},
	}
	datapaths := ovsdb.Rows[vswitchdb.Datapath](c)
	for uuid, root := range ovsdb.Rows[vswitchdb.OpenvSwitch](c) {
		s.rootUUID, s.ExternalIDs, s.datapathUUIDs = uuid, root.ExternalIDs, root.Datapaths
		s.sslUUID = deref(root.SSL)
		for kind, datapath := range root.Datapaths {
			if row := datapaths[datapath]; row != nil && len(row.Capabilities) > 0 {
				s.Capabilities[kind] = row.Capabilities
			}
		}
	}
	if row := ovsdb.Rows[vswitchdb.SSL](c)[s.sslUUID]; row != nil {
		s.SSL = &SSL{PrivateKey: row.PrivateKey, Certificate: row.Certificate, CACert: row.CaCert}
		s.SSLOwned = row.ExternalIDs[names.OwnerControllerKey] == names.ControllerName
	}
	ports := ovsdb.Rows[vswitchdb.Port](c)
	interfaces := ovsdb.Rows[vswitchdb.Interface](c)
	for uuid, b := range ovsdb.Rows[vswitchdb.Bridge](c) {
		s.bridgeUUIDs[b.Name] = uuid
		s.Bridges[b.Name] = Bridge{
			Name: b.Name, DatapathType: b.DatapathType, FailMode: deref(b.FailMode), Protocols: slices.Sorted(slices.Values(b.Protocols)),
			OtherConfig: b.OtherConfig, ExternalIDs: b.ExternalIDs,
		}
		for _, portUUID := range b.Ports {
			port := ports[portUUID]
			if port == nil || len(port.Interfaces) != 1 {
				continue // a bond, or half of an update: not ours
			}
			if i := interfaces[port.Interfaces[0]]; i != nil {
				s.Ports[port.Name] = portState(b.Name, portUUID, port.Interfaces[0], i)
			}
		}
	}
	return s
}

func portState(bridge, portUUID, interfaceUUID string, i *vswitchdb.Interface) PortState {
	return PortState{
		Port: Port{
			Name: i.Name, Bridge: bridge, Type: i.Type, MAC: deref(i.MAC), MTU: deref(i.MTURequest), ExternalIDs: i.ExternalIDs,
		},
		OFPort: deref(i.Ofport), Error: deref(i.Error), Remote: remote(i.Options),
		portUUID: portUUID, interfaceUUID: interfaceUUID,
	}
}

// remote is the far end in a tunnel's options; other forms ("flow") are none.
func remote(options map[string]string) netip.Addr {
	a, err := netip.ParseAddr(options["remote_ip"])
	if err != nil {
		return netip.Addr{}
	}
	return a
}

func deref[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}
