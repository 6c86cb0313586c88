//go:build integration

package ovsdbtest

import (
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Proxy stands between clients and a server and breaks connections on demand.
type Proxy struct {
	server   *Server
	listener net.Listener

	mu    sync.Mutex
	down  bool          // new connections are closed at once
	mute  bool          // replies and updates are thrown away
	held  chan struct{} // closed when replies and updates may pass again; nil when they may
	conns map[net.Conn]struct{}
}

// StartProxy starts a proxy for a server; it ends with the test.
func StartProxy(t testing.TB, server *Server) *Proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "ovsdb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "proxy.sock"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{server: server, listener: l, conns: map[net.Conn]struct{}{}}
	go p.run()
	t.Cleanup(func() {
		_ = l.Close()
		p.Release()
		p.Cut()
	})
	return p
}

// Endpoint is the address of the proxy.
func (p *Proxy) Endpoint() string { return "unix:" + p.listener.Addr().String() }

// Cut closes all connections; new ones work.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = false
	for c := range p.conns {
		_ = c.Close()
	}
	p.conns = map[net.Conn]struct{}{}
}

// SetDown closes all connections and takes no new ones, or takes them again.
func (p *Proxy) SetDown(down bool) {
	p.mu.Lock()
	p.down = down
	p.mu.Unlock()
	if down {
		p.Cut()
	}
}

// Mute lets requests through but no answers, until Cut: what is sent is done, but nobody hears of it.
func (p *Proxy) Mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = true
}

// Hold keeps answers and updates back until Release.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = make(chan struct{})
}

// Release lets pass what Hold kept back.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
}

func (p *Proxy) run() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", p.server.socket)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		if p.down {
			p.mu.Unlock()
			_ = client.Close()
			_ = server.Close()
			continue
		}
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		go p.copy(server, client, false)
		go p.copy(client, server, true)
	}
}

func (p *Proxy) copy(to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		drop, held := answers && p.mute, p.held
		p.mu.Unlock()
		if answers && held != nil {
			<-held
		}
		if drop {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
