package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	utilnet "k8s.io/utils/net"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
)

// parseBlock returns the addresses of a block as the fewest prefixes. They, and not a comparison with the exceptions, are written into matches: OVN
// multiplies the ways in which an address can differ from each of several exceptions, while prefixes only add.
func parseBlock(in *networkingv1.IPBlock) ([]netip.Prefix, error) {
	block, err := parseCIDR(in.CIDR)
	if err != nil {
		return nil, fmt.Errorf("ipBlock: %w", err)
	}
	var except []netip.Prefix
	for _, text := range in.Except {
		p, err := parseCIDR(text)
		if err != nil {
			return nil, fmt.Errorf("ipBlock.except: %w", err)
		}
		except = append(except, p)
	}
	return addr.Without(block, except), nil
}

// parseCIDR reads what API servers of all versions have accepted, leading zeros among it.
func parseCIDR(text string) (netip.Prefix, error) {
	_, network, err := utilnet.ParseCIDRSloppy(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no CIDR", text)
	}
	address, _ := netip.AddrFromSlice(network.IP)
	bits, _ := network.Mask.Size()
	if address.Is4In6() && bits >= 96 {
		address, bits = address.Unmap(), bits-96
	}
	return netip.PrefixFrom(address, bits).Masked(), nil
}

// union returns the fewest prefixes that hold the same addresses, in order, IPv4 first.
func union(in []netip.Prefix) []netip.Prefix {
	slices.SortFunc(in, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var out []netip.Prefix
	for _, p := range in {
		if n := len(out); n > 0 && out[n-1].Overlaps(p) {
			continue // Within the one before, which begins earlier or is longer.
		}
		out = append(out, p)
		for len(out) > 1 && siblings(out[len(out)-2], out[len(out)-1]) {
			out = out[:len(out)-1]
			out[len(out)-1] = parent(out[len(out)-1])
		}
	}
	return out
}

func siblings(a, b netip.Prefix) bool {
	return a.Addr().BitLen() == b.Addr().BitLen() && a.Bits() == b.Bits() && a.Bits() > 0 && a != b && parent(a) == parent(b)
}

func parent(p netip.Prefix) netip.Prefix { return netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked() }
