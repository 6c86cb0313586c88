package hostnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	nl "github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nlenc"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Event says that something of a device changed. All is true when events may have been lost: anything may
// have changed.
type Event struct {
	// Device is the name, or "" for a device that is not known (any more).
	Device string
	// Link tells changes of the device itself from those of what is on it.
	Link bool
	// Address tells changes of addresses.
	Address bool
	All     bool
}

const receiveBuffer = 4 << 20

// Watch calls notify for each change of links, addresses, routes, neighbours and device settings, until ctx
// ends. notify is called from one goroutine and must not block. The first call, with All, comes when
// watching has begun.
func Watch(ctx context.Context, notify func(Event)) error {
	w := &watcher{notify: notify}
	begin := func() error {
		w.names = map[int]string{}
		if err := w.list(); err != nil {
			return err
		}
		notify(Event{All: true})
		return nil
	}
	err := Receive(ctx, unix.NETLINK_ROUTE, begin, w.message,
		unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_NETCONF,
		unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_NETCONF)
	if err != nil {
		return fmt.Errorf("watch network devices: %w", err)
	}
	return nil
}

// Receive joins multicast groups of a netlink protocol, calls begin, and hands each message to handle until ctx ends, which
// is no error, or the socket fails. The kernel drops messages when the socket's buffer overflows: then it starts anew,
// with begin.
func Receive(ctx context.Context, protocol int, begin func() error, handle func(nl.Message), groups ...int) error {
	for {
		err := receiveOnce(ctx, protocol, begin, handle, groups...)
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, unix.ENOBUFS):
			return err
		}
	}
}

func receiveOnce(ctx context.Context, protocol int, begin func() error, handle func(nl.Message), groups ...int) error {
	var mask uint32
	for _, g := range groups {
		mask |= 1 << (g - 1)
	}
	conn, err := nl.Dial(protocol, &nl.Config{Groups: mask})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := conn.SetReadBuffer(receiveBuffer); err != nil {
		return err
	}
	if err := begin(); err != nil {
		return err
	}
	for {
		for m, err := range conn.ReceiveIter() {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return err
			}
			handle(m)
		}
	}
}

type watcher struct {
	names  map[int]string
	notify func(Event)
}

func (w *watcher) list() error {
	links, err := complete(netlink.LinkList)
	if err != nil {
		return err
	}
	for _, l := range links {
		w.names[l.Attrs().Index] = l.Attrs().Name
	}
	return nil
}

func (w *watcher) message(m nl.Message) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		w.link(m)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if len(m.Data) >= unix.SizeofIfAddrmsg {
			w.notify(Event{Device: w.names[int(binary.NativeEndian.Uint32(m.Data[4:]))], Address: true})
		}
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		w.neighbour(m)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		w.attribute(m.Data, unix.SizeofRtMsg, unix.RTA_OIF)
	case unix.RTM_NEWNETCONF, unix.RTM_DELNETCONF:
		w.settings(m.Data)
	}
}

const netconfaIfindex = 1

// settings passes on a device's. Those of a new device come before the device itself is announced, which must not look like
// a change of some device: pods' devices come all the time. Settings of all devices have negative indexes.
func (w *watcher) settings(data []byte) {
	const header = 4 // netconfmsg is one byte, padded
	if len(data) >= header {
		if value, ok := find(data[header:], netconfaIfindex); ok && len(value) == 4 {
			if index := int(int32(binary.NativeEndian.Uint32(value))); index > 0 && w.names[index] == "" {
				return
			}
		}
	}
	w.attribute(data, header, netconfaIfindex)
}

func (w *watcher) link(m nl.Message) {
	if len(m.Data) < unix.SizeofIfInfomsg {
		return
	}
	index := int(int32(binary.NativeEndian.Uint32(m.Data[4:])))
	name := w.names[index]
	if data, ok := find(m.Data[unix.SizeofIfInfomsg:], unix.IFLA_IFNAME); ok {
		name = nlenc.String(data)
	}
	// A device that leaves a bridge is announced as deleted too, of that family: it is still there.
	if m.Header.Type == unix.RTM_DELLINK && m.Data[0] != unix.AF_BRIDGE {
		delete(w.names, index)
	} else {
		w.names[index] = name
	}
	w.notify(Event{Device: name, Link: true})
}

// neighbour passes on what concerns permanent entries: the others come and go with traffic.
func (w *watcher) neighbour(m nl.Message) {
	const stateOffset = 8
	if len(m.Data) < unix.SizeofNdMsg {
		return
	}
	state := binary.NativeEndian.Uint16(m.Data[stateOffset:])
	if m.Header.Type == unix.RTM_DELNEIGH || state&unix.NUD_PERMANENT != 0 || state&unix.NUD_FAILED != 0 {
		w.device(int(int32(binary.NativeEndian.Uint32(m.Data[4:]))))
	}
}

func (w *watcher) attribute(data []byte, header int, kind uint16) {
	if len(data) < header {
		return
	}
	if value, ok := find(data[header:], kind); ok && len(value) == 4 {
		w.device(int(int32(binary.NativeEndian.Uint32(value))))
		return
	}
	w.notify(Event{}) // multipath routes, say: some device
}

func (w *watcher) device(index int) { w.notify(Event{Device: w.names[index]}) }

func find(data []byte, kind uint16) ([]byte, bool) {
	attributes, err := nl.NewAttributeDecoder(data)
	if err != nil {
		return nil, false
	}
	for attributes.Next() {
		if attributes.Type() == kind {
			return attributes.Bytes(), true
		}
	}
	return nil, false
}
