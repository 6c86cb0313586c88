package inspect

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// addressesOf are the addresses that a row gives to somebody.
func addressesOf(r *database.Row) []string {
	var out []string
	switch m := r.Model.(type) {
	case *nbdb.LogicalSwitchPort:
		for _, a := range database.Addresses(m.Addresses) {
			out = append(out, a.String())
		}
	case *nbdb.LogicalRouterPort:
		for _, n := range m.Networks {
			if p, err := netip.ParsePrefix(n); err == nil {
				out = append(out, p.Addr().String())
			}
		}
	case *nbdb.LoadBalancer:
		for vip := range m.Vips {
			if a, err := netip.ParseAddrPort(vip); err == nil {
				out = append(out, a.Addr().String())
			}
		}
	case *nbdb.NAT:
		if a, err := netip.ParseAddr(m.ExternalIP); err == nil {
			out = append(out, a.String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// compareAddresses puts IPv4 first, each family in the order of numbers.
func compareAddresses(a, b string) int {
	x, err := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	if err != nil || err2 != nil {
		return strings.Compare(a, b)
	}
	return x.Compare(y)
}
