package ipam

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func ip(s string) netip.Addr    { return netip.MustParseAddr(s) }

func TestNodeSubnetsLowestFirstOverPools(t *testing.T) {
	n := NewNodeSubnets([]Pool{
		{pfx("10.128.0.0/22"), 23}, {pfx("fd01::/48"), 64}, {pfx("10.200.0.0/24"), 24},
	})
	var got []string
	for range 3 {
		s, err := n.Allocate(true)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s.String())
	}
	s6, err := n.Allocate(false)
	if err != nil {
		t.Fatal(err)
	}
	s7, _ := n.Allocate(false)
	got = append(got, s6.String(), s7.String())
	want := []string{"10.128.0.0/23", "10.128.2.0/23", "10.200.0.0/24", "fd01::/64", "fd01:0:0:1::/64"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subnets (-want +got):\n%s", diff)
	}
	if _, err := n.Allocate(true); !errors.Is(err, ErrExhausted) {
		t.Errorf("fourth IPv4 subnet: %v, want ErrExhausted", err)
	}
	n.Release(pfx("10.128.0.0/23"))
	if s, err := n.Allocate(true); err != nil || s != pfx("10.128.0.0/23") {
		t.Errorf("after release: %v %v, want the released subnet", s, err)
	}
}

func TestNodeSubnetsClaim(t *testing.T) {
	n := NewNodeSubnets([]Pool{{pfx("10.128.0.0/14"), 23}, {pfx("fd01::/16"), 64}})
	if err := n.Claim(pfx("10.128.2.0/23")); err != nil {
		t.Fatal(err)
	}
	for subnet, want := range map[string]error{
		"10.128.2.0/23":         ErrTaken,
		"10.128.4.0/24":         ErrSize,
		"10.128.0.0/14":         ErrSize,
		"10.64.0.0/23":          ErrOutside,
		"fd02::/64":             ErrOutside,
		"fd01:ffff:ffff::/64":   ErrOutside, // within the pool, past the number of subnets ever handed out
		"fd01:0:ffff:ffff::/63": ErrSize,
	} {
		if err := n.Claim(pfx(subnet)); !errors.Is(err, want) {
			t.Errorf("Claim(%s) = %v, want %v", subnet, err, want)
		}
	}
	if taken, total := n.Usage(true); taken != 1 || total != 512 {
		t.Errorf("Usage = %d of %d, want 1 of 512", taken, total)
	}
}

func TestAddressesReservedAndExhausted(t *testing.T) {
	for _, c := range []struct {
		subnet, first, last string
		total               int
	}{
		{"10.128.0.0/23", "10.128.0.3", "10.128.1.254", 508},
		{"10.128.0.0/29", "10.128.0.3", "10.128.0.6", 4},
		{"fd01::/125", "fd01::3", "fd01::7", 5},
		{"10.0.0.0/8", "10.0.0.3", "10.0.255.255", window - 3},
	} {
		a := NewAddresses(pfx(c.subnet))
		var all []netip.Addr
		for {
			x, err := a.Allocate()
			if err != nil {
				if !errors.Is(err, ErrExhausted) {
					t.Errorf("%s: %v, want ErrExhausted", c.subnet, err)
				}
				break
			}
			all = append(all, x)
		}
		if len(all) != c.total || all[0] != ip(c.first) || all[len(all)-1] != ip(c.last) {
			t.Errorf("%s: %d addresses %s…%s, want %d %s…%s", c.subnet, len(all), all[0], all[len(all)-1], c.total, c.first, c.last)
		}
	}
	if _, err := NewAddresses(pfx("10.0.0.0/31")).Allocate(); !errors.Is(err, ErrExhausted) {
		t.Errorf("/31: %v, want ErrExhausted", err)
	}
}

func TestAddressesClaim(t *testing.T) {
	a := NewAddresses(pfx("10.128.0.0/23"))
	for address, want := range map[string]error{
		"10.128.0.0": ErrReserved, "10.128.0.1": ErrReserved, "10.128.0.2": ErrReserved, "10.128.1.255": ErrReserved,
		"10.128.2.0": ErrOutside, "fd01::5": ErrOutside, "10.128.0.255": nil,
	} {
		if err := a.Claim(ip(address)); !errors.Is(err, want) {
			t.Errorf("Claim(%s) = %v, want %v", address, err, want)
		}
	}
	b := NewAddresses(pfx("fd01::/64"))
	far := ip("fd01::1:0:5")
	if err := b.Claim(far); err != nil {
		t.Errorf("an address past the window, made by somebody else: %v", err)
	}
	if err := b.Claim(far); !errors.Is(err, ErrTaken) {
		t.Errorf("second claim: %v, want ErrTaken", err)
	}
	b.Release(far)
	if err := b.Claim(far); err != nil {
		t.Errorf("claim after release: %v", err)
	}
}

func TestAddressesAreNotReusedAtOnce(t *testing.T) {
	a := NewAddresses(pfx("10.128.0.0/24"))
	x, _ := a.Allocate()
	a.Release(x)
	for range 251 {
		if y, err := a.Allocate(); err != nil || y == x {
			t.Fatalf("got %s %v before all other addresses were used", y, err)
		}
	}
	if y, err := a.Allocate(); err != nil || y != x {
		t.Errorf("last free address: %s %v, want %s", y, err, x)
	}
}

// The allocator agrees with a set of taken addresses, whatever happens to it.
func TestAddressesProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subnet := pfx(rapid.SampledFrom([]string{"10.1.0.0/28", "10.1.0.0/26", "10.1.1.0/25", "fd01::/124", "fd01::/121"}).Draw(t, "subnet"))
		a := NewAddresses(subnet)
		_, total := a.Usage()
		model := map[netip.Addr]bool{}
		some := func(t *rapid.T) netip.Addr {
			n := uint64(rapid.IntRange(0, 130).Draw(t, "host"))
			return number(subnet.Addr()).plus(uint128{lo: n}).address(subnet.Addr().Is4())
		}
		t.Repeat(map[string]func(*rapid.T){
			"allocate": func(t *rapid.T) {
				x, err := a.Allocate()
				switch {
				case err != nil && len(model) != total:
					t.Fatalf("refused with %d of %d taken: %v", len(model), total, err)
				case err == nil && (model[x] || !subnet.Contains(x)):
					t.Fatalf("handed out %s twice or outside of %s", x, subnet)
				case err == nil:
					model[x] = true
				}
			},
			"claim": func(t *rapid.T) {
				x := some(t)
				err := a.Claim(x)
				if err == nil && model[x] {
					t.Fatalf("claimed %s twice", x)
				}
				if errors.Is(err, ErrTaken) && !model[x] {
					t.Fatalf("%s is free but refused", x)
				}
				if err == nil {
					model[x] = true
				}
			},
			"release": func(t *rapid.T) {
				x := some(t)
				a.Release(x)
				delete(model, x)
			},
			"": func(t *rapid.T) {
				if taken, _ := a.Usage(); taken != len(model) {
					t.Fatalf("counts %d taken, %d are", taken, len(model))
				}
			},
		})
	})
}

// No two subnets overlap, every one is aligned and in a pool, and the lowest free one comes first.
func TestNodeSubnetsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pools := []Pool{{pfx("10.128.0.0/20"), 24}, {pfx("10.255.0.0/22"), 24}, {pfx("fd01::/60"), 64}}
		n := NewNodeSubnets(pools)
		held := map[netip.Prefix]bool{}
		take := func(t *rapid.T, s netip.Prefix) {
			for h := range held {
				if h.Overlaps(s) {
					t.Fatalf("%s overlaps %s", s, h)
				}
			}
			if s != s.Masked() {
				t.Fatalf("%s is not aligned", s)
			}
			held[s] = true
		}
		t.Repeat(map[string]func(*rapid.T){
			"allocate": func(t *rapid.T) {
				v4 := rapid.Bool().Draw(t, "v4")
				s, err := n.Allocate(v4)
				if err != nil {
					if taken, total := n.Usage(v4); taken != total {
						t.Fatalf("refused with %d of %d taken", taken, total)
					}
					return
				}
				take(t, s)
				for i := range 20 {
					lower := number(s.Addr()).minus(uint128{lo: uint64(i + 1)}.shiftLeft(s.Addr().BitLen() - s.Bits()))
					p := netip.PrefixFrom(lower.address(v4), s.Bits())
					if err := n.Claim(p); err == nil {
						t.Fatalf("%s was handed out while %s was free", s, p)
					}
				}
			},
			"claim": func(t *rapid.T) {
				s := n.pools[rapid.IntRange(0, 2).Draw(t, "pool")].subnet(uint64(rapid.IntRange(0, 15).Draw(t, "i")))
				if n.Claim(s) == nil {
					take(t, s)
				}
			},
			"release": func(t *rapid.T) {
				for s := range held {
					n.Release(s)
					delete(held, s)
					break
				}
			},
		})
	})
}

func TestIDs(t *testing.T) {
	s := NewIDs(2, 4)
	if err := s.Claim(3); err != nil {
		t.Fatal(err)
	}
	a, _ := s.Allocate()
	b, _ := s.Allocate()
	if a != 2 || b != 4 {
		t.Errorf("got %d and %d, want 2 and 4", a, b)
	}
	if _, err := s.Allocate(); !errors.Is(err, ErrExhausted) {
		t.Errorf("all taken: %v, want ErrExhausted", err)
	}
	s.Release(3)
	if c, err := s.Allocate(); err != nil || c != 3 {
		t.Errorf("after release: %d %v, want 3", c, err)
	}
	if err := s.Claim(1); !errors.Is(err, ErrOutside) {
		t.Errorf("Claim(1) = %v, want ErrOutside", err)
	}
	if err := s.Claim(2); !errors.Is(err, ErrTaken) {
		t.Errorf("Claim(2) = %v, want ErrTaken", err)
	}
}

func BenchmarkAllocateRelease(b *testing.B) {
	a := NewAddresses(pfx("fd01::/64"))
	for range 65000 {
		_, _ = a.Allocate()
	}
	for b.Loop() {
		x, err := a.Allocate()
		if err != nil {
			b.Fatal(err)
		}
		a.Release(x)
	}
}
