// Package traffic sends real packets from inside network namespaces and counts what
// is lost. Sockets are opened in a namespace and used from here: no program has to
// run in the pod whose namespace it is.
package traffic

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/ovnkube/ovnkube/test/lab/netns"
)

// Place is a network namespace: that of a pod, a node or a host outside.
type Place struct {
	// Name is for people.
	Name string
	// NetNS is the path of the namespace.
	NetNS string
	// Addresses are those others reach it by.
	Addresses []netip.Addr
}

// String is the place's name.
func (p Place) String() string { return p.Name }

// Address returns the place's address of the same family as like, or the zero Addr.
func (p Place) Address(is4 bool) netip.Addr {
	for _, a := range p.Addresses {
		if a.Is4() == is4 {
			return a
		}
	}
	return netip.Addr{}
}

// Dial connects from the place.
func (p Place) Dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	return netns.Dial(ctx, p.NetNS, network, to.String())
}

// ListenTCP listens at one of the place's addresses.
func (p Place) ListenTCP(at netip.AddrPort) (*net.TCPListener, error) {
	var l *net.TCPListener
	err := netns.Do(p.NetNS, func() error {
		var err error
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen at %s in %s: %w", at, p, err)
	}
	return l, nil
}

// ListenUDP binds a datagram socket to one of the place's addresses.
func (p Place) ListenUDP(at netip.AddrPort) (*net.UDPConn, error) {
	var c *net.UDPConn
	err := netns.Do(p.NetNS, func() error {
		var err error
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("bind to %s in %s: %w", at, p, err)
	}
	return c, nil
}
