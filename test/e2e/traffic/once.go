package traffic

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/netns"
)

// deadline is ctx's, or a second from now.
func deadline(ctx context.Context) time.Time {
	if d, ok := ctx.Deadline(); ok {
		return d
	}
	return time.Now().Add(time.Second)
}

// EchoOnce sends size bytes to an echo server over "tcp" or "udp" and expects them back.
func EchoOnce(ctx context.Context, from Place, network string, to netip.AddrPort, size int) error {
	conn, err := from.Dial(ctx, network, to)
	if err != nil {
		return err
	}
	defer conn.Close()
	return echo(ctx, conn, fmt.Sprintf("%s from %s to %s", network, from, to), size)
}

// echo sends size bytes over a connection and expects them back.
func echo(ctx context.Context, conn net.Conn, what string, size int) error {
	if err := conn.SetDeadline(deadline(ctx)); err != nil {
		return err
	}
	sent := randomBytes(size)
	if _, err := conn.Write(sent); err != nil {
		return err
	}
	got := make([]byte, size)
	for {
		if _, err := io.ReadFull(conn, got); err != nil {
			return err
		}
		if bytes.Equal(sent, got) {
			return nil
		}
		// A datagram may be a late answer to a socket that had the same port before.
		if _, datagrams := conn.(net.PacketConn); !datagrams {
			return fmt.Errorf("echo of %d bytes, %s, came back changed", size, what)
		}
	}
}

// Ask sends a request of one line over "tcp" or "udp" and returns the first answer.
func Ask(ctx context.Context, from Place, network string, to netip.AddrPort, request string) (string, error) {
	conn, err := from.Dial(ctx, network, to)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline(ctx)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	buf := make([]byte, 65536)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

// PingOptions say what ping(8) sends.
type PingOptions struct {
	// Count of requests; 0 means 1.
	Count int
	// Size of the ICMP payload in bytes; 0 means 56.
	Size int
	// DontFragment forbids fragments, at the sender too.
	DontFragment bool
}

// Ping runs ping(8) in a place. It fails unless every request was answered.
func Ping(ctx context.Context, from Place, to netip.Addr, o PingOptions) error {
	args := []string{"-n", "-q", "-i", "0.05", "-W", "1", "-c", strconv.Itoa(max(o.Count, 1)), "-s", strconv.Itoa(max(o.Size, 56))}
	if o.DontFragment {
		args = append(args, "-M", "do")
	} else {
		args = append(args, "-M", "dont")
	}
	out, err := Output(ctx, from, "ping", append(args, to.String())...)
	if err != nil {
		return fmt.Errorf("ping from %s to %s: %w: %s", from, to, err, out)
	}
	if !strings.Contains(out, " 0% packet loss") {
		return fmt.Errorf("ping from %s to %s: %s", from, to, out)
	}
	return nil
}

// Output runs a program of this machine with the place's network and returns what it wrote to both
// standard output and standard error.
func Output(ctx context.Context, p Place, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := netns.Do(p.NetNS, cmd.Start); err != nil {
		return "", fmt.Errorf("start %s in %s: %w", name, p, err)
	}
	err := cmd.Wait()
	return strings.TrimSpace(out.String()), err
}

// Transfer sends size bytes over one TCP connection to a server that it starts in the other place, and
// fails unless the same bytes arrived. It returns the time from the first byte to the last one's receipt.
func Transfer(ctx context.Context, from, to Place, at netip.AddrPort, size int64) (time.Duration, error) {
	l, err := to.ListenTCP(at)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	type received struct {
		sum [sha256.Size]byte
		n   int64
		err error
	}
	arrived := make(chan received, 1)
	go func() {
		var r received
		r.sum, r.n, r.err = receiveAll(l, deadline(ctx))
		arrived <- r
	}()
	conn, err := from.Dial(ctx, "tcp", at)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline(ctx)); err != nil {
		return 0, err
	}
	began := time.Now()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(conn, sum), io.LimitReader(newNoise(), size)); err != nil {
		return 0, fmt.Errorf("send from %s to %s: %w", from, at, err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return 0, err
	}
	r := <-arrived
	took := time.Since(began)
	switch {
	case r.err != nil:
		return took, fmt.Errorf("receive at %s from %s: %w", at, from, r.err)
	case r.n != size:
		return took, fmt.Errorf("%d of %d bytes arrived", r.n, size)
	case !bytes.Equal(r.sum[:], sum.Sum(nil)):
		return took, errors.New("the bytes that arrived are not those that were sent")
	}
	return took, nil
}

func receiveAll(l *net.TCPListener, until time.Time) (sum [sha256.Size]byte, n int64, err error) {
	if err := l.SetDeadline(until); err != nil {
		return sum, 0, err
	}
	conn, err := l.Accept()
	if err != nil {
		return sum, 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(until); err != nil {
		return sum, 0, err
	}
	h := sha256.New()
	n, err = io.Copy(h, conn)
	copy(sum[:], h.Sum(nil))
	return sum, n, err
}

// noise is an endless stream of bytes that differ all along, so that lost and swapped segments show.
type noise struct{ src *rand.PCG }

func newNoise() *noise { return &noise{src: rand.NewPCG(rand.Uint64(), rand.Uint64())} }

func (n *noise) Read(p []byte) (int, error) {
	var word [8]byte
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(word[:], n.src.Uint64())
		copy(p[i:], word[:])
	}
	return len(p), nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = newNoise().Read(b)
	return b
}
