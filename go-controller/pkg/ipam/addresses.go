package ipam

import (
	"fmt"
	"math/bits"
	"net/netip"
)

// window is how many addresses of a subnet are handed out at most: an IPv6 /64 is not walked.
const window = 1 << 16

// reservedHosts at the start of a subnet are not for pods: the network itself, the router, the management port.
const reservedHosts = 3

// Addresses allocates pod addresses from one node subnet. Addresses are handed out in turn, so that
// one that was given back is not used again before all others were.
type Addresses struct {
	prefix netip.Prefix
	base   uint128
	size   uint32
	used   []uint64
	// beyond holds claimed addresses that lie in the subnet but outside of the window.
	beyond map[netip.Addr]struct{}
	next   uint32
	free   int
	total  int
}

// NewAddresses returns an allocator in which all but the reserved addresses of subnet are free: the
// network, the router (.1), the management port (.2) and IPv4's broadcast address are reserved.
func NewAddresses(subnet netip.Prefix) *Addresses {
	subnet = subnet.Masked()
	a := &Addresses{prefix: subnet, base: number(subnet.Addr()), size: window, next: reservedHosts}
	if width := subnet.Addr().BitLen() - subnet.Bits(); width < 16 {
		a.size = 1 << width
	}
	a.used = make([]uint64, (a.size+63)/64)
	a.free = int(a.size)
	for i := range min(reservedHosts, a.size) {
		a.mark(i)
	}
	if last := a.size - 1; subnet.Addr().Is4() && a.isLast(last) && !a.marked(last) {
		a.mark(last)
	}
	// The last word may have bits past the end of a tiny subnet.
	for i := a.size; i < uint32(len(a.used)*64); i++ {
		a.used[i/64] |= 1 << (i % 64)
	}
	a.total = a.free
	return a
}

// Subnet is the range of the allocator.
func (a *Addresses) Subnet() netip.Prefix { return a.prefix }

// Usage counts the addresses for pods.
func (a *Addresses) Usage() (taken, total int) { return a.total - a.free + len(a.beyond), a.total }

// Claim takes one given address. The error wraps ErrOutside, ErrReserved or ErrTaken.
func (a *Addresses) Claim(address netip.Addr) error {
	if !a.prefix.Contains(address) {
		return fmt.Errorf("address %s: %w: not in %s", address, ErrOutside, a.prefix)
	}
	i, inWindow := a.index(address)
	if !inWindow {
		return a.claimBeyond(address)
	}
	if i < reservedHosts || (a.prefix.Addr().Is4() && a.isLast(i)) {
		return fmt.Errorf("address %s: %w", address, ErrReserved)
	}
	if a.marked(i) {
		return fmt.Errorf("address %s: %w", address, ErrTaken)
	}
	a.mark(i)
	return nil
}

func (a *Addresses) claimBeyond(address netip.Addr) error {
	if _, taken := a.beyond[address]; taken {
		return fmt.Errorf("address %s: %w", address, ErrTaken)
	}
	if a.prefix.Addr().Is4() && !a.prefix.Contains(address.Next()) {
		return fmt.Errorf("address %s: %w", address, ErrReserved)
	}
	if a.beyond == nil {
		a.beyond = map[netip.Addr]struct{}{}
	}
	a.beyond[address] = struct{}{}
	return nil
}

// Allocate takes the next free address; ErrExhausted when there is none.
func (a *Addresses) Allocate() (netip.Addr, error) {
	if a.free == 0 {
		return netip.Addr{}, fmt.Errorf("subnet %s with %d addresses for pods: %w", a.prefix, a.total, ErrExhausted)
	}
	i := a.nextFree()
	a.mark(i)
	a.next = i + 1
	return a.base.plus(uint128{lo: uint64(i)}).address(a.prefix.Addr().Is4()), nil
}

// Release gives an address back. One that is not taken, or is reserved, is left alone.
func (a *Addresses) Release(address netip.Addr) {
	if !a.prefix.Contains(address) {
		return
	}
	i, inWindow := a.index(address)
	if !inWindow {
		delete(a.beyond, address)
		return
	}
	if i < reservedHosts || (a.prefix.Addr().Is4() && a.isLast(i)) || !a.marked(i) {
		return
	}
	a.used[i/64] &^= 1 << (i % 64)
	a.free++
}

// nextFree finds the first free index at or after next, going round once. There must be one.
func (a *Addresses) nextFree() uint32 {
	start := a.next % a.size
	word := start / 64
	// Bits below start in its word are looked at last, when the search has come round.
	free := ^a.used[word] &^ (1<<(start%64) - 1)
	for free == 0 {
		word = (word + 1) % uint32(len(a.used))
		free = ^a.used[word]
	}
	return word*64 + uint32(bits.TrailingZeros64(free))
}

func (a *Addresses) index(address netip.Addr) (uint32, bool) {
	d := number(address).minus(a.base)
	if d.hi != 0 || d.lo >= uint64(a.size) {
		return 0, false
	}
	return uint32(d.lo), true
}

// isLast tells whether i is the last address of the whole subnet (the window may end before).
func (a *Addresses) isLast(i uint32) bool {
	return i == a.size-1 && a.prefix.Addr().BitLen()-a.prefix.Bits() <= 16
}

func (a *Addresses) marked(i uint32) bool { return a.used[i/64]&(1<<(i%64)) != 0 }

func (a *Addresses) mark(i uint32) {
	a.used[i/64] |= 1 << (i % 64)
	a.free--
}
