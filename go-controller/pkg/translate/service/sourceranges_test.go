package service

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func TestComplement(t *testing.T) {
	for _, c := range []struct {
		v4     bool
		ranges []string
		want   string
	}{
		{true, []string{"0.0.0.0/0"}, "{}"},
		{true, []string{"128.0.0.0/1"}, "{0.0.0.0/1}"},
		{true, []string{"0.0.0.0/2", "10.0.0.0/8"}, "{64.0.0.0/2, 128.0.0.0/1}"},
		{false, []string{"8000::/1", "::/2"}, "{4000::/2}"},
	} {
		var ranges []netip.Prefix
		for _, r := range c.ranges {
			ranges = append(ranges, netip.MustParsePrefix(r))
		}
		if got := set(complement(c.v4, ranges)); got != c.want {
			t.Errorf("all but %v is %s, want %s", c.ranges, got, c.want)
		}
	}
}

// An address is either in a range or in the complement.
func TestComplementIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) netip.Addr {
			return netip.AddrFrom4([4]byte{rapid.Byte().Draw(t, label), rapid.Byte().Draw(t, label), rapid.Byte().Draw(t, label), rapid.Byte().Draw(t, label)})
		}
		var ranges []netip.Prefix
		for range rapid.IntRange(1, 5).Draw(t, "ranges") {
			ranges = append(ranges, netip.PrefixFrom(draw("range"), rapid.IntRange(0, 32).Draw(t, "bits")).Masked())
		}
		probes := []netip.Addr{draw("probe")}
		for _, r := range ranges {
			probes = append(probes, r.Addr(), r.Addr().Prev(), r.Addr().Next())
		}
		count := func(list []netip.Prefix, a netip.Addr) (n int) {
			for _, p := range list {
				if p.Contains(a) {
					n++
				}
			}
			return n
		}
		others := complement(true, ranges)
		for _, a := range probes {
			if a.IsValid() && (count(ranges, a) > 0) == (count(others, a) > 0) {
				t.Fatalf("%s is in %d of %v and in %d of the others %v", a, count(ranges, a), ranges, count(others, a), others)
			}
		}
	})
}
