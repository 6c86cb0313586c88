// Package addr is the arithmetic of addresses that all parts of the product agree on.
package addr

import (
	"crypto/sha256"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
)

// Router is the router's address in a node's subnet: the first host address.
func Router(subnet netip.Prefix) netip.Addr { return subnet.Masked().Addr().Next() }

// Management is the management port's address in a node's subnet: the second host address.
func Management(subnet netip.Prefix) netip.Addr { return Router(subnet).Next() }

// Host is the n-th address of a subnet, counted from the network's own, which is 0. It need not lie within the subnet when n
// is too large for that.
func Host(subnet netip.Prefix, n int) netip.Addr {
	if a := subnet.Masked().Addr(); a.Is4() {
		b := a.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
		return netip.AddrFrom4(b)
	}
	b := subnet.Masked().Addr().As16()
	low := binary.BigEndian.Uint64(b[8:])
	sum := low + uint64(n)
	binary.BigEndian.PutUint64(b[8:], sum)
	if sum < low {
		binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])+1)
	}
	return netip.AddrFrom16(b)
}

// MAC derives the MAC address that goes with the addresses of a port: 0a:58 followed by the IPv4
// address, or by four bytes of a hash of the first address where there is no IPv4 address.
func MAC(addresses ...netip.Addr) net.HardwareAddr {
	for _, a := range addresses {
		if a.Is4() {
			b := a.As4()
			return net.HardwareAddr{0x0a, 0x58, b[0], b[1], b[2], b[3]}
		}
	}
	b := addresses[0].As16()
	sum := sha256.Sum256(b[:])
	return net.HardwareAddr{0x0a, 0x58, sum[0], sum[1], sum[2], sum[3]}
}

// HostPrefix is the prefix that holds just a: /32 or /128.
func HostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// MatchName is how OVN's matches name a family (ovn-sb(5), Logical_Flow match).
func MatchName(v4 bool) string {
	if v4 {
		return "ip4"
	}
	return "ip6"
}

// Text is a prefix as OVN writes it: a single address without its length.
func Text(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// Any is the default route's destination in a's family.
func Any(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// Pick returns the first of items whose address, as told by of, is of the same family as a.
func Pick[T any](items []T, a netip.Addr, of func(T) netip.Addr) (T, bool) {
	for _, item := range items {
		if of(item).Is4() == a.Is4() {
			return item, true
		}
	}
	var zero T
	return zero, false
}

// Without returns the fewest prefixes that hold all addresses of p that are in none of ranges, in order.
func Without(p netip.Prefix, ranges []netip.Prefix) []netip.Prefix {
	if !slices.ContainsFunc(ranges, p.Overlaps) {
		return []netip.Prefix{p}
	}
	if slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Bits() <= p.Bits() && r.Overlaps(p) }) {
		return nil
	}
	low, high := halves(p)
	return append(Without(low, ranges), Without(high, ranges)...)
}

func halves(p netip.Prefix) (low, high netip.Prefix) {
	bytes := p.Addr().AsSlice()
	bytes[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	upper, _ := netip.AddrFromSlice(bytes)
	return netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(upper, p.Bits()+1)
}
