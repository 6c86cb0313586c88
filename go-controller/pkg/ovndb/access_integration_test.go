//go:build integration

package ovndb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// startRelay runs a relay of the cluster's members until the test ends, and waits for it.
func (c *cluster) startRelay(r *Relay) {
	c.t.Helper()
	c.runRelay(r)
	c.eventually("the relay is connected", r.Ready)
}

func (c *cluster) runRelay(r *Relay) {
	c.t.Helper()
	for _, config := range c.configs {
		r.Sources = append(r.Sources, config.endpoint(config.LocalAddress))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Error(err)
		}
	})
}

// tell runs ovn-nbctl or ovn-sbctl at the leader.
func (c *cluster) tell(program string, args ...string) {
	c.t.Helper()
	c.answer(program, args...)
}

// answer is what ovn-nbctl or ovn-sbctl prints at the leader.
func (c *cluster) answer(program string, args ...string) string {
	c.t.Helper()
	args = append([]string{"--timeout=20", "--db=unix:" + c.configs[0].LeaderSocket()}, args...)
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s %q: %v: %s", program, args, err, out)
	}
	return string(out)
}

func TestRelay(t *testing.T) {
	c := newCluster(t, 3)
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	r := &Relay{Kind: NB(), RunDir: c.configs[0].RunDir}
	if err := r.Validate(); err == nil {
		t.Error("a relay without sources is valid")
	}
	c.startRelay(r)
	address := c.configs[0].LocalAddress.String()
	c.tell("ovn-nbctl", "set-connection", "ptcp:16651:"+address)
	c.eventually("a write through the relay", func() error {
		out, err := exec.Command("ovn-nbctl", "--timeout=10", "--no-leader-only", "--db=tcp:"+address+":16651", "--may-exist", "ls-add", "relayed").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	c.has(1, "relayed")
}

// Members trust the control plane alone. Nodes reach relays, which know nodes too, and have no more rights there than their role.
func TestRelayForNodes(t *testing.T) {
	p := newPKI(t)
	server, authority := p.server("server"), p.file(controlPlane+".crt")
	c := p.cluster(SB(), server)
	address := c.configs[0].LocalAddress.String()
	r := p.relay(c, server)
	c.startRelay(r)
	c.tell("ovn-sbctl", "--", "--id=@p", "create", "RBAC_Permission", "table=Chassis", "authorization=name", "insert_delete=true", "update=hostname",
		"--", "create", "RBAC_Role", "name=ovn-controller", "permissions:Chassis=@p", "--", "chassis-add", "chassis1", "geneve", "192.0.2.1")

	as := func(node, endpoint string, args ...string) error {
		args = append([]string{"--timeout=10", "--no-leader-only", "--db=ssl:" + endpoint, "--private-key=" + node, "--certificate=" + node, "--ca-cert=" + authority}, args...)
		out, err := exec.Command("ovn-sbctl", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	node1, node2 := p.node("chassis1"), p.node("chassis2")
	relay := address + ":16652"
	c.eventually("a node writes what is its own", func() error { return as(node1, relay, "set", "chassis", "chassis1", "hostname=good") })
	for what, args := range map[string][]string{
		"another node's chassis":    {"set", "chassis", "chassis1", "hostname=evil"},
		"another node's removal":    {"chassis-del", "chassis1"},
		"the connections of all":    {"del-connection"},
		"what is nobody's but ours": {"set", "SB_Global", ".", "options:x=evil"},
	} {
		if err := as(node2, relay, args...); err == nil || !strings.Contains(err.Error(), "RBAC rules") {
			t.Errorf("%s, by a node: %v", what, err)
		}
	}
	if err := as(server, hostPort(c.configs[0].LocalAddress, c.configs[0].Port), "show"); err != nil {
		t.Errorf("the control plane at a member: %v", err)
	}
	for _, port := range []int{c.configs[0].Port, c.configs[0].RaftPort} {
		if err := as(node1, hostPort(c.configs[0].LocalAddress, port), "show"); err == nil || !strings.Contains(err.Error(), "connection failed") {
			t.Errorf("a node at a member's port %d: %v", port, err)
		}
	}
	// As in a database that was made anew.
	connection := func() string {
		return strings.TrimSpace(c.answer("ovn-sbctl", "--bare", "--columns=_uuid", "find", "Connection", "target="+`"`+r.listener().target()+`"`))
	}
	before := connection()
	c.tell("ovn-sbctl", "del-connection")
	c.eventually("the connection for nodes is made again", func() error {
		if now := connection(); now == "" || now == before {
			return fmt.Errorf("row %q, %q before", now, before)
		}
		return as(node1, relay, "show")
	})
	c.eventually("the relay is ready", r.Ready)
	c.tell("ovn-sbctl", "--", "--id=@c", "create", "Connection", fmt.Sprintf(`target="ptcp:16653:%s"`, address), "--", "add", "SB_Global", ".", "connections", "@c")
	c.eventually("the relay says that everybody may come in elsewhere", func() error {
		if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "ptcp:16653") {
			return fmt.Errorf("it says: %w", err)
		}
		return nil
	})
	c.tell("ovn-sbctl", "del-connection")
	c.eventually("the relay is ready without that door", r.Ready)
	c.tell("ovn-sbctl", "set", "connection", ".", `role=""`)
	c.eventually("the relay says that the connection has no role", func() error {
		if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "has role") {
			return fmt.Errorf("it says: %w", err)
		}
		return nil
	})
}

// A relay with a node's certificate, or a stranger's, gets nothing from any member; with its own, put right while it runs, it does.
func TestRelayIsRefused(t *testing.T) {
	p := newPKI(t)
	c := p.cluster(SB(), p.server("server"))
	own := p.node("relay")
	r := p.relay(c, own)
	c.runRelay(r)
	for _, wrong := range []string{own, p.stranger("server")} {
		p.copy(wrong, own)
		before := c.opened(r.control())
		c.eventually("the relay tries all members", func() error { return atLeast(c.opened(r.control()), before+len(c.configs)) })
		if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "is not connected") {
			t.Errorf("with the certificate of %s: %v", wrong, err)
		}
	}
	p.copy(p.server("right"), own)
	c.eventually("the relay is connected", r.Ready)
}

// The socket to the leader is what Open vSwitch's own clients use: a command works at once after a change of leaders.
func TestLeaderSocket(t *testing.T) {
	c := newCluster(t, 3)
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	write := func(through int, name string) time.Duration {
		began := time.Now()
		out, err := exec.Command("ovn-nbctl", "--timeout=20", "--db=unix:"+c.configs[through].LeaderSocket(), "ls-add", name).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return time.Since(began)
	}
	follower := (c.leader() + 1) % 3
	write(follower, "a")
	c.stop((follower + 2) % 3)
	t.Logf("after the leader was stopped a command took %s", write(follower, "b"))
	c.has(follower, "a", "b")
}

// A standalone database lets nodes in where it has made the connection for them itself, with their role, and nowhere else.
func TestStandaloneForNodes(t *testing.T) {
	p := newPKI(t)
	server, authority := p.server("server"), p.file(controlPlane+".crt")
	c := newCluster(t, 0)
	address := c.configs[0].LocalAddress
	config := &c.configs[0]
	config.Kind, config.TLS, config.LocalAddress, config.Listen = SB(), p.files(server, nodes), netip.Addr{}, "16654:"+address.String()
	c.start(0)
	c.eventually("the database says that it does not listen yet", func() error {
		if err := c.running[0].Ready(); !errors.Is(err, errNoListener) {
			return fmt.Errorf("it says: %w", err)
		}
		return nil
	})
	as := func(node string, args ...string) error {
		args = append([]string{"--timeout=10", "--db=ssl:" + hostPort(address, 16654), "--private-key=" + node, "--certificate=" + node, "--ca-cert=" + authority}, args...)
		out, err := exec.Command("ovn-sbctl", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	node := p.node("chassis1")
	if out, err := exec.Command("ovn-sbctl", "--timeout=10", "--db=unix:"+config.Socket(), "init").CombinedOutput(); err != nil { // as ovn-northd does
		t.Fatalf("%v: %s", err, out)
	}
	c.ready(0)
	c.eventually("a node reads", func() error { return as(node, "show") })
	if err := as(node, "set", "SB_Global", ".", "options:x=evil"); err == nil || !strings.Contains(err.Error(), "RBAC rules") {
		t.Errorf("a node writes: %v", err)
	}
	if err := as(p.stranger("stranger"), "show"); err == nil {
		t.Error("a stranger reads")
	}
}
