package probe

import (
	"net"
	"net/netip"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// Greeter accepts connections and sends one byte on each.
type Greeter struct{ listener net.Listener }

// Greet listens at an address of a place; greeting tells this server from others.
func Greet(p traffic.Place, at netip.AddrPort, greeting byte) (*Greeter, error) {
	l, err := p.ListenTCP(at)
	if err != nil {
		return nil, err
	}
	g := &Greeter{listener: l}
	go g.serve(greeting)
	return g, nil
}

// Close ends the server.
func (g *Greeter) Close() { _ = g.listener.Close() }

func (g *Greeter) serve(greeting byte) {
	for {
		conn, err := g.listener.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Write([]byte{greeting}) // a client that is gone needs no greeting
		_ = conn.(*net.TCPConn).SetLinger(0)
		go drain(conn)
	}
}

// drain waits until the client ends the connection: an RST of the server's would overtake the greeting.
func drain(conn net.Conn) {
	var b [1]byte
	_, _ = conn.Read(b[:])
	_ = conn.Close()
}
