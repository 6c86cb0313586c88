//go:build integration

package ovndb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/certs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

// handshakes makes connections all the time, each with the files as they are then, and counts those that fail.
type handshakes struct {
	mu     sync.Mutex
	done   map[string]int // by endpoint
	failed []error
}

// watch connects to an endpoint again and again until stop.
func (h *handshakes) watch(ctx context.Context, endpoint string, files ovsdb.TLSFiles) {
	for ctx.Err() == nil {
		err := h.once(ctx, endpoint, files)
		if ctx.Err() != nil {
			return
		}
		h.mu.Lock()
		h.done[endpoint]++
		if err != nil && len(h.failed) < 5 { // more say the same
			h.failed = append(h.failed, fmt.Errorf("%s with %s: %w", endpoint, files.Certificate, err))
		}
		h.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
	}
}

func (h *handshakes) once(ctx context.Context, endpoint string, files ovsdb.TLSFiles) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	config, err := ovsdb.TLSConfig(files)
	if err == nil {
		_, err = ovsdb.Ask(ctx, endpoint, config, SB().Database)
	}
	return err
}

// rounds are the connections that have been tried, by endpoint.
func (h *handshakes) rounds() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.done)
}

// soFar returns what has failed since the last call, after each endpoint has had a connection that was begun since this one: the first
// that ends may have been begun before.
func (h *handshakes) soFar() error {
	for endpoint, before := range h.rounds() {
		for h.rounds()[endpoint] < before+2 {
			time.Sleep(time.Millisecond)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	err := errors.Join(h.failed...)
	h.failed = nil
	return err
}

// replacement is a running cluster with a relay, all of whose certificates are to be signed by others.
type replacement struct {
	*pki
	c            *cluster
	r            *Relay
	servers      []string // files of members and relay
	master, node string
	// As master and node were at first.
	formerMaster, formerNode string
	kept                     []*lasting
	handshakes               handshakes
}

func newReplacement(t *testing.T) *replacement {
	t.Helper()
	p := newPKI(t)
	s := &replacement{pki: p, servers: []string{p.server("m0"), p.server("m1"), p.server("m2"), p.server("relay")}}
	s.c = p.cluster(SB(), s.servers[:3]...)
	s.r = p.relay(s.c, s.servers[3])
	s.c.startRelay(s.r)
	s.master, s.node = p.server("master"), p.node("chassis1")
	s.formerMaster, s.formerNode = p.file("former-master.pem"), p.file("former-node.pem")
	p.copy(s.master, s.formerMaster)
	p.copy(s.node, s.formerNode)
	s.c.eventually("the relay listens", func() error { _, err := p.connect(s.relayAddress(), s.node); return err })
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	watched := s.c.listeners(s.r)[:4]
	s.handshakes.done = map[string]int{}
	for _, at := range watched {
		s.handshakes.done["ssl:"+at] = 0
	}
	for _, at := range watched {
		s.kept = append(s.kept, p.mustConnect(at, s.pair(at)))
		wg.Go(func() { s.handshakes.watch(ctx, "ssl:"+at, p.files(s.pair(at), controlPlane)) })
	}
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)
	return s
}

func (s *replacement) relayAddress() string { return s.c.listeners(s.r)[3] }

// pair is who connects to an address.
func (s *replacement) pair(at string) string {
	if at == s.relayAddress() {
		return s.node
	}
	return s.master
}

// works asserts that nobody has noticed what was done.
func (s *replacement) works(after string) {
	s.t.Helper()
	if err := s.handshakes.soFar(); err != nil {
		s.t.Errorf("%s: new connections: %v", after, err)
	}
	for _, l := range s.kept {
		if err := l.alive(); err != nil {
			s.t.Errorf("%s: a connection from before: %v", after, err)
		}
	}
}

// restartFollower makes a member do all its handshakes with the others again.
func (s *replacement) restartFollower() {
	s.t.Helper()
	odd := (s.c.leader() + 1) % 3
	address := hostPort(s.c.configs[odd].LocalAddress, s.c.configs[odd].Port)
	before := s.kept[odd]
	s.c.kill(odd, "-KILL")
	s.c.eventually("the member is started again", func() error {
		if _, err := before.state(); err == nil {
			return errors.New("it has not ended yet")
		}
		now, err := s.connect(address, s.pair(address))
		s.kept[odd] = now
		return err
	})
	s.c.ready(odd)
	s.c.tell("ovn-sbctl", "set", "SB_Global", ".", "options:x="+time.Now().Format(time.RFC3339Nano))
	_ = s.handshakes.soFar() // its clients had to connect again
}

// The way of docs/security.md, by the files that it leads to: both authorities are trusted everywhere, then certificates are renewed
// one by one, then the former authorities are not trusted any more. New and old connections never fail, members make their handshakes in
// each state, and at the end what the former have signed is good for nothing.
func TestAuthoritiesAreReplaced(t *testing.T) {
	s := newReplacement(t)
	s.works("at first")
	opened := s.c.openedInAll(s.r)

	former := s.authorities
	newCP, newNodes := s.authority("control-plane-2"), s.authority("nodes-2")
	s.trust(controlPlane, newCP, former[controlPlane])
	s.trust(nodes, newCP, former[controlPlane], newNodes, former[nodes])
	s.works("both are trusted")

	s.authorities = map[string]*certs.Authority{controlPlane: newCP, nodes: newNodes}
	for i, file := range append(s.servers, s.master, s.node) {
		fresh := s.server("fresh")
		if file == s.node {
			fresh = s.pki.node("fresh")
		}
		s.copy(fresh, file)
		s.works(file + " is renewed")
		if i == 0 { // one member with a new certificate, two with old ones
			if now := s.c.openedInAll(s.r); fmt.Sprint(now) != fmt.Sprint(opened) {
				t.Errorf("servers have begun connections: %v, %v before", now, opened)
			}
			s.restartFollower()
		}
	}

	s.trust(controlPlane, newCP)
	s.trust(nodes, newCP, newNodes)
	s.works("the new ones alone are trusted")
	for _, at := range s.c.listeners(s.r)[:4] {
		for _, pair := range []string{s.formerMaster, s.formerNode} {
			if _, err := s.connect(at, pair); err == nil {
				t.Errorf("%s lets %s in", at, pair)
			}
		}
	}
	s.restartFollower()
	s.works("a member has started with the new ones alone")
	s.endConnections()
}

// endConnections ends what was let in by certificates of former authorities, and measures until all are back.
func (s *replacement) endConnections() {
	s.t.Helper()
	began := time.Now()
	for _, control := range []string{s.r.control(), s.c.control(0), s.c.control(1), s.c.control(2)} {
		if _, err := Command(s.t.Context(), control, "ovsdb-server/reconnect"); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, l := range s.kept {
		s.c.eventually("the connection to "+l.what+" has ended", func() error {
			if l.alive() == nil {
				return errors.New("it goes on")
			}
			return nil
		})
		s.mustConnect(l.what, s.pair(l.what))
	}
	s.c.eventually("the relay is connected", s.r.Ready)
	s.t.Logf("all were connected again %v after their connections were ended", time.Since(began).Round(time.Millisecond))
}
