package netfilter

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"
)

// ForgetStale removes from the kernel's connection tracking the UDP "connections" that changed rules would still hold: a client
// that goes on sending from one port would for ever be led to where the rule led before, or nowhere. Only the host's own
// zone is looked at; those of OVN are OVN's. addresses are the host's. It returns how many it has removed.
func ForgetStale(changes []Change, addresses []netip.Addr) (int, error) {
	byPort := map[uint16][]Change{}
	for _, c := range changes {
		if c.Protocol == UDP && c.Kind.hasTarget() {
			byPort[c.Port] = append(byPort[c.Port], c)
		}
	}
	if len(byPort) == 0 {
		return 0, nil
	}
	conn, err := conntrack.Dial(nil)
	if err != nil {
		return 0, fmt.Errorf("connection tracking: %w", err)
	}
	defer conn.Close()
	local := make(map[netip.Addr]bool, len(addresses))
	for _, a := range addresses {
		local[a] = true
	}
	removed := 0
	for _, l3 := range []netfilter.ProtoFamily{netfilter.ProtoIPv4, netfilter.ProtoIPv6} {
		flows, err := conn.DumpFilter(conntrack.NewFilter().Family(l3), nil)
		if err != nil {
			return removed, fmt.Errorf("list tracked connections: %w", err)
		}
		for _, f := range flows {
			if !isStale(f, byPort, local) {
				continue
			}
			if err := conn.Delete(f); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOENT) {
				return removed, fmt.Errorf("delete a tracked connection: %w", err)
			}
			removed++
		}
	}
	return removed, nil
}

// isStale tells whether a flow matches a changed rule and leads to where that does not lead any more. Where the rule is
// new, that is the destination itself.
func isStale(f conntrack.Flow, byPort map[uint16][]Change, local map[netip.Addr]bool) bool {
	to, back := f.TupleOrig, f.TupleReply
	if f.Zone != 0 || to.Proto.Protocol != uint8(UDP) {
		return false
	}
	for _, c := range byPort[to.Proto.DestinationPort] {
		dest := to.IP.DestinationAddress
		if dest.Is4() != c.V4 || c.Dest.IsValid() && dest != c.Dest || !c.Dest.IsValid() && !local[dest] {
			continue
		}
		before := netip.AddrPortFrom(dest, c.Port)
		if c.Was {
			before = c.Before
		}
		if netip.AddrPortFrom(back.IP.SourceAddress, back.Proto.SourcePort) == before {
			return true
		}
	}
	return false
}
