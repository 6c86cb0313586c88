package datapath

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// Ports of the servers, and of the service.
const (
	sinkPort  = 9001
	echoPort  = 9002
	httpPorts = 9003
)

func always(port uint16) func(int) uint16 { return func(int) uint16 { return port } }

// httpPort is another one for each turn. Connection tracking in userspace remembers a connection for 45 seconds after its end, and
// a turn is long enough for a third of a client's ports: with one port for all turns a client would soon use its own again. Open
// vSwitch 3.1 then looks for another port and, with tens of thousands remembered, does not always find one: such a connection is delayed
// or reset (version 3.5 does not do so).
func httpPort(turn int) uint16 { return httpPorts + uint16(turn) } //nolint:gosec // some dozens of turns

// page is what the HTTP server answers.
const page = "It works.\n"

// servers listen in a pod's network.
type servers struct {
	listeners []net.Listener
	// received counts bytes at sinkPort.
	received atomic.Int64
}

// serve listens at ports: the first is the sink, the second the echo, all others serve the page.
func serve(p traffic.Place, ports []uint16) (*servers, error) {
	s := &servers{}
	for _, port := range ports {
		l, err := p.ListenTCP(netip.AddrPortFrom(p.Address(true), port))
		if err != nil {
			s.close()
			return nil, err
		}
		s.listeners = append(s.listeners, l)
	}
	go each(s.listeners[0], s.swallow)
	go each(s.listeners[1], func(c net.Conn) { _, _ = io.Copy(c, c) })
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, page)
	})}
	for _, l := range s.listeners[2:] {
		go func() { _ = server.Serve(l) }() // it ends with its listener
	}
	return s, nil
}

// each serves the connections of a listener until that is closed.
func each(l net.Listener, handle func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of files or memory
			continue
		}
		go func() {
			defer conn.Close()
			handle(conn)
		}()
	}
}

func (s *servers) swallow(c net.Conn) {
	buffer := make([]byte, chunk)
	for {
		n, err := c.Read(buffer)
		s.received.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// close ends the servers; none is well.
func (s *servers) close() {
	if s == nil {
		return
	}
	for _, l := range s.listeners {
		_ = l.Close()
	}
}
