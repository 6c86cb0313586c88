package ipam

import (
	"fmt"
	"net/netip"
)

// maxSubnets bounds how many subnets of one pool are ever handed out; more nodes than that do not exist.
const maxSubnets = 1 << 32

// Pool is a range that is cut into subnets of HostPrefix bits, one a node.
type Pool struct {
	Prefix     netip.Prefix
	HostPrefix int
}

// NodeSubnets allocates node subnets from pools of one or both families.
type NodeSubnets struct {
	pools []*pool
}

type pool struct {
	Pool
	v4    bool
	count uint64
	taken map[uint64]struct{}
	// low: no subnet below this index is free.
	low uint64
}

// NewNodeSubnets returns an allocator with everything free. Pools are used in the given order and must
// not overlap.
func NewNodeSubnets(pools []Pool) *NodeSubnets {
	n := &NodeSubnets{}
	for _, p := range pools {
		p.Prefix = p.Prefix.Masked()
		count := uint64(maxSubnets)
		if width := p.HostPrefix - p.Prefix.Bits(); width < 32 {
			count = 1 << width
		}
		n.pools = append(n.pools, &pool{Pool: p, v4: p.Prefix.Addr().Is4(), count: count, taken: map[uint64]struct{}{}})
	}
	return n
}

// Claim takes one given subnet. The error wraps ErrOutside, ErrSize or ErrTaken.
func (n *NodeSubnets) Claim(subnet netip.Prefix) error {
	p, i, err := n.find(subnet)
	if err != nil {
		return err
	}
	if _, taken := p.taken[i]; taken {
		return fmt.Errorf("subnet %s: %w", subnet, ErrTaken)
	}
	p.taken[i] = struct{}{}
	return nil
}

// Allocate takes the lowest free subnet of a family; ErrExhausted when there is none.
func (n *NodeSubnets) Allocate(v4 bool) (netip.Prefix, error) {
	for _, p := range n.pools {
		if p.v4 != v4 {
			continue
		}
		for ; p.low < p.count; p.low++ {
			if _, taken := p.taken[p.low]; !taken {
				p.taken[p.low] = struct{}{}
				return p.subnet(p.low), nil
			}
		}
	}
	return netip.Prefix{}, fmt.Errorf("%s node subnets: %w", family(v4), ErrExhausted)
}

// Release gives a subnet back. One that is not taken is left alone.
func (n *NodeSubnets) Release(subnet netip.Prefix) {
	p, i, err := n.find(subnet)
	if err != nil {
		return
	}
	delete(p.taken, i)
	p.low = min(p.low, i)
}

// Usage counts the subnets of a family.
func (n *NodeSubnets) Usage(v4 bool) (taken, total uint64) {
	for _, p := range n.pools {
		if p.v4 == v4 {
			taken += uint64(len(p.taken))
			total += p.count
		}
	}
	return taken, total
}

// HasFamily tells whether there is a pool of the family.
func (n *NodeSubnets) HasFamily(v4 bool) bool {
	for _, p := range n.pools {
		if p.v4 == v4 {
			return true
		}
	}
	return false
}

func (n *NodeSubnets) find(subnet netip.Prefix) (*pool, uint64, error) {
	for _, p := range n.pools {
		if !p.Prefix.Contains(subnet.Addr()) {
			continue
		}
		if subnet.Bits() != p.HostPrefix {
			return nil, 0, fmt.Errorf("subnet %s in %s: %w, want /%d", subnet, p.Prefix, ErrSize, p.HostPrefix)
		}
		i := number(subnet.Masked().Addr()).minus(number(p.Prefix.Addr())).shiftRight(p.hostBits())
		if i.hi != 0 || i.lo >= p.count {
			return nil, 0, fmt.Errorf("subnet %s: %w", subnet, ErrOutside)
		}
		return p, i.lo, nil
	}
	return nil, 0, fmt.Errorf("subnet %s: %w", subnet, ErrOutside)
}

func (p *pool) hostBits() int { return p.Prefix.Addr().BitLen() - p.HostPrefix }

func (p *pool) subnet(i uint64) netip.Prefix {
	base := number(p.Prefix.Addr()).plus(uint128{lo: i}.shiftLeft(p.hostBits()))
	return netip.PrefixFrom(base.address(p.v4), p.HostPrefix)
}

func family(v4 bool) string {
	if v4 {
		return "IPv4"
	}
	return "IPv6"
}
