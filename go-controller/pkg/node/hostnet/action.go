package hostnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Action is one change of the host. Doing it twice does no harm.
type Action interface {
	fmt.Stringer
	Apply(ctx context.Context) error
}

// SetLink brings a device up with an MTU; MTU 0 leaves it alone.
type SetLink struct {
	Device string
	MTU    int
	Up     bool
}

// AddAddress puts an address on a device, or changes its lifetime and flags. IPv6 addresses are used at once,
// without duplicate address detection: they are the host's own already.
type AddAddress struct {
	Device  string
	Address Address
}

// DeleteAddress takes an address off a device.
type DeleteAddress struct {
	Device  string
	Address Address
}

// ReplaceRoute makes a route; one with the same destination, table and metric, over any device, gives way
// without a moment in which there is none.
type ReplaceRoute struct {
	Device string
	Route  Route
}

// DeleteRoute removes a route over a device.
type DeleteRoute struct {
	Device string
	Route  Route
}

// SetNeighbour makes a permanent neighbour entry.
type SetNeighbour struct {
	Device    string
	Neighbour Neighbour
}

// SetSysctl writes a kernel setting; Key has slashes, below /proc/sys.
type SetSysctl struct{ Key, Value string }

// DisableTxChecksum makes the kernel fill in checksums before packets leave through a device.
type DisableTxChecksum struct{ Device string }

func (a SetLink) String() string {
	return fmt.Sprintf("set device %s mtu %d up %t", a.Device, a.MTU, a.Up)
}
func (a AddAddress) String() string {
	return fmt.Sprintf("add address %s to %s", a.Address.Prefix, a.Device)
}
func (a DeleteAddress) String() string {
	return fmt.Sprintf("delete address %s from %s", a.Address.Prefix, a.Device)
}
func (a ReplaceRoute) String() string {
	return fmt.Sprintf("replace route %s via %s dev %s metric %d", a.Route.Destination, hop(a.Route), a.Device, a.Route.Metric)
}
func (a DeleteRoute) String() string {
	return fmt.Sprintf("delete route %s via %s dev %s metric %d", a.Route.Destination, hop(a.Route), a.Device, a.Route.Metric)
}
func (a SetNeighbour) String() string {
	return fmt.Sprintf("set neighbour %s at %s dev %s", a.Neighbour.Address, a.Neighbour.MAC, a.Device)
}
func (a SetSysctl) String() string { return fmt.Sprintf("set %s = %s", a.Key, a.Value) }
func (a DisableTxChecksum) String() string {
	return "turn transmit checksum offload off on " + a.Device
}

func hop(r Route) string {
	if r.Gateway.IsValid() {
		return r.Gateway.String()
	}
	return "link"
}

// Apply executes actions in order until one fails; the error says which.
func Apply(ctx context.Context, actions ...Action) error {
	for _, a := range actions {
		if err := a.Apply(ctx); err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
	}
	return nil
}

// Apply implements Action.
func (a SetLink) Apply(context.Context) error {
	link, err := netlink.LinkByName(a.Device)
	if err != nil {
		return err
	}
	if a.MTU != 0 && link.Attrs().MTU != a.MTU {
		if err := netlink.LinkSetMTU(link, a.MTU); err != nil {
			return err
		}
	}
	if a.Up {
		return netlink.LinkSetUp(link)
	}
	return nil
}

// Apply implements Action.
func (a AddAddress) Apply(context.Context) error {
	link, err := netlink.LinkByName(a.Device)
	if err != nil {
		return err
	}
	wire := a.Address.wire()
	if a.Address.Prefix.Addr().Is6() {
		wire.Flags |= unix.IFA_F_NODAD
	}
	return netlink.AddrReplace(link, wire)
}

// Apply implements Action.
func (a DeleteAddress) Apply(context.Context) error {
	link, err := netlink.LinkByName(a.Device)
	if err != nil {
		return ignoreGone(err)
	}
	return ignore(netlink.AddrDel(link, &netlink.Addr{IPNet: toIPNet(a.Address.Prefix)}), unix.EADDRNOTAVAIL)
}

// Apply implements Action.
func (a ReplaceRoute) Apply(context.Context) error {
	link, err := netlink.LinkByName(a.Device)
	if err != nil {
		return err
	}
	// The kernel answers EEXIST when the route is there, behind another of the same key.
	return ignore(netlink.RouteReplace(a.Route.wire(link.Attrs().Index)), unix.EEXIST)
}

// Apply implements Action.
func (a DeleteRoute) Apply(context.Context) error {
	link, err := netlink.LinkByName(a.Device)
	if err != nil {
		return ignoreGone(err)
	}
	wire := a.Route.wire(link.Attrs().Index)
	wire.Protocol, wire.MTU = 0, 0
	return ignore(netlink.RouteDel(wire), unix.ESRCH)
}

// Apply implements Action.
func (a SetNeighbour) Apply(context.Context) error {
	link, err := netlink.LinkByName(a.Device)
	if err != nil {
		return err
	}
	family := netlink.FAMILY_V6
	if a.Neighbour.Address.Is4() {
		family = netlink.FAMILY_V4
	}
	return netlink.NeighSet(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, Family: family, State: netlink.NUD_PERMANENT,
		IP: a.Neighbour.Address.AsSlice(), HardwareAddr: a.Neighbour.MAC,
	})
}

// Apply implements Action.
func (a SetSysctl) Apply(context.Context) error {
	return os.WriteFile(sysctlPath(a.Key), []byte(a.Value), 0o644)
}

// Apply implements Action.
func (a DisableTxChecksum) Apply(context.Context) error {
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer tool.Close()
	return tool.Change(a.Device, map[string]bool{txChecksumFeature: false})
}

// txChecksumFeature is the kernel's name of the offload on software devices (tap, veth).
const txChecksumFeature = "tx-checksum-ip-generic"

// TxChecksum tells whether transmit checksum offload is on; it is not on a device that does not exist.
func TxChecksum(device string) (bool, error) {
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return false, fmt.Errorf("transmit checksum offload of %s: %w", device, err)
	}
	defer tool.Close()
	features, err := tool.Features(device)
	if errors.Is(err, unix.ENODEV) {
		return false, nil // gone: its return is an event
	}
	if err != nil {
		return false, fmt.Errorf("transmit checksum offload of %s: %w", device, err)
	}
	return features[txChecksumFeature], nil
}

// Sysctl reads a kernel setting; "" when this kernel or device has none.
func Sysctl(key string) string {
	data, err := os.ReadFile(sysctlPath(key))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func sysctlPath(key string) string { return "/proc/sys/" + key }

// ignore takes an error for success when it says that there is nothing left to do.
func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}

// ignoreGone does the same when the device is gone, and what was on it.
func ignoreGone(err error) error {
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	return err
}

func (a Address) wire() *netlink.Addr {
	w := &netlink.Addr{IPNet: toIPNet(a.Prefix), Broadcast: net.IPv4zero} // the library's word for none
	if a.Broadcast.IsValid() {
		w.Broadcast = a.Broadcast.AsSlice()
	}
	if a.NoPrefixRoute {
		w.Flags |= unix.IFA_F_NOPREFIXROUTE
	}
	if !a.Expires.IsZero() {
		w.ValidLft = max(1, int(time.Until(a.Expires).Seconds()))
		w.PreferedLft = w.ValidLft
	}
	if a.Deprecated {
		w.ValidLft, w.PreferedLft = cmp.Or(w.ValidLft, forever), 0
	}
	return w
}

func (r Route) wire(index int) *netlink.Route {
	w := &netlink.Route{
		LinkIndex: index, Dst: toIPNet(r.Destination), Priority: r.Metric, Table: r.Table, MTU: r.MTU,
		Protocol: netlink.RouteProtocol(r.Protocol), Scope: netlink.Scope(r.Scope),
	}
	if r.Gateway.IsValid() {
		w.Gw = r.Gateway.AsSlice()
	}
	if r.Source.IsValid() {
		w.Src = r.Source.AsSlice()
	}
	if r.OnLink {
		w.Flags = int(netlink.FLAG_ONLINK)
	}
	return w
}
