package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
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
	// monitorFlags ask for additions, deletions and modifications, from now on.
	monitorFlags = 1<<1 | 1<<2 | 1<<3
	allPorts     = 0xffff
	everyTable   = 0xff
	// updatesOffset is where changes begin in an answer: behind the headers of the statistics and of the vendor.
	updatesOffset = 16
	// Of a change (struct nx_flow_update_full): its length without the match, and where table and cookie are.
	updateLength, updateTable, updateCookie = 24, 14, 16

	// echoTimeout is how long ovs-vswitchd may take to answer before its changes count as not known.
	echoTimeout = 5 * time.Second
)

// monitor counts the changes of a bridge's flows, on one connection.
type monitor struct {
	conn   io.ReadWriter
	cookie uint64
	notify func()

	writing sync.Mutex

	mu sync.Mutex
	// changes is how many there have been; held says that they are not told.
	changes uint64
	held    bool
	tables  tables
	// asked are echoes under way, by their transaction's id.
	asked map[uint32]chan uint64
	last  uint32
}

// newMonitor makes a monitor to which all changes matter.
func newMonitor(conn io.ReadWriter, cookie uint64, notify func()) *monitor {
	return &monitor{conn: conn, cookie: cookie, notify: notify, tables: allTables(), asked: map[uint32]chan uint64{}}
}

// limit says in which tables changes of others' flows matter.
func (m *monitor) limit(t tables) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tables = t
}

func (m *monitor) relevant(body []byte) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tables.count(m.cookie, body)
}

// run ends with an error in any case.
func (m *monitor) run() error {
	if err := m.send(append(message(typeHello, 0, nil), message(typeStatsRequest, 0, monitorRequest())...)); err != nil {
		return err
	}
	begun := false
	for {
		kind, id, body, err := receive(m.conn)
		if err != nil {
			return err
		}
		switch kind {
		case typeStatsReply:
			m.count(m.relevant(body))
			if !begun { // the first answer says that changes are told from now on
				begun = true
				m.notify()
			}
		case typeVendor: // so much changes that single changes are left out
			m.count(1 << 32)
		case typeEchoReply:
			m.answered(id)
		case typeEchoRequest:
			if err := m.send(message(typeEchoReply, id, body)); err != nil {
				return err
			}
		case typeError:
			return errors.New("ovs-vswitchd refuses to have its flows watched")
		}
	}
}

func (m *monitor) send(data []byte) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	_, err := m.conn.Write(data)
	return err
}

func (m *monitor) count(n uint64) {
	m.mu.Lock()
	m.changes += n
	tell := n > 0 && !m.held
	m.mu.Unlock()
	if tell {
		m.notify()
	}
}

// total is the count so far.
func (m *monitor) total() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changes
}

// hold keeps changes from being told, until release.
func (m *monitor) hold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = true
}

// release ends hold; known is the count up to which changes need not be told.
func (m *monitor) release(known uint64) {
	m.mu.Lock()
	m.held = false
	tell := m.changes != known
	m.mu.Unlock()
	if tell {
		m.notify()
	}
}

// settled is the count when all changes before the call are in it: Open vSwitch tells them before it answers the echo.
func (m *monitor) settled(ctx context.Context) (uint64, error) {
	answer := make(chan uint64, 1)
	m.mu.Lock()
	m.last++
	id := m.last
	m.asked[id] = answer
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.asked, id)
	}()
	if err := m.send(message(typeEchoRequest, id, nil)); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, echoTimeout)
	defer cancel()
	select {
	case n := <-answer:
		return n, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("ovs-vswitchd does not answer: %w", ctx.Err())
	}
}

func (m *monitor) answered(id uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if answer, ok := m.asked[id]; ok {
		answer <- m.changes
		delete(m.asked, id)
	}
}

// tables are those of which flows of others matter, too: they may stand in the place of ours.
type tables [256]bool

func allTables() (out tables) {
	for i := range out {
		out[i] = true
	}
	return out
}

func (t tables) without(others []int) tables {
	for _, i := range others {
		t[uint8(i)] = false //nolint:gosec // OpenFlow has no more than 256 of them
	}
	return t
}

// count counts the changes in an answer of the flow monitor that matter: to flows with the cookie, and to those in the tables.
func (t *tables) count(cookie uint64, body []byte) uint64 {
	var n uint64
	for rest := body[min(updatesOffset, len(body)):]; len(rest) >= 2; {
		length := min(max(int(binary.BigEndian.Uint16(rest)), 2), len(rest))
		// Without table and cookie it is an abbreviation, or something new.
		if length < updateLength || t[rest[updateTable]] || binary.BigEndian.Uint64(rest[updateCookie:]) == cookie {
			n++
		}
		rest = rest[length:]
	}
	return n
}

func message(kind byte, id uint32, body []byte) []byte {
	out := []byte{version10, kind}
	out = binary.BigEndian.AppendUint16(out, uint16(headerLength+len(body)))
	out = binary.BigEndian.AppendUint32(out, id)
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
	return append(out, everyTable, 0, 0, 0, 0, 0)
}

func receive(r io.Reader) (kind byte, id uint32, body []byte, err error) {
	var header [headerLength]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, 0, nil, err
	}
	length := int(binary.BigEndian.Uint16(header[2:]))
	if length < headerLength {
		return 0, 0, nil, fmt.Errorf("a message of %d bytes", length)
	}
	body = make([]byte, length-headerLength)
	_, err = io.ReadFull(r, body)
	return header[1], binary.BigEndian.Uint32(header[4:]), body, err
}
