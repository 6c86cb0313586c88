package openflow

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// Of a change (struct nx_flow_update_full): where its kind is, and the kind of a removed flow.
const (
	updateEvent  = 2
	eventDeleted = 1
)

// What the first change was.
const (
	seenNothing = iota
	seenGone
	seenWritten
)

// changesSeen counts flows that others have written, and flows that have gone, with the cookie or without. What first is does not
// depend on tables in which Open vSwitch writes by itself.
type changesSeen struct{ gone, written, first int }

// telling collects a bridge's changes, on one connection.
type telling struct {
	// begun is closed when changes are told from then on; wake is signalled when there are some.
	begun, wake chan struct{}

	mu   sync.Mutex
	seen changesSeen
	// judged are the tables whose changes tell what the controller does.
	judged tables
}

func newTelling() *telling {
	return &telling{begun: make(chan struct{}), wake: make(chan struct{}, 1), judged: allTables()}
}

// without says in which tables Open vSwitch makes and removes flows by itself.
func (t *telling) without(learned []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.judged = allTables().without(learned)
}

// take returns what was seen since the last call.
func (t *telling) take() changesSeen {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.seen
	t.seen = changesSeen{}
	return out
}

// follow reads changes until the connection ends, which is an error in any case.
func (t *telling) follow(conn io.ReadWriter, cookie uint64) error {
	if _, err := conn.Write(append(message(typeHello, 0, nil), message(typeStatsRequest, 0, monitorRequest())...)); err != nil {
		return err
	}
	begun := false
	for {
		kind, id, body, err := receive(conn)
		if err != nil {
			return err
		}
		switch kind {
		case typeStatsReply:
			if !begun {
				begun = true
				close(t.begun)
			}
			t.mu.Lock()
			judged := t.judged
			t.mu.Unlock()
			t.add(countSeen(cookie, &judged, body))
		case typeVendor: // so much changes that single changes are left out
			t.add(changesSeen{written: 1, first: seenWritten})
		case typeEchoRequest:
			if _, err := conn.Write(message(typeEchoReply, id, body)); err != nil {
				return err
			}
		case typeError:
			return errors.New("ovs-vswitchd refuses to have its flows watched")
		}
	}
}

func (t *telling) add(c changesSeen) {
	if c.gone+c.written == 0 {
		return
	}
	t.mu.Lock()
	if t.seen.first == seenNothing {
		t.seen.first = c.first
	}
	t.seen.gone += c.gone
	t.seen.written += c.written
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// countSeen reads the changes of one message. Flows with the cookie that come are no news.
func countSeen(cookie uint64, judged *tables, body []byte) (c changesSeen) {
	for rest := body[min(updatesOffset, len(body)):]; len(rest) >= 2; {
		length := min(max(int(binary.BigEndian.Uint16(rest)), 2), len(rest))
		ours := length >= updateLength && binary.BigEndian.Uint64(rest[updateCookie:]) == cookie
		gone := length >= updateLength && binary.BigEndian.Uint16(rest[updateEvent:]) == eventDeleted
		kind := seenNothing
		switch {
		case gone:
			c.gone++
			kind = seenGone
		case !ours:
			c.written++
			kind = seenWritten
		}
		// Without a table it is an abbreviation, or something new.
		if c.first == seenNothing && (length < updateLength || judged[rest[updateTable]]) {
			c.first = kind
		}
		rest = rest[length:]
	}
	return c
}
