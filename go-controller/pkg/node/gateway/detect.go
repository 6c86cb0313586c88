package gateway

import (
	"net/netip"
	"slices"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
)

// Addresses returns the node's addresses among those of the bridge: of the cluster's families (taken from pools),
// IPv4 first, otherwise in the given order.
func Addresses(found []hostnet.Address, pools []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range found {
		sameFamily := func(p netip.Prefix) bool { return p.Addr().Is4() == a.Prefix.Addr().Is4() }
		if slices.ContainsFunc(pools, sameFamily) && !slices.Contains(out, a.Prefix) {
			out = append(out, a.Prefix)
		}
	}
	slices.SortStableFunc(out, func(a, b netip.Prefix) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	return out
}

// NextHops returns the router behind the bridge for each family of addresses: what is configured, or
// that of the default route with the lowest metric. Earlier routes win over later ones of the same metric.
func NextHops(addresses []netip.Prefix, configured []netip.Addr, routes []hostnet.Route) []netip.Addr {
	var out []netip.Addr
	for _, v4 := range []bool{true, false} {
		if _, ok := firstOf(addresses, v4); !ok {
			continue
		}
		if hops := slices.DeleteFunc(slices.Clone(configured), func(a netip.Addr) bool { return a.Is4() != v4 }); len(hops) > 0 {
			out = append(out, hops...)
			continue
		}
		if hop := defaultHop(routes, v4); hop.IsValid() {
			out = append(out, hop)
		}
	}
	return out
}

func defaultHop(routes []hostnet.Route, v4 bool) netip.Addr {
	var best *hostnet.Route
	for i, r := range routes {
		isDefault := r.Destination.Bits() == 0 && r.Table == hostnet.MainTable && r.Gateway.IsValid()
		if isDefault && r.Destination.Addr().Is4() == v4 && (best == nil || r.Metric < best.Metric) {
			best = &routes[i]
		}
	}
	if best == nil {
		return netip.Addr{}
	}
	return best.Gateway
}
