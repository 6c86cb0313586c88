package ovndb

import (
	"context"
	"crypto/tls"
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
)

const (
	// findPause is the time between two rounds of questions for a leader: an election tells nobody of its end who is not connected.
	findPause = 50 * time.Millisecond
	// watchPause is the time between two looks whether a connection still leads to the leader.
	watchPause = 2 * time.Second
)

// proxy leads local clients to the cluster's leader. Open vSwitch's own clients, ovn-northd among them, try the members one after
// the other and wait 1, 2, 4 and 8 s in between: after a change of leaders that costs more than the election. Here a connection
// simply waits until there is a leader.
type proxy struct {
	kind      Kind
	listener  net.Listener
	endpoints []string
	config    *tls.Config
}

func newProxy(ctx context.Context, c *Config) (*proxy, error) {
	p := &proxy{kind: c.Kind}
	var err error
	if p.config, err = ovsdb.TLSConfig(c.TLS); err != nil {
		return nil, err
	}
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
			if !sleep(ctx, findPause) {
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
	defer cancel()
	defer client.Close()
	leader, server := p.connect(ctx)
	if server == nil {
		return
	}
	defer server.Close()
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		wg.Go(func() {
			defer cancel()
			_, _ = io.Copy(pair[0], pair[1])
		})
	}
	wg.Go(func() {
		defer cancel()
		p.watch(ctx, leader)
	})
	<-ctx.Done()
	_, _ = client.Close(), server.Close()
	wg.Wait()
}

// connect finds the leader; it returns nil when ctx ended first.
func (p *proxy) connect(ctx context.Context) (leader string, server net.Conn) {
	for {
		leader, err := p.find(ctx, p.endpoints)
		if err == nil {
			if server, err = p.dial(ctx, leader); err == nil {
				return leader, server
			}
		}
		if !sleep(ctx, findPause) {
			return "", nil
		}
	}
}

func (p *proxy) find(ctx context.Context, endpoints []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return ovsdb.FindLeader(ctx, endpoints, p.config, p.kind.Database)
}

func (p *proxy) dial(ctx context.Context, endpoint string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return ovsdb.Dial(ctx, endpoint, p.config)
}

// watch returns when another member leads. As long as none does, a connection is better than none.
func (p *proxy) watch(ctx context.Context, leader string) {
	for sleep(ctx, watchPause) {
		if now, err := p.find(ctx, p.endpoints); err == nil && now != leader {
			klog.InfoS("Another member leads", "database", p.kind.Database, "was", leader, "is", now)
			return
		}
	}
}
