package hostnet

import (
	"net"
	"net/netip"
	"time"
)

// Link is what matters of a network device.
type Link struct {
	Index int
	Name  string
	MAC   net.HardwareAddr
	// MTU in bytes.
	MTU int
	// Up is the administrative state, Carrier whether there is something at the other end: for a device of the
	// userspace datapath, ovs-vswitchd.
	Up      bool
	Carrier bool
}

// Address is an address on a device.
type Address struct {
	// Prefix is the address with the length of its subnet.
	Prefix netip.Prefix `json:"prefix"`
	// NoPrefixRoute keeps the kernel from making the subnet's route by itself.
	NoPrefixRoute bool `json:"noprefixroute,omitempty"`
	// Deprecated keeps the host from choosing the address as a source by itself (IPv6, RFC 4862). Only AddAddress
	// looks at it.
	Deprecated bool `json:"-"`
	// Broadcast is the subnet's IPv4 broadcast address, or the zero Addr for none.
	Broadcast netip.Addr `json:"brd,omitzero"`
	// Expires is when the kernel removes the address; the zero time means never.
	Expires time.Time `json:"expires,omitzero"`
}

// Expired tells whether the address' lifetime has passed.
func (a Address) Expired(now time.Time) bool { return !a.Expires.IsZero() && !a.Expires.After(now) }

// Route is a route over one device.
type Route struct {
	Destination netip.Prefix `json:"dst"`
	// Gateway is the next hop; the zero Addr means on link.
	Gateway netip.Addr `json:"via,omitzero"`
	// Source is the preferred source address, or the zero Addr.
	Source netip.Addr `json:"src,omitzero"`
	// Metric as the kernel shows it: IPv6 routes without one have 1024.
	Metric int `json:"metric,omitempty"`
	// Table is the routing table's number; 254 is main.
	Table int `json:"table"`
	// Protocol says who made the route (RTPROT_*).
	Protocol int `json:"proto,omitempty"`
	// Scope is that of IPv4 routes (RT_SCOPE_*).
	Scope int `json:"scope,omitempty"`
	// OnLink skips the check that the gateway is reachable on link.
	OnLink bool `json:"onlink,omitempty"`
	// MTU of the path in bytes; 0 means that of the device.
	MTU int `json:"mtu,omitempty"`
}

// Neighbour is an entry of the ARP or neighbour discovery table.
type Neighbour struct {
	Address   netip.Addr
	MAC       net.HardwareAddr
	Permanent bool
}

// Device is all that was observed of a device.
type Device struct {
	Link
	// Addresses of global scope; link-local ones belong to the kernel.
	Addresses []Address
	// Routes of all tables but local, without those of link-local and multicast destinations.
	Routes []Route
	// Neighbours that are permanent.
	Neighbours []Neighbour
}

// Routes' constants, as in linux/rtnetlink.h.
const (
	MainTable       = 254
	DefaultMetricV6 = 1024
	ScopeUniverse   = 0
	ScopeLink       = 253
	ProtocolKernel  = 2
	ProtocolStatic  = 4
	ProtocolRA      = 9
)

// Key is what makes a route unique on its device.
type Key struct {
	Destination netip.Prefix
	Table       int
	Metric      int
}

// Key returns the route's key.
func (r Route) Key() Key { return Key{r.Destination, r.Table, r.Metric} }

// sameEffect tells whether packets take the same way over both routes.
func (r Route) sameEffect(o Route) bool {
	return r.Key() == o.Key() && r.Gateway == o.Gateway && r.Source == o.Source && r.MTU == o.MTU
}
