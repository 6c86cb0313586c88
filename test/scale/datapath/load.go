package datapath

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/netns"
)

const (
	// workers make connections at the same time.
	workers = 16
	// chunk is how much is written at once.
	chunk = 128 << 10
	// lead is how long a stream runs before it counts: TCP has to find its speed.
	lead = 300 * time.Millisecond
	// patience is how long anything may take besides the turn itself.
	patience = 15 * time.Second
)

// throughput sends over one connection; what has arrived counts. The figure is in Gbit/s.
func (b *bench) throughput(ctx context.Context, w way, turn time.Duration) (float64, error) {
	conn, err := dial(ctx, w, lead+turn)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	failed := make(chan error, 1)
	go func() {
		buffer := make([]byte, chunk)
		for {
			if _, err := conn.Write(buffer); err != nil {
				failed <- err
				return
			}
		}
	}()
	var counts [2]int64
	var times [2]time.Time
	for i, d := range []time.Duration{lead, turn} {
		select {
		case err := <-failed:
			return 0, fmt.Errorf("send: %w", err)
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(d):
		}
		counts[i], times[i] = b.servers.received.Load(), time.Now()
	}
	_ = conn.Close()
	return float64(counts[1]-counts[0]) * 8 / 1e9 / times[1].Sub(times[0]).Seconds(), nil
}

// dial connects and sets a deadline by which the measurement must be over.
func dial(ctx context.Context, w way, turn time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := w.from.Dial(ctx, "tcp", w.at)
	if err != nil {
		return nil, err
	}
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, conn.SetDeadline(time.Now().Add(turn + patience))
}

// requests sends a byte and waits until it comes back, again and again over one connection.
func (b *bench) requests(ctx context.Context, w way, turn time.Duration) (float64, error) {
	conn, err := dial(ctx, w, turn)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var one [1]byte
	n, began := 0, time.Now()
	for time.Since(began) < turn {
		if _, err := conn.Write(one[:]); err != nil {
			return 0, fmt.Errorf("request %d: %w", n, err)
		}
		if _, err := io.ReadFull(conn, one[:]); err != nil {
			return 0, fmt.Errorf("answer %d: %w", n, err)
		}
		n++
	}
	return float64(n) / time.Since(began).Seconds(), ctx.Err()
}

// connections makes connections with one HTTP request each.
func (b *bench) connections(ctx context.Context, w way, turn time.Duration) (float64, error) {
	var n atomic.Int64
	var group sync.WaitGroup
	failures := make(chan error, workers)
	began := time.Now()
	for range workers {
		group.Go(func() {
			// On the thread that is in the namespace: none has to be made for each connection.
			err := netns.Do(w.from.NetNS, func() error {
				for time.Since(began) < turn && ctx.Err() == nil {
					if err := get(ctx, w.at); err != nil {
						return err
					}
					n.Add(1)
				}
				return nil
			})
			if err != nil {
				failures <- err
			}
		})
	}
	group.Wait()
	took := time.Since(began)
	select {
	case err := <-failures:
		return 0, fmt.Errorf("after %d connections: %w", n.Load(), err)
	default:
		return float64(n.Load()) / took.Seconds(), ctx.Err()
	}
}

// get fetches a page over a connection of its own, from the calling thread's network.
func get(ctx context.Context, at netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	// An RST at the end: the client keeps no connection in TIME-WAIT, of which there would soon be as many as ports.
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", at); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}
