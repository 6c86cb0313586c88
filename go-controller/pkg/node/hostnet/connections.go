package hostnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	nl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// EndConnections ends the host's TCP connections from an address that the host does not have any more. Their packets cannot
// leave, but programs would notice only when their patience ends, minutes later; now they get an error and connect
// anew. Kernels without the means (CONFIG_INET_DIAG_DESTROY) leave them alone.
type EndConnections struct{ Address netip.Addr }

// String implements Action.
func (a EndConnections) String() string { return fmt.Sprintf("end TCP connections from %s", a.Address) }

// Apply implements Action.
func (a EndConnections) Apply(context.Context) error {
	families := []uint8{unix.AF_INET6}
	if a.Address.Is4() { // may be the address of a socket of IPv6, too
		families = append(families, unix.AF_INET)
	}
	for _, family := range families {
		sockets, err := complete(func() ([]*netlink.Socket, error) { return netlink.SocketDiagTCP(family) })
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT) {
			continue // the kernel has not the family, or nobody uses it
		}
		if err != nil {
			return fmt.Errorf("list TCP connections: %w", err)
		}
		for _, s := range sockets {
			if fromIP(s.ID.Source) != a.Address || !connected(s) {
				continue
			}
			err := destroy(s)
			if errors.Is(err, unix.EOPNOTSUPP) {
				klog.InfoS("The kernel cannot end connections of others; they end by themselves", "from", a.Address)
				return nil
			}
			if err := ignore(err, unix.ENOENT); err != nil {
				return err
			}
		}
	}
	return nil
}

// connected leaves out sockets that listen, and those that wait for nothing but time (TCP_* of the kernel's tcp_states.h).
func connected(s *netlink.Socket) bool {
	const timeWait, closed, listen = 6, 7, 10
	return s.State != timeWait && s.State != closed && s.State != listen
}

// sockDestroy is SOCK_DESTROY of linux/sock_diag.h.
const sockDestroy = 21

func destroy(s *netlink.Socket) error {
	conn, err := nl.Dial(unix.NETLINK_INET_DIAG, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Execute(nl.Message{Header: nl.Header{Type: sockDestroy, Flags: nl.Request | nl.Acknowledge}, Data: socketRequest(s)})
	return err
}

// socketRequest names a socket as struct inet_diag_req_v2 does (linux/inet_diag.h).
func socketRequest(s *netlink.Socket) []byte {
	const anyState = 1<<32 - 1
	out := []byte{s.Family, unix.IPPROTO_TCP, 0, 0}
	out = binary.NativeEndian.AppendUint32(out, anyState)
	out = binary.BigEndian.AppendUint16(out, s.ID.SourcePort)
	out = binary.BigEndian.AppendUint16(out, s.ID.DestinationPort)
	for _, ip := range [][]byte{s.ID.Source, s.ID.Destination} {
		if s.Family == unix.AF_INET {
			ip = append(append([]byte(nil), ip[len(ip)-4:]...), make([]byte, 12)...)
		}
		out = append(out, ip...)
	}
	out = binary.NativeEndian.AppendUint32(out, s.ID.Interface)
	for _, part := range s.ID.Cookie {
		out = binary.NativeEndian.AppendUint32(out, part)
	}
	return out
}
