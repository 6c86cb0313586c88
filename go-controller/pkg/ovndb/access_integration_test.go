//go:build integration

package ovndb

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/certs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

// startRelay runs a relay of the cluster's members until the test ends.
func (c *cluster) startRelay(r *Relay) {
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
	c.eventually("the relay is connected", r.Ready)
}

// tell runs ovn-nbctl or ovn-sbctl at the leader.
func (c *cluster) tell(program string, args ...string) {
	c.t.Helper()
	args = append([]string{"--timeout=20", "--db=unix:" + c.configs[0].LeaderSocket()}, args...)
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		c.t.Fatalf("%s %q: %v: %s", program, args, err, out)
	}
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

// pairOf writes a key and its certificate into one file.
func pairOf(t *testing.T, a *certs.Authority, dir, name string, usages ...x509.ExtKeyUsage) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Sign(key.Public(), certs.Profile{CommonName: name, Organization: "x", Usages: usages}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, name+".pem")
	pair := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), cert...)
	if err := os.WriteFile(file, pair, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Members trust the control plane alone. Nodes reach relays, which know nodes too, and have no more rights there than their role.
func TestRelayForNodes(t *testing.T) {
	dir := t.TempDir()
	pki := map[string]*certs.Authority{}
	var trusted []byte
	for _, name := range []string{"control-plane", "nodes"} {
		a, err := certs.NewAuthority(name, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		cert, _, err := a.PEM()
		if err != nil {
			t.Fatal(err)
		}
		pki[name], trusted = a, append(trusted, cert...)
		if err := os.WriteFile(filepath.Join(dir, name+".crt"), trusted, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := pairOf(t, pki["control-plane"], dir, "server", x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	authority := filepath.Join(dir, "control-plane.crt")

	c := newCluster(t, 3)
	for i := range c.configs {
		c.configs[i].Kind, c.configs[i].TLS = SB(), ovsdb.TLSFiles{PrivateKey: server, Certificate: server, CACertificate: authority}
	}
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	address := c.configs[0].LocalAddress.String()
	c.tell("ovn-sbctl", "init")
	c.tell("ovn-sbctl", "set-connection", "role=ovn-controller", "pssl:16652:"+address)
	c.tell("ovn-sbctl", "--", "--id=@p", "create", "RBAC_Permission", "table=Chassis", "authorization=name", "insert_delete=true", "update=hostname",
		"--", "create", "RBAC_Role", "name=ovn-controller", "permissions:Chassis=@p", "--", "chassis-add", "chassis1", "geneve", "192.0.2.1")
	c.startRelay(&Relay{Kind: SB(), RunDir: c.configs[0].RunDir,
		TLS: ovsdb.TLSFiles{PrivateKey: server, Certificate: server, CACertificate: filepath.Join(dir, "nodes.crt")}})

	as := func(node, endpoint string, args ...string) error {
		args = append([]string{"--timeout=10", "--no-leader-only", "--db=ssl:" + endpoint, "--private-key=" + node, "--certificate=" + node, "--ca-cert=" + authority}, args...)
		out, err := exec.Command("ovn-sbctl", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	node1 := pairOf(t, pki["nodes"], dir, "chassis1", x509.ExtKeyUsageClientAuth)
	node2 := pairOf(t, pki["nodes"], dir, "chassis2", x509.ExtKeyUsageClientAuth)
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
