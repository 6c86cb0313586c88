//go:build integration

package hostnet_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

// Connections from an address are ended, of whatever kind the sockets are; those from others and listening sockets are not.
func TestEndConnections(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		for _, c := range []struct{ name, network, gone, kept string }{
			{"IPv4", "tcp4", "127.0.0.1", "127.0.0.2"},
			{"IPv6", "tcp6", "fd00:172:18::b", "::1"},
			{"IPv4 over a socket of IPv6", "tcp", "127.0.0.1", "127.0.0.2"},
		} {
			t.Run(c.name, func(t *testing.T) {
				listener, err := (&net.ListenConfig{}).Listen(t.Context(), c.network, ":0")
				if err != nil {
					t.Fatal(err)
				}
				defer listener.Close()
				gone, kept := connection(t, listener, c.gone), connection(t, listener, c.kept)
				if err := (hostnet.EndConnections{Address: netip.MustParseAddr(c.gone)}).Apply(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, err := gone.Read(make([]byte, 1)); err == nil || isTimeout(err) {
					t.Errorf("the connection from %s is still there: %v", c.gone, err)
				}
				if _, err := kept.Read(make([]byte, 1)); !isTimeout(err) {
					t.Errorf("the connection from %s has ended: %v", c.kept, err)
				}
				connection(t, listener, c.kept)
			})
		}
	})
}

// connection is the accepted end of a connection within the host: both ends have the same address.
func connection(t *testing.T, listener net.Listener, address string) net.Conn {
	t.Helper()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dialer := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	client, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort(address, port))
	if err != nil {
		t.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, end := range []io.Closer{client, server} {
			_ = end.Close()
		}
	})
	if err := server.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	return server
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
