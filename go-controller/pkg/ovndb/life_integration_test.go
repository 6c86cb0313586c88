//go:build integration

package ovndb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

const patience = 60 * time.Second

// cluster are three members on addresses of their own of the loopback interface.
type cluster struct {
	t       testing.TB
	configs []Config
	running []*runningMember
}

type runningMember struct {
	*Member
	cancel context.CancelFunc
	ended  chan error
}

// newCluster prepares members; with none it is a standalone database.
func newCluster(t testing.TB, size int) *cluster {
	t.Helper()
	c := &cluster{t: t, running: make([]*runningMember, max(1, size))}
	net := [2]byte{byte(1 + rand.IntN(250)), byte(1 + rand.IntN(250))}
	var members []netip.Addr
	for i := range max(1, size) {
		members = append(members, netip.AddrFrom4([4]byte{127, net[0], net[1], byte(i + 1)}))
	}
	for _, a := range members {
		dir, err := os.MkdirTemp("", "ovndb") // short enough for sockets
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		config := Config{
			Kind: NB(), Dir: filepath.Join(dir, "lib"), RunDir: filepath.Join(dir, "run"), SchemaDir: DefaultSchemaDir, LocalAddress: a,
			Port: 16641, RaftPort: 16643, ElectionTimer: time.Second, CompactBytes: DefaultCompactBytes,
		}
		if size > 0 {
			config.Members = members
		}
		c.configs = append(c.configs, config)
	}
	t.Cleanup(func() {
		for i := range c.running {
			c.stop(i)
		}
	})
	return c
}

func (c *cluster) start(which ...int) {
	c.t.Helper()
	for _, i := range which {
		m, err := NewMember(c.configs[i], MemberOptions{})
		if err != nil {
			c.t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		r := &runningMember{m, cancel, make(chan error, 1)}
		c.running[i] = r
		go func() { r.ended <- m.Run(ctx) }()
	}
}

// stop ends a member as SIGTERM does.
func (c *cluster) stop(i int) {
	c.t.Helper()
	if r := c.running[i]; r != nil {
		r.cancel()
		if err := <-r.ended; err != nil {
			c.t.Errorf("member %d: %v", i, err)
		}
		c.running[i] = nil
	}
}

func (c *cluster) control(i int) string { return c.configs[i].Control() }

func (c *cluster) status(i int) (Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return ReadStatus(ctx, c.control(i), NB())
}

// eventually waits until check is nil.
func (c *cluster) eventually(what string, check func() error) {
	c.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	c.t.Fatalf("%s: %v", what, err)
}

// ready waits until members serve.
func (c *cluster) ready(which ...int) {
	c.t.Helper()
	for _, i := range which {
		c.eventually(fmt.Sprintf("member %d serves", i), func() error {
			if c.running[i] == nil {
				return fmt.Errorf("it is not started")
			}
			select {
			case err := <-c.running[i].ended:
				c.running[i].ended <- err
				c.t.Fatalf("member %d ended: %v", i, err)
			default:
			}
			return c.running[i].Ready()
		})
	}
}

// counts waits until member i counts so many members.
func (c *cluster) counts(i, n int) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("member %d counts %d", i, n), func() error {
		s, err := c.status(i)
		if err == nil && len(s.Servers) != n {
			err = fmt.Errorf("it counts %+v", s.Servers)
		}
		return err
	})
}

func (c *cluster) leader() int {
	c.t.Helper()
	leader := -1
	c.eventually("there is a leader", func() error {
		for i := range c.configs {
			if s, err := c.status(i); err == nil && s.Leads() {
				leader = i
				return nil
			}
		}
		return fmt.Errorf("no member leads")
	})
	return leader
}

func (c *cluster) client() *ovsdb.Client {
	c.t.Helper()
	full, err := nbdb.FullDatabaseModel()
	if err != nil {
		c.t.Fatal(err)
	}
	o := ovsdb.Options{Database: full.Name(), Model: full, LeaderOnly: true, Monitors: []ovsdb.Monitor{{Table: nbdb.LogicalSwitchTable}}}
	for _, config := range c.configs {
		o.Endpoints = append(o.Endpoints, config.endpoint(config.LocalAddress))
	}
	client, err := ovsdb.Connect(c.t.Context(), o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.Close)
	return client
}

// write tries until a row is in the database and returns how long that took.
func (c *cluster) write(client *ovsdb.Client, name string) time.Duration {
	c.t.Helper()
	began := time.Now()
	c.eventually("a write", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		results, err := client.Transact(ctx, libovsdb.Operation{Op: libovsdb.OperationInsert, Table: nbdb.LogicalSwitchTable, Row: libovsdb.Row{"name": name}})
		if err == nil {
			_, err = ovsdb.CheckResults(results, 1)
		}
		return err
	})
	return time.Since(began)
}

// has fails unless the database, read through member i, holds the switches.
func (c *cluster) has(i int, names ...string) {
	c.t.Helper()
	for _, name := range names {
		c.eventually("switch "+name+" is there", func() error {
			out, err := exec.Command("ovn-nbctl", "--timeout=5", "--no-leader-only", "--db=unix:"+c.configs[i].Socket(), "ls-list").CombinedOutput()
			if err != nil || !strings.Contains(string(out), "("+name+")") {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
}

// pid is the server's process.
func (c *cluster) pid(i int) string {
	c.t.Helper()
	out, err := exec.Command("pgrep", "-f", "--", "--unixctl="+c.control(i)).Output()
	if err != nil {
		c.t.Fatalf("server of member %d: %v", i, err)
	}
	return strings.TrimSpace(string(out))
}

func (c *cluster) kill(i int, signal string) {
	c.t.Helper()
	if out, err := exec.Command("kill", signal, c.pid(i)).CombinedOutput(); err != nil {
		c.t.Fatalf("kill: %v: %s", err, out)
	}
}

// wipe is the loss of a member's disk.
func (c *cluster) wipe(i int) {
	c.t.Helper()
	if err := os.RemoveAll(c.configs[i].Dir); err != nil {
		c.t.Fatal(err)
	}
}

// The first member makes the cluster only when all others have been heard of.
func TestClusterIsMadeOnce(t *testing.T) {
	c := newCluster(t, 3)
	c.start(0, 1)
	c.eventually("the second member waits for a cluster", func() error {
		s, err := c.status(1)
		if err == nil && s.Status != "joining cluster" {
			err = fmt.Errorf("it is %s", s.Status)
		}
		return err
	})
	if f, err := inspect(t.Context(), c.configs[0].Path()); err != nil || f.Exists {
		t.Fatalf("the first member did not wait for the third: %+v, %v", f, err)
	}
	c.start(2)
	c.ready(0, 1, 2)
	c.counts(0, 3)
	client := c.client()
	c.write(client, "a")
	for i := range 3 {
		c.has(i, "a")
	}
}

// A follower that loses its disk, and then the first member, join anew; the old identities are removed by themselves.
func TestLostDiskIsReplaced(t *testing.T) {
	c := newCluster(t, 3)
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	client := c.client()
	c.write(client, "before")
	for _, i := range []int{2, 0} {
		c.stop(i)
		c.wipe(i)
		c.start(i)
		c.ready(i)
		c.eventually("the old identity is gone", func() error {
			s, err := c.status(c.leader())
			if err == nil && len(s.Servers) != 3 {
				err = fmt.Errorf("members are %+v", s.Servers)
			}
			return err
		})
		c.has(i, "before")
	}
	// Two of three are a majority again: the lost identities do not count.
	c.stop(c.leader())
	c.write(client, "after")
}

// An old member that was away rejoins with its file.
func TestMemberRejoins(t *testing.T) {
	c := newCluster(t, 3)
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	client := c.client()
	follower := (c.leader() + 1) % 3
	before, err := c.status(follower)
	if err != nil {
		t.Fatal(err)
	}
	c.kill(follower, "-KILL")
	c.write(client, "meanwhile")
	c.ready(follower)
	c.has(follower, "meanwhile")
	after, err := c.status(follower)
	if err != nil || after.ServerID != before.ServerID {
		t.Errorf("was %s, is %s: %v", before.ServerID, after.ServerID, err)
	}
}

// Writes go on soon after the leader was stopped in order, and after a bounded time when it was killed or stands still.
func TestWritesFollowTheLeader(t *testing.T) {
	c := newCluster(t, 3)
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	client := c.client()
	c.write(client, "first")

	leader := c.leader()
	c.stop(leader)
	took := c.write(client, "stopped")
	t.Logf("stopped in order: writes went on after %s", took)
	c.start(leader)
	c.ready(leader)

	leader = c.leader()
	c.kill(leader, "-KILL")
	t.Logf("killed: writes went on after %s", c.write(client, "killed"))
	c.ready(0, 1, 2)

	leader = c.leader()
	stopped := c.pid(leader)
	c.kill(leader, "-STOP")
	took = c.write(client, "frozen")
	_ = exec.Command("kill", "-CONT", stopped).Run()
	t.Logf("frozen: writes went on after %s", took)
	if took > 30*time.Second {
		t.Errorf("writes went on %s after the leader stood still", took)
	}
	c.has(c.leader(), "first", "stopped", "killed", "frozen")
}

func TestElectionTimerIsSet(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.configs {
		c.configs[i].ElectionTimer = 5 * time.Second
	}
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	c.eventually("the timer is 5 s", func() error {
		s, err := c.status(1)
		if err == nil && s.ElectionTimer != 5*time.Second {
			err = fmt.Errorf("it is %s", s.ElectionTimer)
		}
		return err
	})
}

// More than half of the members are lost for ever: the survivor's file becomes a new cluster's content.
func TestQuorumLost(t *testing.T) {
	c := newCluster(t, 3)
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	client := c.client()
	c.write(client, "kept")
	client.Close()
	c.has(2, "kept")
	for _, i := range []int{0, 1} {
		c.stop(i)
		c.wipe(i)
	}
	c.eventually("the survivor says that it has no leader", func() error {
		err := c.running[2].Ready()
		switch {
		case err == nil:
			return errors.New("it says nothing")
		case !strings.Contains(err.Error(), "no leader"):
			return fmt.Errorf("it says: %w", err)
		}
		return nil
	})
	if _, err := Recover(t.Context(), &c.configs[2]); err == nil || !strings.Contains(err.Error(), "runs") {
		t.Fatalf("recovery of a member that runs: %v", err)
	}
	old, err := inspect(t.Context(), c.configs[2].Path())
	if err != nil {
		t.Fatal(err)
	}
	before, err := c.status(2)
	if err != nil {
		t.Fatal(err)
	}
	c.stop(2)
	kept, err := Recover(t.Context(), &c.configs[2])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
	c.configs[2].Convert = c.configs[2].LocalAddress
	c.start(2)
	c.ready(2)
	c.start(0, 1)
	c.ready(0, 1, 2)
	c.counts(0, 3)
	if now, err := inspect(t.Context(), c.configs[2].Path()); err != nil || now.ClusterID == old.ClusterID {
		t.Errorf("cluster %s, was %s: %v", now.ClusterID, old.ClusterID, err)
	}
	// Or ovn-controller and ovn-northd take the new cluster for a stale one.
	if after, err := c.status(0); err != nil || after.LogFirst <= before.LogNext {
		t.Errorf("the new cluster's log begins at %d, the old one's had reached %d: %v", after.LogFirst, before.LogNext, err)
	}
	c.has(0, "kept")
	c.write(c.client(), "new")
}

func TestBackupAndRestore(t *testing.T) {
	for _, size := range []int{0, 3} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			c := newCluster(t, size)
			for i := range c.configs {
				c.start(i)
			}
			for i := range c.configs {
				c.ready(i)
			}
			if s, err := Look(t.Context(), &c.configs[0]); err != nil || (s.Status == "standalone") != (size == 0) {
				t.Errorf("the status is %+v: %v", s, err)
			}
			client := c.client()
			c.write(client, "saved")
			leader := 0
			if size > 0 {
				leader = c.leader()
			}
			file := filepath.Join(t.TempDir(), "backup")
			if err := Backup(t.Context(), &c.configs[leader], file); err != nil {
				t.Fatal(err)
			}
			c.write(client, "later")
			if err := Restore(t.Context(), &c.configs[leader], file); err != nil {
				t.Fatal(err)
			}
			c.eventually("the later switch is gone", func() error {
				rows := ovsdb.Rows[nbdb.LogicalSwitch](client)
				if len(rows) != 1 {
					return fmt.Errorf("%d switches", len(rows))
				}
				return nil
			})
			c.has(leader, "saved")
			sb := c.configs[leader]
			sb.Kind = SB()
			if err := Restore(t.Context(), &sb, file); err == nil {
				t.Error("a northbound backup was taken for a southbound one")
			}
		})
	}
}

func TestCompact(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.configs {
		c.configs[i].CompactBytes = 100_000
	}
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	client := c.client()
	for range 20 {
		var ops []libovsdb.Operation
		for i := range 100 {
			ops = append(ops, libovsdb.Operation{Op: libovsdb.OperationInsert, Table: nbdb.LogicalSwitchTable, Row: libovsdb.Row{"name": fmt.Sprint(i)}})
		}
		ops = append(ops, libovsdb.Operation{Op: libovsdb.OperationDelete, Table: nbdb.LogicalSwitchTable, Where: []libovsdb.Condition{}})
		if _, err := client.Transact(t.Context(), ops[100]); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Transact(t.Context(), ops[:100]...); err != nil {
			t.Fatal(err)
		}
	}
	for i := range c.configs {
		c.eventually(fmt.Sprintf("member %d's log is cut", i), func() error {
			s, err := c.status(i)
			if err == nil && s.LogFirst < 10 {
				err = fmt.Errorf("it begins at %d", s.LogFirst)
			}
			return err
		})
	}
	c.write(client, "on")
}

func TestConversionIsDeliberate(t *testing.T) {
	c := newCluster(t, 3)
	alone := c.configs[1]
	alone.Members = nil
	if err := create(t.Context(), &alone, decision{action: actionCreate}); err != nil {
		t.Fatal(err)
	}
	m, err := NewMember(c.configs[1], MemberOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--convert-standalone") {
		t.Fatalf("a standalone file was taken into a cluster: %v", err)
	}
	c.configs[1].Convert = c.configs[1].LocalAddress
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	c.counts(1, 3)
}

func TestRelay(t *testing.T) {
	c := newCluster(t, 3)
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	r := &Relay{Kind: NB(), LocalAddress: c.configs[0].LocalAddress, Port: 16651, RunDir: c.configs[0].RunDir}
	if err := r.Validate(); err == nil {
		t.Error("a relay without sources is valid")
	}
	for _, config := range c.configs {
		r.Sources = append(r.Sources, config.endpoint(config.LocalAddress))
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	c.eventually("the relay is connected", r.Ready)
	through := "--db=tcp:" + hostPort(r.LocalAddress, r.Port)
	if out, err := exec.Command("ovn-nbctl", "--timeout=10", "--no-leader-only", through, "ls-add", "relayed").CombinedOutput(); err != nil {
		t.Fatalf("a write through the relay: %v: %s", err, out)
	}
	c.has(1, "relayed")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
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
