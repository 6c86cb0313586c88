package servicebench

import (
	"net/netip"
	"testing"
)

// TestAddressesAreOfTheServiceNetworkAndDiffer: two services with one address would measure each other.
func TestAddressesAreOfTheServiceNetworkAndDiffer(t *testing.T) {
	network := netip.MustParsePrefix("172.30.0.0/16")
	seen := map[netip.AddrPort]bool{}
	for i := range 2000 {
		for _, a := range []netip.AddrPort{otherAddress(i), sampleAddress(i)} {
			if seen[a] || !network.Contains(a.Addr()) {
				t.Fatalf("service %d has %s: taken %v, in the service network %v", i, a, seen[a], network.Contains(a.Addr()))
			}
			seen[a] = true
		}
	}
}
