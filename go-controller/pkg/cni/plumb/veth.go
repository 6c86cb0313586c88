// Package plumb makes, checks and removes a pod's veth pair, with netlink and without running commands.
//
// The host's end becomes a port of the integration bridge; the pod's end is created inside of the pod's
// network namespace at once, with its final name, MAC and MTU.
package plumb

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// aliasPrefix begins the alias of the host's end; the sandbox ID follows.
const aliasPrefix = "k8s.ovn.org/sandbox="

// maxAlias is IFALIASZ less the final NUL.
const maxAlias = 255

// ErrExists says that the pod already has an interface of that name which is not ours.
var ErrExists = errors.New("interface exists already")

// Veth says what a pod's veth is to be.
type Veth struct {
	// HostName is the name of the host's end.
	HostName string
	// Sandbox and Pod (namespace/name) are written to the alias of the host's end, for people and
	// for garbage collection.
	Sandbox, Pod string
	// Netns is the path of the pod's network namespace, PodName the interface's name there.
	Netns, PodName string
	MAC            net.HardwareAddr
	MTU            int
	Addresses      []netip.Prefix
	Routes         []Route
	// Userspace says that the bridge's datapath is userspace: checksums must not be left to offload.
	Userspace bool
}

// Route is a route in the pod.
type Route struct {
	Destination netip.Prefix
	NextHop     netip.Addr
}

// Create makes the pair. The host's end is up when it returns; the pod's end waits for Configure. What
// an earlier attempt has left under the host's name is replaced. Errors: ErrNoNetns, ErrExists.
func Create(v Veth) error {
	ns, err := openNetns(v.Netns)
	if err != nil {
		return err
	}
	defer ns.Close()
	err = v.newLink(ns)
	if errors.Is(err, unix.EEXIST) {
		if err := Delete(v.HostName); err != nil {
			return err
		}
		err = v.newLink(ns)
	}
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: %s in %s", ErrExists, v.PodName, v.Netns)
	}
	if err != nil {
		return fmt.Errorf("create veth %s: %w", v.HostName, err)
	}
	if err := v.prepareHost(); err != nil {
		return errors.Join(err, Delete(v.HostName))
	}
	return nil
}

// newLink creates both ends in one request, both down.
func (v Veth) newLink(ns *os.File) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.HostName)))
	req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(v.MTU))))
	req.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(names.PodLinkGroup)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.PodName))
	peer.AddRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(v.MTU)))
	peer.AddRtAttr(unix.IFLA_ADDRESS, v.MAC)
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns.Fd())))
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// addrGenModeNone is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h.
const addrGenModeNone = 1

// prepareHost keeps the host's own stack off the host's end, names it and brings it up, in one request.
//
// The host's end has neither ARP nor IPv6 addresses, so that the host does not answer the pod. (Not with the
// disable_ipv6 sysctl: its write spins for the kernel's one lock of network configuration, which in a burst of pods took
// more processor time than all the rest.) What the pod sends to the host's end all the same is dropped by PodGuard where
// the host's stack gets to see it.
func (v Veth) prepareHost() error {
	err := v.setHost(true)
	if errors.Is(err, unix.EAFNOSUPPORT) { // a kernel without IPv6
		err = v.setHost(false)
	}
	if err != nil {
		return fmt.Errorf("bring veth %s up: %w", v.HostName, err)
	}
	return nil
}

func (v Veth) setHost(ipv6 bool) error {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Flags = unix.IFF_UP | unix.IFF_NOARP
	msg.Change = unix.IFF_UP | unix.IFF_NOARP
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.HostName)))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(v.alias())))
	if ipv6 {
		families := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
		families.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{addrGenModeNone})
		req.AddData(families)
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func (v Veth) alias() string {
	alias := aliasPrefix + v.Sandbox + " " + v.Pod
	return alias[:min(len(alias), maxAlias)]
}

// Delete removes the host's end of a pair, and with it the pod's. A link that is not there is fine.
func Delete(hostName string) error {
	link, err := netlink.LinkByName(hostName)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up veth %s: %w", hostName, err)
	}
	if link.Type() != "veth" {
		return fmt.Errorf("link %s is a %s and not a veth", hostName, link.Type())
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete veth %s: %w", hostName, err)
	}
	return nil
}

// HostEnds returns the host's ends of all veth pairs: the sandbox ID by name, empty for those that
// are not ours.
func HostEnds() (map[string]string, error) {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list links: %w", err)
	}
	out := map[string]string{}
	for _, link := range links {
		if link.Type() != "veth" {
			continue
		}
		sandbox := ""
		if rest, ok := strings.CutPrefix(link.Attrs().Alias, aliasPrefix); ok {
			sandbox, _, _ = strings.Cut(rest, " ")
		}
		out[link.Attrs().Name] = sandbox
	}
	return out, nil
}

func isNotFound(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, unix.ENODEV)
}
