package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/ovnkube/ovnkube/test/lab/netns"
)

// grace is how long after the last request an answer still counts.
const grace = time.Second

// Report is what a Probe found.
type Report struct {
	// Name says what was sent from where to where.
	Name string
	// Sent and Lost count requests and those without an answer.
	Sent, Lost int
	// LostAt are the times of the first lost requests, after the probe's start; at most five.
	LostAt []time.Duration
	// Outage is the longest time between requests that were answered.
	Outage time.Duration
	// Slowest is the longest time an answer took.
	Slowest time.Duration
	// Err is the error that ended the probe early.
	Err error
}

// String is one line for people.
func (r Report) String() string {
	s := fmt.Sprintf("%s: %d lost of %d, longest time without an answer %v, slowest answer %v",
		r.Name, r.Lost, r.Sent, r.Outage.Round(time.Millisecond), r.Slowest.Round(time.Millisecond))
	if len(r.LostAt) > 0 {
		s += fmt.Sprintf(", lost at %v", r.LostAt)
	}
	if r.Err != nil {
		s += ", ended by: " + r.Err.Error()
	}
	return s
}

// Probe sends numbered requests at an interval and notes which are answered.
type Probe struct {
	name   string
	cancel context.CancelFunc
	end    chan struct{}

	mu       sync.Mutex
	sent     []time.Time
	answered map[uint64]time.Duration
	err      error
}

func newProbe(ctx context.Context, name string) (context.Context, *Probe) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, &Probe{name: name, cancel: cancel, end: make(chan struct{}), answered: map[uint64]time.Duration{}}
}

// next numbers a request.
func (p *Probe) next() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, time.Now())
	return uint64(len(p.sent) - 1)
}

// answer notes the first answer to a request.
func (p *Probe) answer(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, twice := p.answered[seq]; twice || seq >= uint64(len(p.sent)) {
		return
	}
	p.answered[seq] = time.Since(p.sent[seq])
}

func (p *Probe) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// Stop ends the probe, waits for late answers and reports.
func (p *Probe) Stop() Report {
	p.cancel()
	<-p.end
	p.mu.Lock()
	defer p.mu.Unlock()
	r := Report{Name: p.name, Sent: len(p.sent), Lost: len(p.sent) - len(p.answered), Err: p.err}
	var last time.Time
	for seq, at := range p.sent {
		took, ok := p.answered[uint64(seq)]
		if !ok {
			if len(r.LostAt) < 5 {
				r.LostAt = append(r.LostAt, at.Sub(p.sent[0]).Round(time.Millisecond))
			}
			continue
		}
		r.Slowest = max(r.Slowest, took)
		if !last.IsZero() {
			r.Outage = max(r.Outage, at.Sub(last))
		}
		last = at
	}
	if n := len(p.sent); n > 0 && !last.IsZero() {
		r.Outage = max(r.Outage, p.sent[n-1].Sub(last))
	}
	return r
}

// every calls send at the interval until ctx ends.
func every(ctx context.Context, interval time.Duration, send func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			send()
		}
	}
}

// exchange runs a sender and a receiver; after ctx ended the receiver has the grace period.
func (p *Probe) exchange(ctx context.Context, interval time.Duration, send func(seq uint64) error, receive func() error, setReadDeadline func(time.Time) error) {
	defer close(p.end)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			err := receive()
			if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
				return
			}
			if errors.Is(err, io.EOF) || (err != nil && ctx.Err() == nil && isBroken(err)) {
				p.fail(err)
				return
			}
		}
	}()
	every(ctx, interval, func() {
		if err := send(p.next()); err != nil && isBroken(err) {
			p.fail(err)
		}
	})
	_ = setReadDeadline(time.Now().Add(grace))
	<-done
}

// isBroken tells errors that end a stream from those of single datagrams, such as a refused port.
func isBroken(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Net == "tcp"
}

// Datagrams starts a probe over one UDP socket to an echo server.
func Datagrams(ctx context.Context, from Place, to netip.AddrPort, interval time.Duration) (*Probe, error) {
	conn, err := from.Dial(ctx, "udp", to)
	if err != nil {
		return nil, err
	}
	ctx, p := newProbe(ctx, fmt.Sprintf("udp %s → %s", from, to))
	buf := make([]byte, 64)
	go func() {
		defer conn.Close()
		p.exchange(ctx, interval, func(seq uint64) error {
			_, err := conn.Write(binary.BigEndian.AppendUint64(nil, seq))
			return err
		}, func() error {
			n, err := conn.Read(buf)
			if err == nil && n == 8 {
				p.answer(binary.BigEndian.Uint64(buf))
			}
			return err
		}, conn.SetReadDeadline)
	}()
	return p, nil
}

// Stream starts a probe over one TCP connection to an echo server. Nothing can be lost from a stream;
// the slowest answer tells how long it stood still.
func Stream(ctx context.Context, from Place, to netip.AddrPort, interval time.Duration) (*Probe, error) {
	conn, err := from.Dial(ctx, "tcp", to)
	if err != nil {
		return nil, err
	}
	ctx, p := newProbe(ctx, fmt.Sprintf("tcp stream %s → %s", from, to))
	buf := make([]byte, 8)
	go func() {
		defer conn.Close()
		p.exchange(ctx, interval, func(seq uint64) error {
			_, err := conn.Write(binary.BigEndian.AppendUint64(nil, seq))
			return err
		}, func() error {
			_, err := io.ReadFull(conn, buf)
			if err == nil {
				p.answer(binary.BigEndian.Uint64(buf))
			}
			return err
		}, conn.SetReadDeadline)
	}()
	return p, nil
}

// connectLimit and exchangeLimit are how long a new connection, and a new socket's datagram, may take to be answered.
const (
	connectLimit  = 5 * time.Second
	exchangeLimit = time.Second
)

// Connects starts a probe that makes a new TCP connection to an echo server for each request. A
// connection that takes a second or more had its first packet lost.
func Connects(ctx context.Context, from Place, to netip.AddrPort, interval time.Duration) (*Probe, error) {
	return fresh(ctx, "tcp", fmt.Sprintf("tcp connects %s → %s", from, to), from, to, interval, connectLimit)
}

// Exchanges starts a probe that sends each datagram from a new socket to an echo server.
func Exchanges(ctx context.Context, from Place, to netip.AddrPort, interval time.Duration) (*Probe, error) {
	return fresh(ctx, "udp", fmt.Sprintf("udp exchanges %s → %s", from, to), from, to, interval, exchangeLimit)
}

// fresh starts a probe with a new socket for each request.
func fresh(ctx context.Context, network, name string, from Place, to netip.AddrPort, interval, limit time.Duration) (*Probe, error) {
	outer := ctx
	ctx, p := newProbe(ctx, name)
	c := newCrew(from.NetNS)
	go func() {
		defer close(p.end)
		var wg sync.WaitGroup
		every(ctx, interval, func() {
			seq := p.next()
			wg.Add(1)
			c.do(func(err error) {
				defer wg.Done()
				if err == nil {
					err = echoFrom(outer, network, to, limit)
				}
				if err != nil {
					p.fail(err)
					return
				}
				p.answer(seq)
			})
		})
		wg.Wait()
		c.close()
	}()
	return p, nil
}

// echoFrom sends eight bytes to an echo server, from the network of the calling thread.
func echoFrom(ctx context.Context, network string, to netip.AddrPort, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	return echo(ctx, conn, network+" to "+to.String(), 8)
}

// Echoes starts a probe of ICMP echo requests.
func Echoes(ctx context.Context, from Place, to netip.Addr, interval time.Duration) (*Probe, error) {
	network, any := "ip4:icmp", "0.0.0.0"
	var request icmp.Type = ipv4.ICMPTypeEcho
	proto := ipv4.ICMPTypeEcho.Protocol()
	if to.Is6() {
		network, any, request, proto = "ip6:ipv6-icmp", "::", ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoRequest.Protocol()
	}
	var conn *icmp.PacketConn
	if err := netns.Do(from.NetNS, func() error {
		var err error
		conn, err = icmp.ListenPacket(network, any)
		return err
	}); err != nil {
		return nil, fmt.Errorf("raw socket in %s: %w", from, err)
	}
	ctx, p := newProbe(ctx, fmt.Sprintf("ping %s → %s", from, to))
	id := rand.IntN(1 << 16)
	dst := &net.IPAddr{IP: to.AsSlice()}
	buf := make([]byte, 1500)
	go func() {
		defer conn.Close()
		p.exchange(ctx, interval, func(seq uint64) error {
			m := icmp.Message{Type: request, Body: &icmp.Echo{ID: id, Seq: int(seq & 0xffff), Data: binary.BigEndian.AppendUint64(nil, seq)}}
			b, err := m.Marshal(nil)
			if err != nil {
				return err
			}
			_, err = conn.WriteTo(b, dst)
			return err
		}, func() error {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return err
			}
			m, err := icmp.ParseMessage(proto, buf[:n])
			if err != nil || (m.Type != ipv4.ICMPTypeEchoReply && m.Type != ipv6.ICMPTypeEchoReply) {
				return nil // not for us: a raw socket sees all ICMP
			}
			if e, ok := m.Body.(*icmp.Echo); ok && e.ID == id && len(e.Data) == 8 {
				p.answer(binary.BigEndian.Uint64(e.Data))
			}
			return nil
		}, conn.SetReadDeadline)
	}()
	return p, nil
}
