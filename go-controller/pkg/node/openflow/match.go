package openflow

import (
	"net"
	"net/netip"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
)

// Field is one condition of a match, see ovs-fields(7).
type Field func(*ovs.Flow)

// Local is the OpenFlow port of the bridge's own device (OFPP_LOCAL of the OpenFlow specification).
const Local = ovs.PortLOCAL

// Protocol is a transport protocol.
type Protocol string

// Protocols that have ports.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"
)

// ICMPv6Type is a type of ICMPv6 messages.
type ICMPv6Type uint8

// Types of neighbour discovery (RFC 4861) and of path MTU discovery (RFC 4443).
const (
	PacketTooBig           ICMPv6Type = 2
	RouterAdvertisement    ICMPv6Type = 134
	NeighbourAdvertisement ICMPv6Type = 136
)

func matches(m ...ovs.Match) Field {
	return func(f *ovs.Flow) { f.Matches = append(f.Matches, m...) }
}

// InPort matches packets that come from a port.
func InPort(port int) Field { return func(f *ovs.Flow) { f.InPort = port } }

// EthSrc matches the sender's link-layer address.
func EthSrc(mac net.HardwareAddr) Field { return matches(ovs.DataLinkSource(mac.String())) }

// EthDst matches the receiver's link-layer address.
func EthDst(mac net.HardwareAddr) Field { return matches(ovs.DataLinkDestination(mac.String())) }

// IP matches all packets of a family.
func IP(v4 bool) Field {
	if v4 {
		return protocol(ovs.ProtocolIPv4)
	}
	return protocol(ovs.ProtocolIPv6)
}

// Transport matches packets of a protocol in a family; IP is implied.
func Transport(v4 bool, p Protocol) Field {
	if v4 {
		return protocol(ovs.Protocol(p))
	}
	return protocol(ovs.Protocol(p + "6"))
}

func protocol(p ovs.Protocol) Field { return func(f *ovs.Flow) { f.Protocol = p } }

// ICMPv6 matches messages of a type; IP is implied.
func ICMPv6(t ICMPv6Type) Field {
	return func(f *ovs.Flow) {
		f.Protocol = ovs.ProtocolICMPv6
		f.Matches = append(f.Matches, ovs.ICMP6Type(uint8(t)))
	}
}

// FragmentationNeeded matches the messages of IPv4's path MTU discovery (RFC 1191); IP is implied.
func FragmentationNeeded() Field {
	const unreachable, needed = 3, 4
	return func(f *ovs.Flow) {
		f.Protocol = ovs.ProtocolICMPv4
		f.Matches = append(f.Matches, ovs.ICMPType(unreachable), ovs.ICMPCode(needed))
	}
}

// IPSrc matches the sender. It needs a match of the family.
func IPSrc(p netip.Prefix) Field {
	if p.Addr().Is4() {
		return matches(ovs.NetworkSource(addr.Text(p.Masked())))
	}
	return matches(ovs.IPv6Source(addr.Text(p.Masked())))
}

// IPDst matches the receiver. It needs a match of the family.
func IPDst(p netip.Prefix) Field {
	if p.Addr().Is4() {
		return matches(ovs.NetworkDestination(addr.Text(p.Masked())))
	}
	return matches(ovs.IPv6Destination(addr.Text(p.Masked())))
}

// PortSrc matches the sender's port. It needs a match of the protocol.
func PortSrc(port uint16) Field { return matches(ovs.TransportSourcePort(port)) }

// PortDst matches the receiver's port. It needs a match of the protocol.
func PortDst(port uint16) Field { return matches(ovs.TransportDestinationPort(port)) }

// Fragment matches fragments that connection tracking has not seen.
func Fragment() Field {
	return matches(ovs.IPFrag(ovs.IPFragFlagYes), ovs.ConnectionTrackingState(ovs.UnsetState(ovs.CTStateTracked)))
}

// Established matches packets of known connections, both ways.
func Established() Field { return tracked(ovs.CTStateEstablished) }

// Related matches packets that known connections have caused, such as errors.
func Related() Field { return tracked(ovs.CTStateRelated) }

func tracked(s ovs.CTState) Field {
	return matches(ovs.ConnectionTrackingState(ovs.SetState(ovs.CTStateTracked), ovs.SetState(s)))
}

// CTMark matches the mark of the packet's connection.
func CTMark(mark uint32) Field { return matches(ovs.ConnectionTrackingMark(mark, 0)) }
