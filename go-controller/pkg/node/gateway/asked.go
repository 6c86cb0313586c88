package gateway

import (
	"fmt"
	"net/netip"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	of "github.com/ovnkube/ovnkube/go-controller/pkg/node/openflow"
)

// Operations of ARP (RFC 826).
const (
	arpRequest = 1
	arpReply   = 2
)

// LearnedTables are those of which the bridge makes the flows itself.
func LearnedTables() []int { return []int{tableAsked} }

// asked keeps the gateway router from hearing of neighbours that it has not asked for: OVN has a row in its southbound database
// for each that it hears of, so with hosts that all talk to each other it would be a row for each pair of them. The host, which
// has the same addresses and the same MAC, asks and is asked; the router hears answers to its own questions only, and questions
// in such a way that they tell it nothing but new MACs of neighbours that it knows.
func (b *builder) asked() {
	if !b.patched() {
		return
	}
	b.add(rule{tableEntry, priorityNeighbour, "the gateway router asks (ARP)"},
		match(of.InPort(b.Patch), of.EthSrc(b.MAC), arp(arpRequest)), learnAnswers{v4: true}, of.Output(b.NIC))
	b.add(rule{tableEntry, priorityNeighbour, "answers (ARP): to the host, and to the gateway router if it has asked"},
		match(of.InPort(b.NIC), of.EthDst(b.MAC), arp(arpReply)), of.Output(of.Local), of.ContinueIn(tableAsked))
	b.add(rule{tableEntry, priorityQuestion, "the gateway router asks (IPv6)"},
		match(of.InPort(b.Patch), of.EthSrc(b.MAC), of.ICMPv6(neighbourSolicitation)), learnAnswers{}, of.Output(b.NIC))
	for _, a := range b.Addresses {
		if a.Is4() {
			b.question(a)
		}
	}
}

// question is what asks for the node's own address. OVN learns who asks for an address of a router's, but with another address
// in the question only a new MAC of a neighbour that it knows: ovn-nb(5), always_learn_from_arp_request.
func (b *builder) question(node netip.Addr) {
	b.add(rule{tableEntry, priorityNeighbour, "the host answers for the node's address; the gateway router hears who asks"},
		match(of.InPort(b.NIC), arp(arpRequest), func(f *ovs.Flow) { f.Matches = append(f.Matches, ovs.ARPTargetProtocolAddress(node.String())) }),
		of.Output(of.Local), ovs.SetField(names.MasqueradeOVN(true).String(), "arp_tpa"), of.Output(b.Patch))
}

func arp(operation uint16) of.Field {
	return func(f *ovs.Flow) {
		f.Protocol = ovs.ProtocolARP
		f.Matches = append(f.Matches, ovs.ARPOperation(operation))
	}
}

const neighbourSolicitation of.ICMPv6Type = 135

// learnAnswers leads answers to the packet's question to the port that it comes from, for the next ten seconds. The flows have
// no cookie: they are Open vSwitch's.
type learnAnswers struct{ v4 bool }

// MarshalText implements ovs.Action.
func (l learnAnswers) MarshalText() ([]byte, error) {
	head := fmt.Sprintf("learn(table=%d,hard_timeout=10,priority=100,", tableAsked)
	if l.v4 {
		return []byte(head + "eth_type=0x0806,arp_op=2,NXM_OF_ARP_SPA[]=NXM_OF_ARP_TPA[],output:NXM_OF_IN_PORT[])"), nil
	}
	return []byte(head + "eth_type=0x86dd,nw_proto=58,icmpv6_type=136,NXM_NX_ND_TARGET[],output:NXM_OF_IN_PORT[])"), nil
}

// GoString implements ovs.Action.
func (l learnAnswers) GoString() string { return "gateway.learnAnswers" }
