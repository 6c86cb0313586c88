package hostnet

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// Exists tells whether there is a device of that name.
func Exists(name string) (bool, error) {
	_, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read device %s: %w", name, err)
	}
	return true, nil
}

// DefaultDevices returns the devices of the default routes, IPv4 first, best metric first.
func DefaultDevices() ([]string, error) {
	var out []string
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		filter := &netlink.Route{Table: MainTable}
		found, err := complete(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, filter, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("list default routes: %w", err)
		}
		found = slices.DeleteFunc(found, func(r netlink.Route) bool { return !isDefault(r) })
		slices.SortStableFunc(found, func(a, b netlink.Route) int { return cmp.Compare(a.Priority, b.Priority) })
		for _, r := range found {
			if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
				out = append(out, link.Attrs().Name)
			}
		}
	}
	return out, nil
}

func isDefault(r netlink.Route) bool {
	if r.LinkIndex == 0 {
		return false
	}
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

// Carrier returns the device that has the address; nil, nil when none has.
func Carrier(address netip.Addr) (*Link, error) {
	found, err := complete(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range found {
		if prefix, ok := fromIPNet(a.IPNet); !ok || prefix.Addr() != address {
			continue
		}
		link, err := netlink.LinkByIndex(a.LinkIndex)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil, nil // gone meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("device of address %s: %w", address, err)
		}
		decoded := decodeLink(link)
		return &decoded, nil
	}
	return nil, nil
}

// HostAddresses returns the addresses of global scope on all devices but the named ones, sorted.
func HostAddresses(except ...string) ([]netip.Prefix, error) {
	links, err := complete(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	skip := map[int]bool{}
	for _, l := range links {
		skip[l.Attrs().Index] = slices.Contains(except, l.Attrs().Name) || slices.Contains(tunnels, l.Type())
	}
	found, err := complete(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var out []netip.Prefix
	for _, a := range found {
		if prefix, ok := globalPrefix(a); ok && !skip[a.LinkIndex] {
			out = append(out, prefix)
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out), nil
}

// tunnels are the kinds of devices whose addresses are not the host's.
var tunnels = []string{"geneve", "vxlan", "gre", "gretap", "ip6gre", "ip6gretap"}
