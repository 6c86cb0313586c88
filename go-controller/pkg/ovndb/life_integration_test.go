//go:build integration

package ovndb

import (
	"fmt"
	"os/exec"
	"testing"
	"time"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

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
