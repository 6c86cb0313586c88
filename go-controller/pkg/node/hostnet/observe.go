package hostnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dumpAttempts bounds the repeats of a listing that changed while it was read.
const dumpAttempts = 10

// forever is the lifetime, in seconds, by which the kernel says "no limit".
const forever = 1<<32 - 1

// Observe reads a device and everything on it. It returns nil, nil when there is no such device.
func Observe(name string) (*Device, error) {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read device %s: %w", name, err)
	}
	d := &Device{Link: decodeLink(link)}
	if d.Addresses, err = addresses(link); err == nil {
		if d.Routes, err = routes(link); err == nil {
			d.Neighbours, err = neighbours(link)
		}
	}
	if err != nil {
		if _, gone := netlink.LinkByIndex(d.Index); errors.As(gone, &netlink.LinkNotFoundError{}) {
			return nil, nil // removed meanwhile
		}
		return nil, fmt.Errorf("read device %s: %w", name, err)
	}
	return d, nil
}

func decodeLink(link netlink.Link) Link {
	a := link.Attrs()
	return Link{Index: a.Index, Name: a.Name, MAC: a.HardwareAddr, MTU: a.MTU, Up: a.Flags&net.FlagUp != 0,
		Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0}
}

// complete repeats a dump that the kernel says was interrupted by a change.
func complete[T any](dump func() (T, error)) (T, error) {
	var out T
	var err error
	for range dumpAttempts {
		if out, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return out, err
}

func addresses(link netlink.Link) ([]Address, error) {
	found, err := complete(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var out []Address
	for _, a := range found {
		if prefix, ok := globalPrefix(a); ok {
			out = append(out, Address{
				Prefix:        prefix,
				NoPrefixRoute: a.Flags&unix.IFA_F_NOPREFIXROUTE != 0,
				Broadcast:     fromIP(a.Broadcast),
				Expires:       expiry(a.ValidLft, time.Now()),
			})
		}
	}
	return out, nil
}

// globalPrefix leaves out the addresses that the kernel makes itself: link-local and temporary (RFC 8981) ones of IPv6.
func globalPrefix(a netlink.Addr) (netip.Prefix, bool) {
	prefix, ok := fromIPNet(a.IPNet)
	if !ok || a.Scope != int(netlink.SCOPE_UNIVERSE) || (prefix.Addr().Is6() && prefix.Addr().IsLinkLocalUnicast()) {
		return prefix, false
	}
	temporary := prefix.Addr().Is6() && a.Flags&unix.IFA_F_TEMPORARY != 0
	return prefix, !temporary
}

// expiry is when an address ends. In its last second the kernel says 0.
func expiry(validSeconds int, now time.Time) time.Time {
	if validSeconds < 0 || validSeconds >= forever {
		return time.Time{}
	}
	return now.Add(time.Duration(validSeconds) * time.Second).Truncate(time.Second)
}

func routes(link netlink.Link) ([]Route, error) {
	var out []Route
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		filter := &netlink.Route{LinkIndex: link.Attrs().Index, Table: unix.RT_TABLE_UNSPEC}
		found, err := complete(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range found {
			if route, ok := decodeRoute(r, family); ok {
				out = append(out, route)
			}
		}
	}
	return out, nil
}

func decodeRoute(r netlink.Route, family int) (Route, bool) {
	dst, ok := fromIPNet(r.Dst)
	if r.Dst == nil {
		dst, ok = netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
		if family == netlink.FAMILY_V6 {
			dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	}
	if !ok || r.Table == unix.RT_TABLE_LOCAL || r.Type != unix.RTN_UNICAST || len(r.MultiPath) > 0 {
		return Route{}, false
	}
	if a := dst.Addr(); a.IsMulticast() || (a.IsLinkLocalUnicast() && a.Is6()) {
		return Route{}, false
	}
	return Route{
		Destination: dst, Gateway: fromIP(r.Gw), Source: fromIP(r.Src), Metric: r.Priority, Table: r.Table,
		Protocol: int(r.Protocol), Scope: int(r.Scope), OnLink: r.Flags&int(netlink.FLAG_ONLINK) != 0, MTU: r.MTU,
	}, true
}

func neighbours(link netlink.Link) ([]Neighbour, error) {
	found, err := complete(func() ([]netlink.Neigh, error) {
		return netlink.NeighList(link.Attrs().Index, netlink.FAMILY_ALL)
	})
	if err != nil {
		return nil, fmt.Errorf("list neighbours: %w", err)
	}
	var out []Neighbour
	for _, n := range found {
		if a := fromIP(n.IP); a.IsValid() && n.State&netlink.NUD_PERMANENT != 0 {
			out = append(out, Neighbour{Address: a, MAC: n.HardwareAddr, Permanent: true})
		}
	}
	return out, nil
}

func fromIP(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func fromIPNet(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	ones, _ := n.Mask.Size()
	a := fromIP(n.IP)
	return netip.PrefixFrom(a, ones), a.IsValid()
}

func toIPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
