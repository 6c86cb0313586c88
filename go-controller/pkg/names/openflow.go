package names

// FlowCookie marks the agent's own flows on the external bridge.
const FlowCookie = 0xdeff105

// RestoredFlowCookie marks flows of the integration bridge that the agent has given back to a new ovs-vswitchd, until ovn-controller
// replaces them.
const RestoredFlowCookie = 0xdeff106

// Zones of connection tracking that the external bridge's flows use. ovn-controller takes its zones from the low
// end; the host's own connections are in zone 0. 64001-64003 are kept free: other implementations have them on the bridge.
const (
	// ZoneGateway remembers who has begun a connection with the outside: see MarkOVN and MarkHost.
	ZoneGateway = 64000
	// ZoneReassembly puts fragments together before their ports are looked at.
	ZoneReassembly = 64004
)

// Marks of connections in ZoneGateway.
const (
	// MarkOVN is on connections of the gateway router.
	MarkOVN = 0x1
	// MarkHost is on connections of the host.
	MarkHost = 0x2
)

// GenevePort is the UDP port of tunnels (RFC 8926).
const GenevePort = 6081
