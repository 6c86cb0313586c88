package hypervisor

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/netns"
)

// NIC is the name of a machine's "physical" device.
const NIC = "eth0"

// wire gives the machine behind the network namespace self its device with
// addresses and default routes. hub is the namespace with the bridge to plug
// into, or empty for the machine that holds it.
func wire(name string, n machine.Network, self, hub string) error {
	mac, err := net.ParseMAC(n.MAC)
	if err != nil {
		return fmt.Errorf("network of %s: %w", name, err)
	}
	device := n.Bridge
	if device == "" {
		device = NIC
		if err := plug(name, mac, n.MTU, self, hub); err != nil {
			return err
		}
	}
	return netns.Do(self, func() error {
		if n.Bridge != "" {
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.HardwareAddr, attrs.MTU = n.Bridge, mac, n.MTU
			// A plain wire: without a querier snooping has nothing to say.
			snooping := false
			if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}); err != nil {
				return fmt.Errorf("create bridge %s: %w", n.Bridge, err)
			}
		}
		if err := configure("lo", machine.Network{}); err != nil {
			return err
		}
		if err := netns.TxChecksumOff(device); err != nil {
			return err
		}
		return configure(device, n)
	})
}

// plug makes the cable: eth0 in the machine, a port named like the machine on
// the hub's bridge. A port left from the machine's last life is removed first:
// the kernel takes its time to clean up a namespace.
func plug(name string, mac net.HardwareAddr, mtu int, self, hub string) error {
	peer, err := os.Open(self)
	if err != nil {
		return fmt.Errorf("network namespace of %s: %w", name, err)
	}
	defer peer.Close()
	return netns.Do(hub, func() error {
		if old, err := netlink.LinkByName(name); err == nil {
			if err := netlink.LinkDel(old); err != nil {
				return fmt.Errorf("remove the old port of %s: %w", name, err)
			}
		}
		bridge, err := theBridge()
		if err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.MasterIndex = name, mtu, bridge.Attrs().Index
		veth := &netlink.Veth{LinkAttrs: attrs, PeerName: NIC, PeerHardwareAddr: mac,
			PeerMTU: uint32(mtu), PeerNamespace: netlink.NsFd(peer.Fd())} //nolint:gosec // an MTU is small
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("create cable %s: %w", name, err)
		}
		if err := netns.TxChecksumOff(name); err != nil {
			return err
		}
		return configure(name, machine.Network{})
	})
}

// unplug removes the cable of a machine.
func unplug(name, hub string) error {
	return netns.Do(hub, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
}

func theBridge() (netlink.Link, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	for _, l := range links {
		if l.Type() == "bridge" {
			return l, nil
		}
	}
	return nil, fmt.Errorf("the machine %s has no bridge", Hub)
}

// configure brings a device up with addresses and default routes.
func configure(device string, n machine.Network) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("device %s: %w", device, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring %s up: %w", device, err)
	}
	for i, a := range slices.Concat(n.Addresses, n.Services) {
		if err := addAddress(link, a, i >= len(n.Addresses)); err != nil {
			return fmt.Errorf("address %s on %s: %w", a, device, err)
		}
	}
	for _, g := range n.Gateways {
		bits := g.BitLen()
		dst := &net.IPNet{IP: make(net.IP, bits/8), Mask: net.CIDRMask(0, bits)}
		r := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: g.AsSlice(), Dst: dst}
		if err := netlink.RouteReplace(r); err != nil {
			return fmt.Errorf("default route via %s: %w", g, err)
		}
	}
	return nil
}

// addAddress adds an address. One for a service is never a connection's source:
// among IPv6 addresses that is so for those that are not preferred any more, see
// RFC 6724 section 5 rule 3; among IPv4 addresses the first one is the source.
func addAddress(link netlink.Link, a netip.Prefix, service bool) error {
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}}
	if a.Addr().Is6() {
		// Nobody else can have it: waiting for duplicates costs a second.
		addr.Flags = ifaFNoDAD
		if service {
			addr.ValidLft, addr.PreferedLft = math.MaxUint32, 0
		}
	}
	return netlink.AddrReplace(link, addr)
}

// ifaFNoDAD is IFA_F_NODAD of linux/if_addr.h.
const ifaFNoDAD = 0x02
