package conntrack

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Entry is a connection of UDP that Open vSwitch knows.
type Entry struct {
	// Zone is where it is known: what different zones know has nothing to do with each other.
	Zone uint16
	// Source and Destination are those of the client's packets.
	Source, Destination netip.AddrPort
	// Answers is where answers come from; not Destination where that is translated.
	Answers netip.AddrPort
}

// parse reads a line of dpctl/dump-conntrack: "udp,orig=(src=…,dst=…,sport=…,dport=…),reply=(…),zone=…,…". What is not UDP has no
// result.
func parse(line string) (e Entry, ok bool, err error) {
	rest, ok := strings.CutPrefix(line, "udp,")
	if !ok {
		return e, false, nil
	}
	fields := map[string]string{}
	prefix := ""
	for _, word := range strings.FieldsFunc(rest, func(r rune) bool { return r == ',' }) {
		for _, direction := range []string{"orig", "reply"} {
			if inside, begins := strings.CutPrefix(word, direction+"=("); begins {
				prefix, word = direction+".", inside
			}
		}
		name, value, _ := strings.Cut(word, "=")
		value, ends := strings.CutSuffix(value, ")")
		fields[prefix+name] = value
		if ends {
			prefix = ""
		}
	}
	for _, end := range []struct {
		at         *netip.AddrPort
		addr, port string
	}{
		{&e.Source, "orig.src", "orig.sport"}, {&e.Destination, "orig.dst", "orig.dport"}, {&e.Answers, "reply.src", "reply.sport"},
	} {
		if *end.at, err = addrPort(fields[end.addr], fields[end.port]); err != nil {
			return e, false, fmt.Errorf("connection %q: %w", line, err)
		}
	}
	if zone, ok := fields["zone"]; ok { // none: zone 0
		number, err := strconv.ParseUint(zone, 10, 16)
		if err != nil {
			return e, false, fmt.Errorf("connection %q: %w", line, err)
		}
		e.Zone = uint16(number)
	}
	return e, true, nil
}

func addrPort(addr, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a, uint16(p)), err
}

// tuple names the entry in its zone, as dpctl/flush-conntrack wants it (ovs-dpctl(8)).
func (e Entry) tuple() string {
	family := "ct_nw"
	if !e.Source.Addr().Is4() {
		family = "ct_ipv6"
	}
	return fmt.Sprintf("%[1]s_src=%[2]s,%[1]s_dst=%[3]s,ct_nw_proto=17,ct_tp_src=%[4]d,ct_tp_dst=%[5]d",
		family, e.Source.Addr(), e.Destination.Addr(), e.Source.Port(), e.Destination.Port())
}
