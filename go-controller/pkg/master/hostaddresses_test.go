package master

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

// Every node whose addresses change without its own doing is named, so that its routes are brought up to date; and an address that
// somebody claims belongs to exactly one node.
func TestHostAddressesProperty(t *testing.T) {
	all := []string{"a", "b", "c"}
	rapid.Check(t, func(t *rapid.T) {
		h := newHostAddresses([]netip.Prefix{netip.MustParsePrefix("10.128.0.0/14")})
		changed := func(by string, change func() []string) {
			before := map[string][]netip.Addr{}
			for _, n := range all {
				before[n] = h.of(n)
			}
			named := change()
			for _, n := range all {
				differs := !slices.Equal(before[n], h.of(n))
				if n != by && differs != slices.Contains(named, n) {
					t.Fatalf("%s had %v and has %v; named are %v", n, before[n], h.of(n), named)
				}
			}
			if slices.Contains(named, by) {
				t.Fatalf("%s is named for its own change", by)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				name := rapid.SampledFrom(all).Draw(t, "node")
				node := &kube.Node{Name: name, Created: time.Unix(int64(rapid.IntRange(0, 2).Draw(t, "created")), 0)}
				var addresses []netip.Addr
				for i := range 4 {
					a := netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i))
					if rapid.Bool().Draw(t, "has") {
						addresses = append(addresses, a)
					}
					if rapid.Bool().Draw(t, "internal") {
						node.Addresses = append(node.Addresses, a)
					}
				}
				changed(name, func() []string { return h.set(node, addresses) })
			},
			"remove": func(t *rapid.T) {
				name := rapid.SampledFrom(all).Draw(t, "node")
				changed(name, func() []string { return h.remove(name) })
			},
			"": func(t *rapid.T) {
				owners := map[netip.Addr]int{}
				for _, n := range all {
					for _, a := range h.of(n) {
						owners[a]++
					}
				}
				for a, claims := range h.claims {
					if len(claims) == 0 || owners[a] != 1 {
						t.Fatalf("%s is claimed by %v and belongs to %d nodes", a, claims, owners[a])
					}
				}
			},
		})
	})
}
