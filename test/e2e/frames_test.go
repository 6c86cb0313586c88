//go:build e2e

package e2e

import (
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// identity is what a sender claims to be.
type identity struct {
	mac net.HardwareAddr
	ip  netip.Addr
}

var (
	broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	// allNodes is ff02::1 and its Ethernet address (RFC 2464).
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
)

// serialize writes layers with lengths and checksums as they should be.
func serialize(parts ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		panic(err) // Only for what cannot be written, whatever runs where.
	}
	return b.Bytes()
}

// ipHeaders are Ethernet and IP headers from an identity to another.
func ipHeaders(from, to identity, protocol layers.IPProtocol) (*layers.Ethernet, gopacket.NetworkLayer, gopacket.SerializableLayer) {
	eth := &layers.Ethernet{SrcMAC: from.mac, DstMAC: to.mac, EthernetType: layers.EthernetTypeIPv6}
	if to.ip.Is4() {
		eth.EthernetType = layers.EthernetTypeIPv4
		h := &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: from.ip.AsSlice(), DstIP: to.ip.AsSlice()}
		return eth, h, h
	}
	h := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: protocol, SrcIP: from.ip.AsSlice(), DstIP: to.ip.AsSlice()}
	return eth, h, h
}

// datagram is a UDP datagram with the mark n.
func datagram(from, to identity, source, target uint16, n uint16) []byte {
	eth, network, header := ipHeaders(from, to, layers.IPProtocolUDP)
	udp := &layers.UDP{SrcPort: layers.UDPPort(source), DstPort: layers.UDPPort(target)}
	if err := udp.SetNetworkLayerForChecksum(network); err != nil {
		panic(err)
	}
	return serialize(eth, header, udp, gopacket.Payload(traffic.Mark(n)))
}

// tagged puts a VLAN tag into a frame.
func tagged(frame []byte, vlan uint16) []byte {
	out := append([]byte{}, frame[:12]...)
	out = append(out, 0x81, 0, byte(vlan>>8), byte(vlan))
	return append(out, frame[12:]...)
}

// sourceRouted is a datagram with the option "loose source route" by way of via (RFC 791).
func sourceRouted(from, to identity, via netip.Addr, n uint16) []byte {
	eth, network, _ := ipHeaders(from, to, layers.IPProtocolUDP)
	h := network.(*layers.IPv4)
	route := via.As4()
	h.Options = []layers.IPv4Option{{OptionType: 131, OptionLength: 7, OptionData: append([]byte{4}, route[:]...)}, {OptionType: 0, OptionLength: 1}}
	udp := &layers.UDP{SrcPort: 40000, DstPort: udpPort}
	if err := udp.SetNetworkLayerForChecksum(h); err != nil {
		panic(err)
	}
	return serialize(eth, h, udp, gopacket.Payload(traffic.Mark(n)))
}

// laterFragment is the second part of a datagram whose first part nobody has sent.
func laterFragment(from, to identity, n uint16) []byte {
	eth, network, header := ipHeaders(from, to, layers.IPProtocolUDP)
	content := gopacket.Payload(append(traffic.Mark(n), make([]byte, 1200)...))
	if h, ok := network.(*layers.IPv4); ok {
		h.Id, h.FragOffset = 4711, 1280/8
		return serialize(eth, header, content)
	}
	// RFC 8200, 4.5. gopacket reads this header, but does not write it.
	network.(*layers.IPv6).NextHeader = layers.IPProtocolIPv6Fragment
	offset := uint16(1280)
	fragment := []byte{byte(layers.IPProtocolUDP), 0, byte(offset >> 8), byte(offset), 0, 0, 0x12, 0x67}
	return serialize(eth, header, gopacket.Payload(append(fragment, content...)))
}

// arp is an ARP message. who is its sender as the message says, from the frame's source.
func arp(from net.HardwareAddr, to net.HardwareAddr, operation uint16, who identity, target netip.Addr, n uint16) []byte {
	return serialize(
		&layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: operation,
			SourceHwAddress: who.mac, SourceProtAddress: who.ip.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: target.AsSlice(),
		},
		gopacket.Payload(traffic.Mark(n)), // Padding.
	)
}

// markOption is an option of neighbour discovery (nonce, RFC 3971) with the mark n.
func markOption(n uint16) layers.ICMPv6Option {
	return layers.ICMPv6Option{Type: 14, Data: append(traffic.Mark(n), make([]byte, 6)...)}
}

// discovery is a message of neighbour discovery.
func discovery(from, to identity, kind uint8, body gopacket.SerializableLayer) []byte {
	eth, network, header := ipHeaders(from, to, layers.IPProtocolICMPv6)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
	if err := icmp.SetNetworkLayerForChecksum(network); err != nil {
		panic(err)
	}
	return serialize(eth, header, icmp, body)
}

// solicitation asks who has target; source is the link-layer address it claims to be from.
func solicitation(from identity, source net.HardwareAddr, target netip.Addr, n uint16) []byte {
	t := target.As16()
	group := [16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]} // RFC 4291, 2.7.1
	to := identity{net.HardwareAddr{0x33, 0x33, 0xff, t[13], t[14], t[15]}, netip.AddrFrom16(group)}
	return discovery(from, to, layers.ICMPv6TypeNeighborSolicitation, &layers.ICMPv6NeighborSolicitation{
		TargetAddress: target.AsSlice(),
		Options:       layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: source}, markOption(n)},
	})
}

// advertisement says that target is at a link-layer address, unasked.
func advertisement(from identity, target netip.Addr, at net.HardwareAddr, n uint16) []byte {
	return discovery(from, identity{allNodesMAC, allNodes}, layers.ICMPv6TypeNeighborAdvertisement, &layers.ICMPv6NeighborAdvertisement{
		Flags: 0x20, TargetAddress: target.AsSlice(),
		Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: at}, markOption(n)},
	})
}

// routerAdvertisement says that its sender is a router.
func routerAdvertisement(from identity, n uint16) []byte {
	return discovery(from, identity{allNodesMAC, allNodes}, layers.ICMPv6TypeRouterAdvertisement, &layers.ICMPv6RouterAdvertisement{
		HopLimit: 64, RouterLifetime: 1800,
		Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: from.mac}, markOption(n)},
	})
}

// linkLocal is the address that goes with a MAC (RFC 4291, appendix A).
func linkLocal(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]})
}
