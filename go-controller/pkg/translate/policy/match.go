package policy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/selector"
)

// The functions here write matches in the language of ovn-sb(5), "match" of Logical_Flow. An empty text with false means: nothing matches.

// Families are those of the cluster's pods.
type Families struct{ IPv4, IPv6 bool }

func (f Families) each(do func(v4 bool)) {
	if f.IPv4 {
		do(true)
	}
	if f.IPv6 {
		do(false)
	}
}

// peers matches the other end's address: src or dst.
func (f Families) peers(field string, pods []selector.Selector, blocks []netip.Prefix) (string, bool) {
	var terms []string
	f.each(func(v4 bool) {
		if t := peersOf(v4, field, pods, blocks); t != "" {
			terms = append(terms, t)
		}
	})
	return anyOf(terms), len(terms) > 0
}

func peersOf(v4 bool, field string, pods []selector.Selector, blocks []netip.Prefix) string {
	var values []string
	for _, p := range pods {
		values = append(values, "$"+names.PeerAddressSet(p.String(), v4))
	}
	for _, b := range blocks {
		if b.Addr().Is4() != v4 {
			continue
		}
		if b.Bits() == 0 {
			return addr.MatchName(v4)
		}
		values = append(values, addr.Text(b))
	}
	if len(values) == 0 {
		return ""
	}
	return addr.MatchName(v4) + "." + field + " == " + oneOf(values)
}

// podsWithin matches those of pods whose addresses are in blocks.
func (f Families) podsWithin(field string, pods selector.Selector, blocks []netip.Prefix) (string, bool) {
	var terms []string
	f.each(func(v4 bool) {
		within := peersOf(v4, field, nil, blocks)
		if within == "" {
			return
		}
		is := peersOf(v4, field, []selector.Selector{pods}, nil)
		if within != addr.MatchName(v4) {
			is = "(" + is + " && " + within + ")" // OVN has no precedence of && over ||.
		}
		terms = append(terms, is)
	})
	return anyOf(terms), len(terms) > 0
}

// portRanges matches destination ports.
func portRanges(ranges []PortRange) (string, bool) {
	var terms []string
	for _, protocol := range protocols {
		name := strings.ToLower(string(protocol))
		var single, wide []string
		for _, r := range ranges {
			switch {
			case r.Protocol != protocol:
			case r.Whole():
				wide = append(wide, name)
			case r.First == r.Last:
				single = append(single, strconv.Itoa(int(r.First)))
			default:
				wide = append(wide, fmt.Sprintf("%d <= %s.dst <= %d", r.First, name, r.Last))
			}
		}
		if len(single) > 0 {
			terms = append(terms, name+".dst == "+oneOf(single))
		}
		terms = append(terms, wide...)
	}
	return anyOf(terms), len(terms) > 0
}

func portNumber(protocol corev1.Protocol, number uint16) string {
	return fmt.Sprintf("%s.dst == %d", strings.ToLower(string(protocol)), number)
}

func oneOf(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return "{" + strings.Join(values, ", ") + "}"
}

func anyOf(terms []string) string {
	if len(terms) > 1 {
		return "(" + strings.Join(terms, " || ") + ")"
	}
	return strings.Join(terms, "")
}
