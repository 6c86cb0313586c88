package openflow

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Field is one condition of a match, see ovs-fields(7).
type Field string

// Local is the OpenFlow port of the bridge's own device (OFPP_LOCAL of the OpenFlow specification).
const Local = 0xfffe

// Protocol is a transport protocol.
type Protocol string

// Protocols that have ports.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"
)

// ICMPv6Type is a type of ICMPv6 messages.
type ICMPv6Type int

// Types of neighbour discovery (RFC 4861).
const (
	RouterAdvertisement    ICMPv6Type = 134
	NeighbourAdvertisement ICMPv6Type = 136
)

// InPort matches packets that come from a port.
func InPort(port int) Field { return Field("in_port=" + portText(port)) }

// EthSrc matches the sender's link-layer address.
func EthSrc(mac net.HardwareAddr) Field { return Field("dl_src=" + mac.String()) }

// EthDst matches the receiver's link-layer address.
func EthDst(mac net.HardwareAddr) Field { return Field("dl_dst=" + mac.String()) }

// IP matches all packets of a family.
func IP(v4 bool) Field {
	if v4 {
		return "ip"
	}
	return "ipv6"
}

// Transport matches packets of a protocol in a family; IP is implied.
func Transport(v4 bool, p Protocol) Field {
	if v4 {
		return Field(p)
	}
	return Field(p + "6")
}

// ICMPv6 matches messages of a type; IP is implied.
func ICMPv6(t ICMPv6Type) Field { return Field(fmt.Sprintf("icmp6,icmp_type=%d", t)) }

// IPSrc matches the sender. It needs a match of the family.
func IPSrc(p netip.Prefix) Field { return address("src", p) }

// IPDst matches the receiver. It needs a match of the family.
func IPDst(p netip.Prefix) Field { return address("dst", p) }

func address(side string, p netip.Prefix) Field {
	value := p.Masked().String()
	if p.IsSingleIP() {
		value = p.Addr().String()
	}
	if p.Addr().Is4() {
		return Field("nw_" + side + "=" + value)
	}
	return Field("ipv6_" + side + "=" + value)
}

// PortSrc matches the sender's port. It needs a match of the protocol.
func PortSrc(port uint16) Field { return Field(fmt.Sprintf("tp_src=%d", port)) }

// PortDst matches the receiver's port. It needs a match of the protocol.
func PortDst(port uint16) Field { return Field(fmt.Sprintf("tp_dst=%d", port)) }

// Fragment matches fragments that connection tracking has not seen.
func Fragment() Field { return "nw_frag=yes,ct_state=-trk" }

// Established matches packets of known connections, both ways.
func Established() Field { return "ct_state=+trk+est" }

// Related matches packets that known connections have caused, such as errors.
func Related() Field { return "ct_state=+trk+rel" }

// CTMark matches the mark of the packet's connection.
func CTMark(mark int) Field { return Field(fmt.Sprintf("ct_mark=%#x", mark)) }

func portText(port int) string {
	if port == Local {
		return "LOCAL"
	}
	return strconv.Itoa(port)
}

// Action is one thing done with a packet, see ovs-actions(7).
type Action string

// Output sends the packet out of a port.
func Output(port int) Action {
	if port == Local {
		return "LOCAL"
	}
	return Action("output:" + portText(port))
}

// Normal lets the bridge act as a learning switch.
func Normal() Action { return "NORMAL" }

// SetEthDst changes the receiver's link-layer address.
func SetEthDst(mac net.HardwareAddr) Action { return Action("set_field:" + mac.String() + "->eth_dst") }

// SetEthSrc changes the sender's link-layer address.
func SetEthSrc(mac net.HardwareAddr) Action { return Action("set_field:" + mac.String() + "->eth_src") }

// SetIPSrc changes the sender. It needs a match of the family.
func SetIPSrc(a netip.Addr) Action { return setAddress("src", a) }

// SetIPDst changes the receiver. It needs a match of the family.
func SetIPDst(a netip.Addr) Action { return setAddress("dst", a) }

func setAddress(side string, a netip.Addr) Action {
	if a.Is4() {
		return Action(fmt.Sprintf("set_field:%s->ip_%s", a, side))
	}
	return Action(fmt.Sprintf("set_field:%s->ipv6_%s", a, side))
}

// EthDstToSrc makes the receiver's link-layer address the sender's.
func EthDstToSrc() Action { return "move:NXM_OF_ETH_DST[]->NXM_OF_ETH_SRC[]" }

// ContinueIn looks for the packet's next flow in a table.
func ContinueIn(table int) Action { return Action(fmt.Sprintf("resubmit(,%d)", table)) }

// CT sends the packet through connection tracking.
type CT struct {
	Zone int
	// Table is where the packet goes on, with what connection tracking knows about it. With 0 nothing goes on
	// there: the packet itself goes on with the next action.
	Table int
	// Commit remembers the connection.
	Commit bool
	// Mark is put on the connection; 0 does nothing.
	Mark int
}

// Action returns the action.
func (c CT) Action() Action {
	var parts []string
	if c.Commit {
		parts = append(parts, "commit")
	}
	if c.Table != 0 {
		parts = append(parts, fmt.Sprintf("table=%d", c.Table))
	}
	parts = append(parts, fmt.Sprintf("zone=%d", c.Zone))
	if c.Mark != 0 {
		parts = append(parts, fmt.Sprintf("exec(set_field:%#x->ct_mark)", c.Mark))
	}
	return Action("ct(" + strings.Join(parts, ",") + ")")
}
