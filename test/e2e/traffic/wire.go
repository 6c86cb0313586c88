package traffic

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/mdlayher/packet"

	"github.com/ovnkube/ovnkube/test/lab/netns"
)

// MarkSize is the length of what Wire looks for in frames.
const MarkSize = 8

// markPrefix begins each mark.
const markPrefix = "ovnkub"

// Mark is what a frame carries so that Wire knows it again.
func Mark(n uint16) []byte { return binary.BigEndian.AppendUint16([]byte(markPrefix), n) }

// Wire sends whole Ethernet frames on a device, and notes the marks in those that arrive there.
type Wire struct {
	conn *packet.Conn

	mu      sync.Mutex
	seen    map[uint16]bool
	changed chan struct{}
}

// allProtocols is ETH_P_ALL of linux/if_ether.h.
const allProtocols = 3

// Wire opens a device of the place. Close must be called.
func (p Place) Wire(device string) (*Wire, error) {
	w := &Wire{seen: map[uint16]bool{}, changed: make(chan struct{})}
	err := netns.Do(p.NetNS, func() error {
		link, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		w.conn, err = packet.Listen(link, packet.Raw, allProtocols, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open %s in %s for frames: %w", device, p, err)
	}
	go w.listen()
	return w, nil
}

// Close ends the use of the device.
func (w *Wire) Close() error { return w.conn.Close() }

// Send puts a frame, from the destination address on, on the wire.
func (w *Wire) Send(frame []byte) error {
	_, err := w.conn.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
	return err
}

func (w *Wire) listen() {
	for buffer := make([]byte, 1<<16); ; {
		n, _, err := w.conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			w.note(buffer[:n])
		}
	}
}

func (w *Wire) note(frame []byte) {
	i := bytes.Index(frame, []byte(markPrefix))
	if i < 0 || i+MarkSize > len(frame) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[binary.BigEndian.Uint16(frame[i+len(markPrefix):])] = true
	close(w.changed)
	w.changed = make(chan struct{})
}

// Saw tells whether a frame with the mark has arrived.
func (w *Wire) Saw(n uint16) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[n]
}

// Await waits until a frame with the mark has arrived.
func (w *Wire) Await(ctx context.Context, n uint16) error {
	for {
		w.mu.Lock()
		seen, changed := w.seen[n], w.changed
		w.mu.Unlock()
		if seen {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("no frame with mark %d: %w", n, ctx.Err())
		}
	}
}
