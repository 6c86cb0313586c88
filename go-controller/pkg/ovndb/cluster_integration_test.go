//go:build integration

package ovndb

import (
	"context"
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
	return ReadStatus(ctx, c.control(i), c.configs[i].Kind)
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

// client connects with the first member's certificate.
func (c *cluster) client() *ovsdb.Client {
	c.t.Helper()
	return c.clientAs(c.configs[0].TLS)
}

func (c *cluster) clientAs(files ovsdb.TLSFiles) *ovsdb.Client {
	c.t.Helper()
	full, err := nbdb.FullDatabaseModel()
	if err != nil {
		c.t.Fatal(err)
	}
	config, err := ovsdb.TLSConfig(files)
	if err != nil {
		c.t.Fatal(err)
	}
	o := ovsdb.Options{Database: full.Name(), Model: full, LeaderOnly: true, TLS: config, Monitors: []ovsdb.Monitor{{Table: nbdb.LogicalSwitchTable}}}
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
