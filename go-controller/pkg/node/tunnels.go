package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
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

// sendDatagram sends one byte to the discard port.
func sendDatagram(ctx context.Context, to netip.Addr) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", netip.AddrPortFrom(to, discardPort).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte{0})
	return err
}

// reconcileTunnels keeps the userspace datapath's tunnels usable from their first packet. The kernel's
// datapath needs no help: the host's stack resolves for it, and waits.
func (a *Agent) reconcileTunnels(ctx context.Context) error {
	if !a.userspace() {
		return nil
	}
	return a.greeter.greet(ctx, ovs.Observe(a.db))
}
