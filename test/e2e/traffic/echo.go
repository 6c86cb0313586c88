package traffic

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
)

// Echo returns what it gets, over TCP and UDP on one port.
type Echo struct {
	// At is the address it answers at.
	At  netip.AddrPort
	tcp *net.TCPListener
	udp *net.UDPConn
	wg  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// ServeEcho starts an echo server at an address and port of the place.
func ServeEcho(p Place, at netip.AddrPort) (*Echo, error) {
	tcp, err := p.ListenTCP(at)
	if err != nil {
		return nil, err
	}
	udp, err := p.ListenUDP(at)
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	e := &Echo{At: at, tcp: tcp, udp: udp, conns: map[net.Conn]struct{}{}}
	e.wg.Add(2)
	go e.acceptAll()
	go e.answerDatagrams()
	return e, nil
}

// Close ends the server and all its connections.
func (e *Echo) Close() {
	_ = e.tcp.Close()
	_ = e.udp.Close()
	e.mu.Lock()
	for c := range e.conns {
		_ = c.Close()
	}
	e.mu.Unlock()
	e.wg.Wait()
}

func (e *Echo) acceptAll() {
	defer e.wg.Done()
	for {
		conn, err := e.tcp.Accept()
		if err != nil {
			return
		}
		e.mu.Lock()
		e.conns[conn] = struct{}{}
		e.mu.Unlock()
		e.wg.Add(1)
		go func() {
			defer e.wg.Done()
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
			e.mu.Lock()
			delete(e.conns, conn)
			e.mu.Unlock()
		}()
	}
}

func (e *Echo) answerDatagrams() {
	defer e.wg.Done()
	buf := make([]byte, 65536)
	for {
		n, from, err := e.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			// An unreachable client is the client's finding, not ours.
			_, _ = e.udp.WriteToUDPAddrPort(buf[:n], from)
		}
	}
}
