package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// Parts of OpenFlow 1.0 and of Open vSwitch's extension for watching flows (openflow/nicira-ext.h, NXST_FLOW_MONITOR),
// which all versions of Open vSwitch speak.
const (
	version10    = 1
	headerLength = 8

	typeHello        = 0
	typeError        = 1
	typeEchoRequest  = 2
	typeEchoReply    = 3
	typeVendor       = 4
	typeStatsRequest = 16
	typeStatsReply   = 17

	statsVendor        = 0xffff
	vendorNicira       = 0x2320
	subtypeFlowMonitor = 2
	// monitorFlags ask for what is there at the beginning, additions, deletions and modifications, with actions.
	monitorFlags = 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4
	allPorts     = 0xffff
	allTables    = 0xff
)

// Watch calls notify whenever flows of the bridge have changed, whoever did it, and once at the beginning. It returns
// when the bridge or ovs-vswitchd goes away, or ctx ends.
func (b Bridge) Watch(ctx context.Context, notify func()) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", b.Socket)
	if err != nil {
		return fmt.Errorf("watch the flows of %s: %w", b.Name, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	return fmt.Errorf("watch the flows of %s: %w", b.Name, watch(conn, notify))
}

// watch ends with an error in any case.
func watch(conn io.ReadWriter, notify func()) error {
	request := append(message(typeHello, nil), message(typeStatsRequest, monitorRequest())...)
	if _, err := conn.Write(request); err != nil {
		return err
	}
	for {
		kind, body, err := receive(conn)
		if err != nil {
			return err
		}
		switch kind {
		case typeStatsReply, typeVendor: // the latter when so much changes that single changes are left out
			notify()
		case typeEchoRequest:
			if _, err := conn.Write(message(typeEchoReply, body)); err != nil {
				return err
			}
		case typeError:
			return errors.New("ovs-vswitchd refuses to have its flows watched")
		}
	}
}

func message(kind byte, body []byte) []byte {
	out := []byte{version10, kind}
	out = binary.BigEndian.AppendUint16(out, uint16(headerLength+len(body)))
	out = binary.BigEndian.AppendUint32(out, 0) // transaction id
	return append(out, body...)
}

// monitorRequest asks for all flows of all tables.
func monitorRequest() []byte {
	be := binary.BigEndian
	out := be.AppendUint16(nil, statsVendor)
	out = be.AppendUint16(out, 0) // no more requests follow
	out = be.AppendUint32(out, vendorNicira)
	out = be.AppendUint32(out, subtypeFlowMonitor)
	out = be.AppendUint32(out, 0) // padding
	out = be.AppendUint32(out, 0) // the monitor's id
	out = be.AppendUint16(out, monitorFlags)
	out = be.AppendUint16(out, allPorts)
	out = be.AppendUint16(out, 0) // length of the match
	return append(out, allTables, 0, 0, 0, 0, 0)
}

func receive(r io.Reader) (kind byte, body []byte, err error) {
	var header [headerLength]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	length := int(binary.BigEndian.Uint16(header[2:]))
	if length < headerLength {
		return 0, nil, fmt.Errorf("a message of %d bytes", length)
	}
	body = make([]byte, length-headerLength)
	_, err = io.ReadFull(r, body)
	return header[1], body, err
}
