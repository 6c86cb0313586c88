package ovndb

import (
	"context"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

// leaderless is a proxy to one member that answers nothing, and how often that was asked.
func leaderless(t *testing.T) (*proxy, *atomic.Int64) {
	t.Helper()
	c := member(1)
	c.RunDir = t.TempDir()
	p, err := newProxy(t.Context(), &c)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(c.RunDir, "member")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p.endpoints = []string{"unix:" + socket}
	asked := &atomic.Int64{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			_ = conn.Close()
		}
	}()
	return p, asked
}

// However many wait for a leader, the members are asked by one of us, and not all the time.
func TestClientsWaitTogether(t *testing.T) {
	p, asked := leaderless(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { p.run(ctx); close(ended) }()
	for range 20 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "unix", p.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	time.Sleep(time.Second) // no event tells that nothing is asked
	if n := asked.Load(); n > 30 {
		t.Errorf("20 clients that wait asked %d times in a second", n)
	}
	cancel()
	<-ended
}

// A client that gives up, as commands with --timeout do, leaves nothing behind.
func TestClientThatGoesIsForgotten(t *testing.T) {
	p, asked := leaderless(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	theirs, ours := net.Pipe()
	ended := make(chan struct{})
	go func() { p.serve(ctx, ours); close(ended) }()
	_ = theirs.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := theirs.Write([]byte(`{"method":"echo"}`)); err != nil {
		t.Fatal(err)
	}
	for asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	_ = theirs.Close()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("it is still served")
		cancel()
		<-ended
	}
}

// Certificates may come after the server.
func TestCertificatesMayComeLater(t *testing.T) {
	c := member(1)
	c.RunDir = t.TempDir()
	c.TLS = ovsdb.TLSFiles{PrivateKey: "/none/key", Certificate: "/none/cert", CACertificate: "/none/ca"}
	p, err := newProxy(t.Context(), &c)
	if err != nil {
		t.Fatal(err)
	}
	_ = p.listener.Close()
}
