//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

const (
	// churnPace is between two requests of a client.
	churnPace = 20 * time.Millisecond
	// churnFlows are the long connections of each client and family, of each protocol.
	churnFlows = 4
	// flowPace is between two requests on a long connection.
	flowPace = 50 * time.Millisecond
	// resend is after how long without an answer a datagram is sent again: on a busy machine one may be lost.
	resend = 2 * time.Second
)

// serve answers with the pod's name at one of its addresses: a line at the beginning of each connection, which is then echoed; and
// each datagram.
func (c *churn) serve(p traffic.Place, a netip.Addr) {
	c.Helper()
	listener, err := p.ListenTCP(port(a, httpPort))
	c.must(err)
	c.Cleanup(func() { _ = listener.Close() })
	socket, err := p.ListenUDP(port(a, udpPort))
	c.must(err)
	c.Cleanup(func() { _ = socket.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := io.WriteString(conn, p.Name+"\n"); err == nil {
					_, _ = io.Copy(conn, conn)
				}
			}()
		}
	}()
	go func() {
		var buffer [64]byte
		for {
			_, from, err := socket.ReadFromUDPAddrPort(buffer[:])
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = socket.WriteToUDPAddrPort([]byte(p.Name), from) // a lost answer is the client's finding
			}
		}
	}()
}

// ask makes a connection, or sends a datagram from a new socket, and returns who answered.
func (c *churn) ask(ctx context.Context, from traffic.Place, proto string, at netip.AddrPort) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, churnSlow)
	defer cancel()
	conn, err := from.Dial(ctx, proto, at)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if proto == udp {
		return askDatagram(conn, churnSlow)
	}
	name, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(name), err
}

// askDatagram sends a datagram until one is answered.
func askDatagram(conn net.Conn, limit time.Duration) (string, error) {
	var buffer [64]byte
	for began := time.Now(); ; {
		if _, err := conn.Write([]byte("name")); err != nil {
			return "", err
		}
		if err := conn.SetReadDeadline(time.Now().Add(resend)); err != nil {
			return "", err
		}
		n, err := conn.Read(buffer[:])
		if err == nil {
			return string(buffer[:n]), nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > limit {
			return "", err
		}
	}
}

func (c *churn) answered(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers = append(c.answers, a)
}

func (c *churn) failed(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, fmt.Sprintf(format, args...))
}

// startTraffic lets every client make new connections, over all families and protocols, and keep long ones, until ctx ends.
func (c *churn) startTraffic(ctx context.Context, running *sync.WaitGroup, clients []traffic.Place) (flows []*flow) {
	c.Helper()
	for _, from := range clients {
		for _, is4 := range c.families() {
			for _, proto := range []string{tcp, udp} {
				running.Go(func() { c.keepAsking(ctx, from, is4, proto) })
				for i := range churnFlows {
					f, err := c.openFlow(from, proto, port(clusterIP(c.services[i], is4), servicePort), i%2 == 0)
					c.must(err)
					flows = append(flows, f)
					running.Go(func() { f.run(ctx, c) })
				}
			}
		}
	}
	return flows
}

// keepAsking asks one service after the other.
func (c *churn) keepAsking(ctx context.Context, from traffic.Place, is4 bool, proto string) {
	for i := 0; ctx.Err() == nil; i++ {
		at := port(clusterIP(c.services[i%len(c.services)], is4), servicePort)
		began := time.Now()
		name, err := c.ask(ctx, from, proto, at)
		switch {
		case err == nil:
			c.answered(answer{at: began, pod: name, proto: proto, what: fmt.Sprintf("%s from %s to %s", proto, from, at)})
		case ctx.Err() == nil:
			c.failed("%s → %s over %s: nothing after %v: %v", from, at, proto, time.Since(began).Round(time.Millisecond), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(churnPace):
		}
	}
}

// flow is a connection, or a socket of a client that keeps sending.
type flow struct {
	name, proto string
	// node is the client's, service the service's address.
	node, service string
	conn          net.Conn
	lines         *bufio.Reader
	// pods are those that have answered, in order.
	pods []string
	// count is of the answers, slowest the longest wait for one.
	count   int
	slowest time.Duration
	err     error
}

// openFlow begins a flow to an endpoint that never leaves, or to one that does.
func (c *churn) openFlow(from traffic.Place, proto string, to netip.AddrPort, steady bool) (*flow, error) {
	// Nine out of ten tries would have to miss one in five 200 times in a row.
	for range 200 {
		conn, err := from.Dial(c.ctx, proto, to)
		if err != nil {
			return nil, err
		}
		f := &flow{name: fmt.Sprintf("%s flow from %s to %s", proto, from, to), proto: proto,
			node: c.nodeOf[from.Name], service: to.Addr().String(), conn: conn, lines: bufio.NewReader(conn)}
		pod, err := f.begin()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", f.name, err), conn.Close())
		}
		if slices.Contains(c.pods[:churnSteady], pod) == steady {
			f.pods = []string{pod}
			return f, nil
		}
		if err := conn.Close(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no %s flow from %s to %s gets an endpoint that never leaves: %v", proto, from, to, steady)
}

func (f *flow) begin() (string, error) {
	if f.proto == udp {
		return askDatagram(f.conn, churnSlow)
	}
	if err := f.conn.SetReadDeadline(time.Now().Add(churnSlow)); err != nil {
		return "", err
	}
	name, err := f.lines.ReadString('\n')
	return strings.TrimSpace(name), err
}

// run uses the flow until ctx ends or it breaks.
func (f *flow) run(ctx context.Context, c *churn) {
	defer f.conn.Close()
	for ctx.Err() == nil {
		began := time.Now()
		pod, err := f.again()
		if err != nil {
			f.err = err
			return
		}
		f.count++
		f.slowest = max(f.slowest, time.Since(began))
		if last := f.pods[len(f.pods)-1]; pod != last {
			f.pods = append(f.pods, pod)
		}
		// What a connection carries is nothing new to its endpoint. A datagram that had to be sent again says nothing about when.
		if f.proto == udp && time.Since(began) < resend {
			c.answered(answer{at: began, pod: pod, proto: f.proto, what: f.name, flow: f})
		}
		select {
		case <-ctx.Done():
		case <-time.After(flowPace):
		}
	}
}

// again sends something and returns who answered.
func (f *flow) again() (string, error) {
	if f.proto == udp {
		return askDatagram(f.conn, churnSlow)
	}
	if err := f.conn.SetDeadline(time.Now().Add(churnSlow)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(f.conn, "echo\n"); err != nil {
		return "", err
	}
	_, err := f.lines.ReadString('\n')
	return f.pods[0], err
}

// judge wants the flow to be alive; one to an endpoint that never left must not have been moved.
func (f *flow) judge(e *env, steady []string) {
	e.Helper()
	if f.err != nil {
		e.Errorf("%s, answered %d times by %v, broke: %v", f.name, f.count, f.pods, f.err)
	}
	for _, pod := range f.pods[:len(f.pods)-1] {
		if slices.Contains(steady, pod) {
			e.Errorf("%s was moved from %s, which never left: %v", f.name, pod, f.pods)
		}
	}
}
