package plumb

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Configure gives the pod's end its addresses and routes and brings it up.
func Configure(v Veth) error {
	ns, err := openNetns(v.Netns)
	if err != nil {
		return err
	}
	defer ns.Close()
	return inNetns(ns, v.configureHere)
}

// configureHere runs in the pod's namespace.
func (v Veth) configureHere() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink socket: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(v.PodName)
	if err != nil {
		return fmt.Errorf("look up %s: %w", v.PodName, err)
	}
	if v.Userspace {
		if err := disableTxChecksumOffload(v.PodName); err != nil {
			return fmt.Errorf("switch off checksum offload of %s: %w", v.PodName, err)
		}
	}
	if err := v.prepareIPv6(); err != nil {
		return err
	}
	for _, a := range v.Addresses {
		if err := h.AddrReplace(link, address(a)); err != nil {
			return fmt.Errorf("add address %s to %s: %w", a, v.PodName, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring %s up: %w", v.PodName, err)
	}
	for _, r := range v.Routes {
		if err := h.RouteReplace(route(link, r)); err != nil {
			return fmt.Errorf("add route %s via %s: %w", r.Destination, r.NextHop, err)
		}
	}
	return nil
}

// prepareIPv6 sets what must be set before the interface is up. Duplicate address detection would keep
// addresses unusable for a second, and OVN guarantees that they are unique; router advertisements could only come
// from another pod.
func (v Veth) prepareIPv6() error {
	if err := setIPv6(v.PodName, "accept_ra", "0"); err != nil {
		return err
	}
	if err := setIPv6(v.PodName, "accept_dad", "0"); err != nil {
		return err
	}
	for _, a := range v.Addresses {
		if a.Addr().Is6() {
			return setIPv6(v.PodName, "disable_ipv6", "0")
		}
	}
	return nil
}

func address(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

func route(link netlink.Link, r Route) *netlink.Route {
	return &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(r.Destination), Gw: r.NextHop.AsSlice()}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Differences says in which ways the pair is not what v wants; none means that it is. Addresses and
// routes that v does not name are left out of account: others may have added them.
func Differences(v Veth) ([]string, error) {
	host, err := netlink.LinkByName(v.HostName)
	if isNotFound(err) {
		return []string{"veth " + v.HostName + " is gone"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up veth %s: %w", v.HostName, err)
	}
	var out []string
	if host.Attrs().Flags&net.FlagUp == 0 {
		out = append(out, "veth "+v.HostName+" is down")
	}
	ns, err := openNetns(v.Netns)
	if errors.Is(err, ErrNoNetns) {
		return append(out, err.Error()), nil
	}
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	err = inNetns(ns, func() error {
		here, err := v.differencesHere(host.Attrs())
		out = append(out, here...)
		return err
	})
	return out, err
}

// differencesHere runs in the pod's namespace.
func (v Veth) differencesHere(host *netlink.LinkAttrs) ([]string, error) {
	link, err := netlink.LinkByName(v.PodName)
	if isNotFound(err) {
		return []string{"interface " + v.PodName + " is gone"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", v.PodName, err)
	}
	a := link.Attrs()
	var out []string
	differs := func(format string, args ...any) { out = append(out, v.PodName+" "+fmt.Sprintf(format, args...)) }
	if host.ParentIndex != a.Index || a.ParentIndex != host.Index {
		differs("is not the peer of %s", v.HostName)
	}
	if a.Flags&net.FlagUp == 0 {
		differs("is down")
	}
	if a.HardwareAddr.String() != v.MAC.String() {
		differs("has MAC %s and not %s", a.HardwareAddr, v.MAC)
	}
	if a.MTU != v.MTU {
		differs("has MTU %d and not %d", a.MTU, v.MTU)
	}
	if v.Userspace {
		if on, err := txChecksumOffload(v.PodName); err == nil && on {
			differs("leaves checksums to offload")
		}
	}
	for _, addr := range v.Addresses {
		if ok, err := hasAddress(link, addr); err != nil {
			return nil, err
		} else if !ok {
			differs("lacks address %s", addr)
		}
	}
	for _, r := range v.Routes {
		if ok, err := hasRoute(link, r); err != nil {
			return nil, err
		} else if !ok {
			differs("lacks route %s via %s", r.Destination, r.NextHop)
		}
	}
	return out, nil
}

func hasAddress(link netlink.Link, p netip.Prefix) (bool, error) {
	addrs, err := netlink.AddrList(link, family(p.Addr()))
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return false, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if got, ok := toPrefix(a.IPNet); ok && got == p {
			return true, nil
		}
	}
	return false, nil
}

func hasRoute(link netlink.Link, r Route) (bool, error) {
	filter := &netlink.Route{LinkIndex: link.Attrs().Index}
	routes, err := netlink.RouteListFiltered(family(r.NextHop), filter, netlink.RT_FILTER_OIF)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return false, fmt.Errorf("list routes: %w", err)
	}
	for _, got := range routes {
		gw, ok := netip.AddrFromSlice(got.Gw)
		if !ok || gw.Unmap() != r.NextHop {
			continue
		}
		if dst, ok := toPrefix(got.Dst); (ok && dst == r.Destination) || (got.Dst == nil && r.Destination.Bits() == 0) {
			return true, nil
		}
	}
	return false, nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

// toPrefix keeps the host bits.
func toPrefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if ok && bits == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, ones), ok
}
