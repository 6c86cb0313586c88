package gateway

import (
	"net"
	"net/netip"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	of "github.com/ovnkube/ovnkube/go-controller/pkg/node/openflow"
)

// Tables of the external bridge.
const (
	// tableEntry is where all packets come in.
	tableEntry = iota
	// tableInbound decides for packets from the wire, once their connection is known.
	tableInbound
	// tableToRouter hands packets of the host to the gateway router.
	tableToRouter
	// tableToHost hands packets of the gateway router to the host.
	tableToHost
	// tableReassembled takes packets that were put together from fragments.
	tableReassembled
	// tableAsked has what the gateway router waits for.
	tableAsked
)

// Priorities of tableEntry.
const (
	priorityMasquerade      = 500
	priorityForwarded       = 490
	priorityMasqueradeGuard = 400
	priorityTunnelIn        = 205
	priorityTunnelOut       = 200
	priorityServiceGuard    = 115
	priorityForward         = 113
	priorityFragments       = 112
	priorityNodePort        = 110
	priorityQuestion        = 102
	priorityOutbound        = 100
	priorityInbound         = 50
	priorityNeighbour       = 12
	priorityOwnMAC          = 10
	priorityOtherMAC        = 9
	priorityDefault         = 0
)

// Priorities of tableInbound.
const (
	priorityConnection = 100
	priorityNeighbours = 14
	priorityBFD        = 13
)

// bfdPort is where Bidirectional Forwarding Detection listens (RFC 5881).
const bfdPort = 3784

// Facts are what the flows depend on.
type Facts struct {
	// MAC is the bridge's, which the gateway router uses too.
	MAC net.HardwareAddr
	// NIC is the OpenFlow port of the physical NIC.
	NIC int
	// Patch is that of the patch port to the integration bridge; 0 while ovn-controller has not made it.
	Patch int
	// Addresses are the node's own on the bridge.
	Addresses []netip.Addr
	// ServiceCIDRs are the service networks.
	ServiceCIDRs []netip.Prefix
	// Ports are those on which the gateway router answers.
	Ports []ServicePort
}

// ServicePort is a port of a service that packets from outside reach on this node.
type ServicePort struct {
	Protocol of.Protocol
	Port     uint16
	// Addr is the address that it is reached at: a node's own, an external address or one of a load balancer.
	Addr netip.Addr
}

// builder gathers flows.
type builder struct {
	Facts
	flows []of.Flow
}

// rule is a flow's place; match and actions follow.
type rule struct {
	table, priority int
	purpose         string
}

func (b *builder) add(r rule, match []of.Field, actions ...of.Action) {
	b.flows = append(b.flows, of.Flow{Table: r.table, Priority: r.priority, Match: match, Actions: actions, Purpose: r.purpose})
}

// Flows returns all flows of the external bridge. Without a patch port they keep the host connected and let nothing
// out that belongs to services: so they can be in place before the gateway router is.
func Flows(f Facts) []of.Flow {
	b := &builder{Facts: f}
	b.tunnels()
	for _, v4 := range []bool{true, false} {
		b.masquerade(v4)
		b.connections(v4)
	}
	b.servicePorts()
	b.neighbours()
	b.asked()
	b.frames()
	return b.flows
}

func (b *builder) patched() bool { return b.Patch != 0 }

func match(fields ...of.Field) []of.Field { return fields }

// tunnels lets Geneve pass by connection tracking: it is the host's, and there is much of it.
func (b *builder) tunnels() {
	for _, v4 := range []bool{true, false} {
		geneve := match(of.Transport(v4, of.UDP), of.PortDst(names.GenevePort))
		b.add(rule{tableEntry, priorityTunnelIn, "tunnels end at the host"},
			append(match(of.InPort(b.NIC), of.EthDst(b.MAC)), geneve...), of.Output(of.Local))
		b.add(rule{tableEntry, priorityTunnelOut, "tunnels leave by the NIC"},
			append(match(of.InPort(of.Local)), geneve...), of.Output(b.NIC))
	}
}

// masquerade carries packets between host and services: the gateway router sees the host as MasqueradeHost, the
// host sees the gateway router as MasqueradeOVN.
func (b *builder) masquerade(v4 bool) {
	subnet := names.MasqueradeSubnet(v4)
	b.add(rule{tableEntry, priorityMasqueradeGuard, "masquerade addresses never leave the node, nor come from the wire"},
		match(of.IP(v4), of.IPDst(subnet)))
	b.add(rule{tableEntry, priorityMasqueradeGuard, "nor does anything that comes from them, but for services"},
		match(of.IP(v4), of.IPSrc(subnet)))
	for _, cidr := range b.ServiceCIDRs {
		if cidr.Addr().Is4() == v4 {
			b.service(cidr)
		}
	}
	if !b.patched() {
		return
	}
	for _, a := range b.Addresses {
		if a.Is4() == v4 {
			b.ownEndpoint(a)
		}
	}
	b.forwarding(v4)
}

// forwarding lets the host forward what the gateway router sends to services' endpoints outside the cluster network: the
// host's kernel knows its neighbours, see topology.md. The host sees the router as MasqueradeOVN and hides it behind itself.
func (b *builder) forwarding(v4 bool) {
	router := names.MasqueradeOVN(v4)
	var source netip.Addr
	for _, a := range b.Addresses {
		// OVN hides clients behind the first address of the router's port, and sorts them as texts.
		if a.Is4() == v4 && (!source.IsValid() || a.String() < source.String()) {
			source = a
		}
	}
	if !source.IsValid() {
		return
	}
	b.add(rule{tableEntry, priorityForward, "the host forwards for the gateway router"},
		match(of.InPort(b.Patch), of.EthDst(names.MasqueradeNextHopMAC()), of.IP(v4), of.IPSrc(single(source))),
		of.SetIPSrc(router), of.ContinueIn(tableToHost))
	b.add(rule{tableEntry, priorityForwarded, "answers to what the host has forwarded"},
		match(of.InPort(of.Local), of.IP(v4), of.IPDst(single(router))),
		of.SetIPDst(source), of.ContinueIn(tableToRouter))
}

// ownEndpoint carries packets from the gateway router to an endpoint on the host itself, and back. Both ends have the
// node's address, so each sees the other under a masquerade address. No state is needed: the pairs correspond one to one.
func (b *builder) ownEndpoint(node netip.Addr) {
	v4 := node.Is4()
	host, router := names.MasqueradeHost(v4), names.MasqueradeOVN(v4)
	b.add(rule{tableEntry, priorityMasquerade, "from the gateway router to the host's own endpoints"},
		match(of.InPort(b.Patch), of.IP(v4), of.IPSrc(single(node)), of.IPDst(single(host))),
		of.SetIPSrc(router), of.SetIPDst(node), of.ContinueIn(tableToHost))
	b.add(rule{tableEntry, priorityMasquerade, "from the host's own endpoints to the gateway router"},
		match(of.InPort(of.Local), of.IP(v4), of.IPSrc(single(node)), of.IPDst(single(router))),
		of.SetIPSrc(host), of.SetIPDst(node), of.ContinueIn(tableToRouter))
}

// service carries packets between the host and a service network. The host's netfilter gives them the right source.
func (b *builder) service(cidr netip.Prefix) {
	v4 := cidr.Addr().Is4()
	b.add(rule{tableEntry, priorityServiceGuard, "services' addresses are nobody's on the wire"}, match(of.InPort(of.Local), of.IP(v4), of.IPDst(cidr)))
	if !b.patched() {
		return
	}
	b.add(rule{tableEntry, priorityServiceGuard, "services that do not exist are not looked for on the wire"},
		match(of.InPort(b.Patch), of.IP(v4), of.IPDst(cidr)))
	host := single(names.MasqueradeHost(v4))
	b.add(rule{tableEntry, priorityMasquerade, "from the host to services"},
		match(of.InPort(of.Local), of.IP(v4), of.IPSrc(host), of.IPDst(cidr)), of.ContinueIn(tableToRouter))
	b.add(rule{tableEntry, priorityMasquerade, "from services to the host"},
		match(of.InPort(b.Patch), of.IP(v4), of.IPSrc(cidr), of.IPDst(host)), of.ContinueIn(tableToHost))
}

// connections remembers who has begun a connection with the outside, and gives the answers to them.
func (b *builder) connections(v4 bool) {
	b.add(rule{tableEntry, priorityOutbound, "from the host to the wire"},
		match(of.InPort(of.Local), of.IP(v4)), b.commit(names.MarkHost), of.Output(b.NIC))
	b.add(rule{tableEntry, priorityInbound, "from the wire: whose connection is it?"},
		match(of.InPort(b.NIC), of.EthDst(b.MAC), of.IP(v4)), of.CT{Zone: names.ZoneGateway, Table: tableInbound}.Action())
	b.answers(v4, names.MarkHost, of.Local)
	if b.patched() {
		b.add(rule{tableEntry, priorityOutbound, "from the gateway router to the wire"},
			match(of.InPort(b.Patch), of.EthSrc(b.MAC), of.IP(v4)), b.commit(names.MarkOVN), of.Output(b.NIC))
		b.answers(v4, names.MarkOVN, b.Patch)
	}
}

func (b *builder) commit(mark uint32) of.Action {
	return of.CT{Zone: names.ZoneGateway, Commit: true, Mark: mark}.Action()
}

func (b *builder) answers(v4 bool, mark uint32, port int) {
	for _, state := range []of.Field{of.Established(), of.Related()} {
		b.add(rule{tableInbound, priorityConnection, "answers go to whom they are for"},
			match(of.IP(v4), state, of.CTMark(mark)), of.Output(port))
	}
}

// servicePorts hands packets to services' ports to the gateway router, if there is one, and its answers to the wire.
func (b *builder) servicePorts() {
	if !b.patched() || len(b.Ports) == 0 {
		return
	}
	for _, v4 := range []bool{true, false} {
		b.add(rule{tableEntry, priorityFragments, "only the first fragment shows the port"},
			match(of.InPort(b.NIC), of.EthDst(b.MAC), of.IP(v4), of.Fragment()), of.CT{Zone: names.ZoneReassembly, Table: tableReassembled}.Action())
	}
	b.add(rule{tableReassembled, priorityConnection, "once more from the beginning, as a whole"}, nil, of.ContinueIn(tableEntry))
	for _, p := range b.Ports {
		b.servicePort(p)
	}
}

func (b *builder) servicePort(p ServicePort) {
	v4 := p.Addr.Is4()
	b.add(rule{tableEntry, priorityNodePort, "services' ports are the gateway router's"},
		match(of.InPort(b.NIC), of.EthDst(b.MAC), of.Transport(v4, p.Protocol), of.IPDst(single(p.Addr)), of.PortDst(p.Port)), of.Output(b.Patch))
	b.add(rule{tableEntry, priorityNodePort, "services' answers need no connection tracking here"},
		match(of.InPort(b.Patch), of.EthSrc(b.MAC), of.Transport(v4, p.Protocol), of.IPSrc(single(p.Addr)), of.PortSrc(p.Port)), of.Output(b.NIC))
	// There are many of them: what they depend on is told, so that their texts are made once.
	for i, f := range b.flows[len(b.flows)-2:] {
		f.Same = sameServicePort{p, string(b.MAC), b.NIC, b.Patch, i == 0}
		b.flows[len(b.flows)-2+i] = f
	}
}

// sameServicePort is all that a flow of servicePort depends on.
type sameServicePort struct {
	ServicePort
	mac        string
	nic, patch int
	inbound    bool
}

// neighbours is for packets that host and gateway router both have asked for, or may have.
func (b *builder) neighbours() {
	both := b.both()
	b.add(rule{tableInbound, priorityNeighbours, "routers (IPv6) are known to both"}, match(of.ICMPv6(of.RouterAdvertisement)), both...)
	b.add(rule{tableInbound, priorityNeighbours, "answers (IPv6): to the host, and to the gateway router if it has asked"},
		match(of.ICMPv6(of.NeighbourAdvertisement)), of.Output(of.Local), of.ContinueIn(tableAsked))
	for _, tooBig := range []of.Field{of.FragmentationNeeded(), of.ICMPv6(of.PacketTooBig)} {
		b.add(rule{tableInbound, priorityNeighbours, "path MTUs concern both: services' answers are not tracked here"}, match(tooBig), both...)
	}
	for _, v4 := range []bool{true, false} {
		b.add(rule{tableInbound, priorityBFD, "liveness of next hops concerns both"},
			match(of.Transport(v4, of.UDP), of.PortDst(bfdPort)), both...)
	}
	b.add(rule{tableInbound, priorityOwnMAC, "new connections to the node are the host's"}, match(of.EthDst(b.MAC)), of.Output(of.Local))
	b.add(rule{tableInbound, priorityDefault, "the rest is switched"}, nil, of.Normal())
	if !b.patched() {
		return
	}
	// The gateway router swaps the addresses to refuse a packet; both being its own, it would talk to itself.
	b.add(rule{tableToRouter, priorityConnection, "to the gateway router"}, nil,
		of.SetEthSrc(names.MasqueradeNextHopMAC()), of.SetEthDst(b.MAC), of.Output(b.Patch))
	b.add(rule{tableToHost, priorityConnection, "to the host, from the next hop that it sends to"}, nil,
		of.EthDstToSrc(), of.SetEthDst(b.MAC), of.Output(of.Local))
}

func (b *builder) both() []of.Action {
	if b.patched() {
		return []of.Action{of.Output(b.Patch), of.Output(of.Local)}
	}
	return []of.Action{of.Output(of.Local)}
}

// frames is for what is not IP, ARP above all. The bridge must not learn where its own MAC is: two have it. And the
// gateway router must not hear what the host sends: it would answer that the address is taken.
func (b *builder) frames() {
	b.add(rule{tableEntry, priorityOwnMAC, "what is not IP is for both"}, match(of.InPort(b.NIC), of.EthDst(b.MAC)), b.both()...)
	b.add(rule{tableEntry, priorityOwnMAC, "the host speaks to the wire alone"}, match(of.InPort(of.Local)), of.Output(b.NIC))
	if b.patched() {
		b.add(rule{tableEntry, priorityOwnMAC, "the gateway router speaks to the wire alone"},
			match(of.InPort(b.Patch), of.EthSrc(b.MAC)), of.Output(b.NIC))
		b.add(rule{tableEntry, priorityOtherMAC, "nobody else lives behind the patch port"}, match(of.InPort(b.Patch)))
	}
	b.add(rule{tableEntry, priorityOtherMAC, "frames with the bridge's own MAC do not come from elsewhere"}, match(of.EthSrc(b.MAC)))
	b.add(rule{tableEntry, priorityDefault, "the rest is switched: the bridge is a switch without this agent too"}, nil, of.Normal())
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
