package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"pgregory.net/rapid"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
)

func TestBlocks(t *testing.T) {
	for _, c := range []struct{ cidr, except, want string }{
		{"10.0.0.0/8", "", "10.0.0.0/8"},
		{"10.1.2.3/8", "", "10.0.0.0/8"},
		{"010.0.0.0/8", "", "10.0.0.0/8"},
		{"::ffff:10.0.0.0/104", "", "10.0.0.0/8"},
		{"10.0.0.0/8", "10.0.0.0/8", ""},
		{"10.0.0.0/8", "0.0.0.0/0", ""},
		{"10.0.0.0/8", "192.168.0.0/16", "10.0.0.0/8"},
		{"10.0.0.0/30", "10.0.0.1/32", "10.0.0.0/32 10.0.0.2/31"},
		{"10.0.0.0/31", "10.0.0.0/32 10.0.0.1/32", ""},
		{"0.0.0.0/0", "128.0.0.0/1", "0.0.0.0/1"},
		{"2001:db8::/126", "2001:db8::3/128 10.0.0.0/8", "2001:db8::/127 2001:db8::2/128"},
		{"192.0.2.7/32", "", "192.0.2.7/32"},
	} {
		got, err := parseBlock(&networkingv1.IPBlock{CIDR: c.cidr, Except: strings.Fields(c.except)})
		var texts []string
		for _, p := range got {
			texts = append(texts, p.String())
		}
		if err != nil || strings.Join(texts, " ") != c.want {
			t.Errorf("%s except %s is %v (%v), want %s", c.cidr, c.except, texts, err, c.want)
		}
	}
}

func drawPrefix(t *rapid.T) netip.Prefix {
	bits := rapid.IntRange(24, 32).Draw(t, "bits")
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "address")}), bits).Masked()
}

// The prefixes hold exactly the addresses that are in a block and in none of its exceptions, each once, and there are no fewer.
func TestBlocksHoldTheRightAddresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type block struct {
			cidr   netip.Prefix
			except []netip.Prefix
		}
		var blocks []block
		var all []netip.Prefix
		for range rapid.IntRange(0, 4).Draw(t, "blocks") {
			b := block{drawPrefix(t), rapid.SliceOfN(rapid.Custom(drawPrefix), 0, 3).Draw(t, "except")}
			blocks = append(blocks, b)
			all = append(all, addr.Without(b.cidr, b.except)...)
		}
		got := union(all)
		for i := range 256 {
			a := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
			want := slices.ContainsFunc(blocks, func(b block) bool {
				return b.cidr.Contains(a) && !slices.ContainsFunc(b.except, func(e netip.Prefix) bool { return e.Contains(a) })
			})
			n := 0
			for _, p := range got {
				if p.Contains(a) {
					n++
				}
			}
			if want && n != 1 || !want && n != 0 {
				t.Fatalf("%s is in %d of %v, want it in: %v", a, n, got, want)
			}
		}
		for i := 1; i < len(got); i++ {
			if siblings(got[i-1], got[i]) {
				t.Errorf("%v could be one", got[i-1:i+1])
			}
		}
	})
}

// A port is in the merged ranges when it is in one of them.
func TestRangesHoldTheRightPorts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in []PortRange
		for range rapid.IntRange(0, 6).Draw(t, "ranges") {
			first := rapid.Uint16Range(1, 40).Draw(t, "first")
			in = append(in, PortRange{rapid.SampledFrom(protocols).Draw(t, "protocol"), first, first + rapid.Uint16Range(0, 6).Draw(t, "more")})
		}
		holds := func(list []PortRange, protocol corev1.Protocol, port uint16) int {
			n := 0
			for _, r := range list {
				if r.Protocol == protocol && r.First <= port && port <= r.Last {
					n++
				}
			}
			return n
		}
		got := mergeRanges(slices.Clone(in))
		for _, protocol := range protocols {
			for port := range uint16(50) {
				if n := holds(got, protocol, port); n > 1 || (n == 1) != (holds(in, protocol, port) > 0) {
					t.Fatalf("%s %d is in %d of %v, made of %v", protocol, port, n, got, in)
				}
			}
		}
	})
}
