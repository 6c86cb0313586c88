package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/reconcile"
)

// discardPort is the service that throws away what it gets (RFC 863); nothing need listen there.
const discardPort = 9

// greeter makes the host resolve the link-layer address of every tunnel's far end. The userspace datapath learns
// neighbours only from answers that pass its bridges, and drops a packet into a tunnel whose neighbour it does not
// know: without a greeting, that is the first packet between any two nodes.
type greeter struct {
	// send makes the host talk to an address.
	send func(context.Context, netip.Addr) error
	// greeted are the far ends that were greeted, by the ID of the tunnel's port.
	greeted map[string]netip.Addr
}

// greet talks to the far ends of the tunnels that are new.
func (g *greeter) greet(ctx context.Context, s ovs.State) error {
	now := map[string]netip.Addr{}
	var errs []error
	for _, port := range s.Ports {
		if port.Type != ovs.Geneve || !port.Attached() || !port.Remote.IsValid() {
			continue
		}
		if g.greeted[port.ID()] == port.Remote {
			now[port.ID()] = port.Remote
			continue
		}
		if err := g.send(ctx, port.Remote); err != nil {
			errs = append(errs, fmt.Errorf("tunnel %s: %w", port.Name, err))
			continue
		}
		klog.V(2).InfoS("Greeted the far end of a tunnel", "port", port.Name, "address", port.Remote)
		now[port.ID()] = port.Remote
	}
	g.greeted = now
	return errors.Join(errs...)
}

// sendDatagram sends one byte to the discard port, after a new question for the link-layer address. A host that has
// been asked by the other one knows the address without asking, and so without an answer to overhear.
func sendDatagram(ctx context.Context, to netip.Addr) error {
	if err := forgetNeighbour(to); err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", netip.AddrPortFrom(to, discardPort).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte{0})
	return err
}

// forgetNeighbour removes the host's own knowledge of the neighbour on the way to an address. Packets wait while it
// is asked for again.
func forgetNeighbour(to netip.Addr) error {
	routes, err := netlink.RouteGet(to.AsSlice())
	if err != nil {
		return fmt.Errorf("route to %s: %w", to, err)
	}
	for _, r := range routes {
		hop := r.Gw
		if hop == nil {
			hop = to.AsSlice()
		}
		neighbours, err := netlink.NeighList(r.LinkIndex, netlink.FAMILY_ALL)
		if err != nil {
			return fmt.Errorf("neighbours of %s: %w", to, err)
		}
		for _, n := range neighbours {
			if !n.IP.Equal(hop) || n.State&(netlink.NUD_PERMANENT|netlink.NUD_NOARP) != 0 {
				continue
			}
			if err := netlink.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("forget neighbour %s: %w", hop, err)
			}
		}
	}
	return nil
}

// reconcileTunnels keeps the userspace datapath's tunnels usable from their first packet. The kernel's
// datapath needs no help: the host's stack resolves for it, and waits.
func (a *Agent) reconcileTunnels(ctx context.Context) error {
	if !a.userspace() {
		return nil
	}
	if err := a.loops.uplink.Err(); err != nil {
		// Answers that arrive before the NIC is a bridge's port are overheard by nobody.
		a.greeter.greeted = nil
		return reconcile.Waiting(err.Error())
	}
	return a.greeter.greet(ctx, ovs.Observe(a.db))
}
