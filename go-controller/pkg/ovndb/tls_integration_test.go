//go:build integration

package ovndb

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A member whose certificate another authority has signed, or which is a node's, is not one: it reaches nobody and nobody reaches it. The others
// go on, and it catches up when its certificate is put right, without a restart.
func TestMemberWithAWrongCertificateIsRefused(t *testing.T) {
	p := newPKI(t)
	c := p.cluster(NB(), p.server("m0"), p.server("m1"), p.server("m2"))
	client := c.clientAs(p.files(p.server("client"), controlPlane))
	c.write(client, "a")
	for i, wrong := range []string{p.stranger("m"), p.node("chassis1")} {
		before := c.leader()
		odd := (before + 1) % 3
		pair := c.configs[odd].TLS.PrivateKey
		c.stop(odd)
		p.copy(wrong, pair)
		c.start(odd)
		c.eventually("it tries the others", func() error { return atLeast(c.opened(c.control(odd)), 4) })
		c.eventually("it has no leader", func() error {
			if err := c.running[odd].Ready(); err == nil || !strings.Contains(err.Error(), "no leader") {
				return fmt.Errorf("its state is: %w", err)
			}
			return nil
		})
		name := fmt.Sprintf("without-%d", i)
		c.write(client, name)
		if now := c.leader(); now != before {
			t.Errorf("member %d leads, %d did: the odd one disturbs the others", now, before)
		}
		p.copy(p.server("right"), pair)
		c.ready(odd)
		c.has(odd, name)
	}
}

// One that has no file yet gets none: neither does it join, nor does it make a cluster of its own.
func TestStrangerDoesNotJoin(t *testing.T) {
	p := newPKI(t)
	c := p.cluster(NB(), p.server("m0"), p.server("m1"), p.server("m2"))
	c.stop(0) // the one that makes clusters
	c.wipe(0)
	own := p.stranger("m")
	c.configs[0].TLS = p.files(own, controlPlane)
	c.start(0)
	c.eventually("it waits", func() error {
		if err := c.running[0].Ready(); err == nil || !strings.Contains(err.Error(), "tls") {
			return fmt.Errorf("its state is: %w", err)
		}
		return nil
	})
	if f, err := inspect(t.Context(), c.configs[0].Path()); err != nil || f.Exists {
		t.Errorf("it has a file: %+v, %v", f, err)
	}
	p.copy(p.server("right"), own)
	c.ready(0)
	c.counts(c.leader(), 3)
}

// lasting is a connection that a test keeps, as a client of Open vSwitch's would: servers end those from which they hear nothing for some seconds.
type lasting struct {
	*tls.Conn
	what string

	mu     sync.Mutex
	rounds int
	err    error // why it has ended
}

// connect makes a connection with a pair and has it answered once.
func (p *pki) connect(address, pair string) (*lasting, error) {
	p.t.Helper()
	own, err := tls.LoadX509KeyPair(pair, pair)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // what is shown is looked at afterwards
		// Shown whomever the server says it trusts.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil },
	}}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	l := &lasting{Conn: conn.(*tls.Conn), what: address}
	if err := l.round(); err != nil {
		return l, err
	}
	go l.keep()
	return l, nil
}

func (p *pki) mustConnect(address, pair string) *lasting {
	p.t.Helper()
	l, err := p.connect(address, pair)
	if err != nil {
		p.t.Fatalf("%s at %s: %v", pair, address, err)
	}
	return l
}

// keep asks for answers until the connection ends, at the latest with the test.
func (l *lasting) keep() {
	for err := error(nil); err == nil; time.Sleep(100 * time.Millisecond) {
		err = l.round()
		l.mu.Lock()
		l.rounds, l.err = l.rounds+1, err
		l.mu.Unlock()
	}
}

func (l *lasting) round() error {
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := l.Write([]byte(`{"method":"echo","params":[],"id":"x"}`)); err != nil {
		return fmt.Errorf("connection to %s: %w", l.what, err)
	}
	if _, err := l.Read(make([]byte, 1000)); err != nil {
		return fmt.Errorf("connection to %s: %w", l.what, err)
	}
	return nil
}

func (l *lasting) state() (rounds int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rounds, l.err
}

// alive is nil when a question that is asked from now on is answered.
func (l *lasting) alive() error {
	begun, err := l.state()
	for rounds := begun; err == nil && rounds < begun+2; rounds, err = l.state() { // the first may have been asked before
		time.Sleep(5 * time.Millisecond)
	}
	return err
}

// shown is the name in the certificate that a server shows. A member shows it on the port for members, too, to whom it then does not answer.
func (p *pki) shown(address, pair string) string {
	p.t.Helper()
	own, err := tls.LoadX509KeyPair(pair, pair)
	if err != nil {
		p.t.Fatal(err)
	}
	name := ""
	conn, err := (&tls.Dialer{Config: &tls.Config{
		InsecureSkipVerify: true, Certificates: []tls.Certificate{own}, //nolint:gosec // what is shown is looked at
	}}).DialContext(p.t.Context(), "tcp", address)
	if err == nil {
		name = conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
		_ = conn.Close()
	}
	return name
}

// listeners are all addresses where members and a relay listen, clients' first.
func (c *cluster) listeners(r *Relay) []string {
	var clients, raft []string
	for _, config := range c.configs {
		clients, raft = append(clients, hostPort(config.LocalAddress, config.Port)), append(raft, hostPort(config.LocalAddress, config.RaftPort))
	}
	return append(append(clients, hostPort(c.configs[0].LocalAddress, 16652)), raft...)
}

// openedInAll are the connections that members and a relay have begun. Servers add up what they have counted once a second, when they have something to do.
func (c *cluster) openedInAll(r *Relay) map[string]int {
	c.t.Helper()
	out := map[string]int{}
	for range 3 {
		time.Sleep(1100 * time.Millisecond)
		out["relay"] = c.opened(r.control())
		for i := range c.configs {
			out[fmt.Sprintf("member %d", i)] = c.opened(c.control(i))
		}
	}
	return out
}

// monitor is a client of Open vSwitch's own library, which has been answered; its end is seen.
func (p *pki) monitor(endpoint string, pair string) (ended func() error) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), "ovsdb-client", "--private-key="+pair, "--certificate="+pair, "--ca-cert="+p.file(controlPlane+".crt"), //nolint:gosec // fixed
		"monitor", "ssl:"+endpoint, "OVN_Southbound", "SB_Global", "nb_cfg")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	answered, over := make(chan struct{}), make(chan error, 1)
	go func() {
		lines := bufio.NewReader(out)
		if _, err := lines.ReadString('\n'); err == nil {
			close(answered)
		}
		_, err := io.Copy(io.Discard, lines)
		over <- errors.Join(err, cmd.Wait(), errors.New("it has ended"))
	}()
	select {
	case <-answered:
	case err := <-over:
		p.t.Fatalf("monitor of %s: %v", endpoint, err)
	case <-time.After(patience):
		p.t.Fatalf("monitor of %s: no answer", endpoint)
	}
	return func() error {
		select {
		case err := <-over:
			over <- err
			return err
		default:
			return nil
		}
	}
}

// Renewed certificates are taken up by servers that run, for clients, members and sources alike, and nobody connects anew because of them.
func TestRenewalEndsNoConnection(t *testing.T) {
	p := newPKI(t)
	own := []string{p.server("m0"), p.server("m1"), p.server("m2")}
	c := p.cluster(SB(), own...)
	relaysOwn := p.server("relay")
	r := p.relay(c, relaysOwn)
	c.startRelay(r)
	master, node := p.server("master"), p.node("chassis1")
	var kept []*lasting
	var monitors []func() error
	relay := net.JoinHostPort(c.configs[0].LocalAddress.String(), "16652")
	c.eventually("the relay listens", func() error { _, err := p.connect(relay, node); return err })
	for _, at := range c.listeners(r)[:4] {
		who := map[bool]string{true: node, false: master}[at == relay]
		kept = append(kept, p.mustConnect(at, who))
		monitors = append(monitors, p.monitor(at, who))
	}
	leader := c.leader()
	before, err := c.status(leader)
	if err != nil {
		t.Fatal(err)
	}
	opened := c.openedInAll(r)

	renewed := p.server("renewed")
	for _, file := range append(own, relaysOwn) {
		p.copy(renewed, file)
	}
	for _, at := range c.listeners(r) {
		if name := p.shown(at, master); name != "renewed" {
			t.Errorf("%s shows the certificate of %q", at, name)
		}
	}
	c.tell("ovn-sbctl", "set", "SB_Global", ".", "options:renewed=true") // all members and the relay have a word with each other
	for i, l := range kept {
		if err := errors.Join(l.alive(), monitors[i]()); err != nil {
			t.Errorf("%s, from before: %v", l.what, err)
		}
	}
	if diff := cmp.Diff(opened, c.openedInAll(r)); diff != "" {
		t.Errorf("servers have begun connections because of renewals:\n%s", diff)
	}
	if now, err := c.status(leader); err != nil || now.Term != before.Term || !now.Leads() {
		t.Errorf("the member that led in term %d is %s in term %d, %v", before.Term, now.Role, now.Term, err)
	}
}
