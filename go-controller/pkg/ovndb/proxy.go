package ovndb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

const (
	// watchPause is the time between two looks whether a connection still leads to the leader.
	watchPause = 2 * time.Second
	// earlyChunks of chunkBytes are taken from a client before there is a leader: only a client that is read from is seen to go.
	earlyChunks = 4
	chunkBytes  = 32 << 10
)

// proxy leads local clients to the cluster's leader. Open vSwitch's own clients, ovn-northd among them, try the members one after
// the other and wait 1, 2, 4 and 8 s in between: after a change of leaders that costs more than the election. Here a connection
// simply waits until there is a leader.
type proxy struct {
	kind      Kind
	listener  net.Listener
	endpoints []string
	tls       ovsdb.TLSFiles // read for each connection: they may come later, and change
	search    search
}

func newProxy(ctx context.Context, c *Config) (*proxy, error) {
	p := &proxy{kind: c.Kind, tls: c.TLS}
	p.search.find = p.find
	var err error
	for _, a := range c.Members {
		p.endpoints = append(p.endpoints, c.endpoint(a))
	}
	if err := os.Remove(c.LeaderSocket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("socket to the leader: %w", err)
	}
	if p.listener, err = (&net.ListenConfig{}).Listen(ctx, "unix", c.LeaderSocket()); err != nil {
		return nil, fmt.Errorf("socket to the leader: %w", err)
	}
	if err := os.Chmod(c.LeaderSocket(), 0o600); err != nil {
		return nil, errors.Join(err, p.listener.Close())
	}
	return p, nil
}

// run serves until ctx ends.
func (p *proxy) run(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { _ = p.listener.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			if ctx.Err() == nil {
				klog.ErrorS(err, "Cannot take connections to the leader", "database", p.kind.Database)
			}
			if !retry.Sleep(ctx, findPause) {
				return
			}
			continue
		}
		wg.Go(func() { p.serve(ctx, client) })
	}
}

// serve connects a client with the leader until either ends or another one leads.
func (p *proxy) serve(ctx context.Context, client net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer client.Close()
	defer cancel()
	said := make(chan []byte, earlyChunks)
	wg.Go(func() {
		defer cancel()
		listenTo(ctx, client, said)
	})
	leader, server := p.connect(ctx)
	if server == nil {
		return
	}
	defer server.Close()
	wg.Go(func() {
		defer cancel()
		tell(ctx, server, said)
	})
	wg.Go(func() {
		defer cancel()
		_, _ = io.Copy(client, server)
	})
	wg.Go(func() {
		defer cancel()
		p.watch(ctx, leader)
	})
	<-ctx.Done()
}

// listenTo passes on what a client says until it ends.
func listenTo(ctx context.Context, client io.Reader, said chan<- []byte) {
	for {
		chunk := make([]byte, chunkBytes)
		n, err := client.Read(chunk)
		select {
		case said <- chunk[:n]:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func tell(ctx context.Context, server io.Writer, said <-chan []byte) {
	for {
		select {
		case chunk := <-said:
			if _, err := server.Write(chunk); err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// connect finds the leader; it returns nil when ctx ended first.
func (p *proxy) connect(ctx context.Context) (leader string, server net.Conn) {
	for pause := findPause; ; pause = min(2*pause, findPauseLast) {
		leader, ok := p.search.wait(ctx)
		if !ok {
			return "", nil
		}
		if server, err := p.dial(ctx, leader); err == nil {
			return leader, server
		}
		if !retry.Sleep(ctx, pause) {
			return "", nil
		}
	}
}

func (p *proxy) find(ctx context.Context) (string, error) {
	config, err := ovsdb.TLSConfig(p.tls)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return ovsdb.FindLeader(ctx, p.endpoints, config, p.kind.Database)
}

func (p *proxy) dial(ctx context.Context, endpoint string) (net.Conn, error) {
	config, err := ovsdb.TLSConfig(p.tls)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return ovsdb.Dial(ctx, endpoint, config)
}

// watch returns when another member leads. As long as none does, a connection is better than none.
func (p *proxy) watch(ctx context.Context, leader string) {
	for retry.Sleep(ctx, watchPause) {
		if now, err := p.find(ctx); err == nil && now != leader {
			klog.InfoS("Another member leads", "database", p.kind.Database, "was", leader, "is", now)
			return
		}
	}
}
