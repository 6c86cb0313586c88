//go:build integration

package ovndb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// lastOfThree is a cluster with a row named kept, of whose members only the last is left: the others have ended and lost their disks.
func lastOfThree(t *testing.T) *cluster {
	t.Helper()
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
	return c
}

// More than half of the members are lost for ever: the survivor's file becomes a new cluster's content.
func TestQuorumLost(t *testing.T) {
	c := lastOfThree(t)
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
	refusesMaintenance(t, c.configs[2])
	old, err := inspect(t.Context(), c.configs[2].Path())
	if err != nil {
		t.Fatal(err)
	}
	before, err := c.status(2)
	if err != nil {
		t.Fatal(err)
	}
	c.stop(2)
	// What an attempt that was broken off left.
	if err := os.WriteFile(c.configs[2].Path()+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
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

// Members with new disks that start beside the survivor wait to join the cluster that is lost, and say that they have it: the survivor's
// file, the only one with content, is not the one to put aside.
func TestQuorumLostOthersWait(t *testing.T) {
	c := lastOfThree(t)
	c.start(0, 1)
	c.eventually("they wait to join", func() error {
		for _, i := range []int{0, 1} {
			if s, err := c.status(i); err != nil || s.Status == "cluster member" {
				return fmt.Errorf("member %d is %q: %w", i, s.Status, err)
			}
		}
		return nil
	})
	c.stop(2)
	if _, err := Recover(t.Context(), &c.configs[2]); err != nil {
		t.Fatal(err)
	}
	c.configs[2].Convert = c.configs[2].LocalAddress
	m, err := NewMember(c.configs[2], MemberOptions{})
	if err != nil {
		t.Fatal(err)
	}
	named := fmt.Sprintf("%s and %s say", c.configs[0].LocalAddress, c.configs[1].LocalAddress)
	if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), named) {
		t.Fatalf("it does not say who has a cluster: %v", err)
	}
	for _, i := range []int{0, 1} {
		c.stop(i)
		if _, err := Reset(t.Context(), &c.configs[i]); err != nil {
			t.Fatal(err)
		}
	}
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	c.counts(2, 3)
	c.has(0, "kept")
}

// refusesMaintenance fails unless the file of a server that runs stays where it is, whatever folder of sockets somebody names.
func refusesMaintenance(t *testing.T, c Config) {
	t.Helper()
	for _, dir := range []string{c.RunDir, t.TempDir()} {
		c.RunDir = dir
		for name, do := range map[string]func(context.Context, *Config) (string, error){"recover": Recover, "reset": Reset} {
			if _, err := do(t.Context(), &c); err == nil || !strings.Contains(err.Error(), "in use") {
				t.Errorf("%s, of a member that runs: %v", name, err)
			}
			if _, err := os.Stat(c.Path()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A server that stands still has not ended.
func TestFrozenServerKeepsItsFile(t *testing.T) {
	c := newCluster(t, 0)
	c.start(0)
	c.ready(0)
	pid := c.pid(0)
	c.kill(0, "-STOP")
	defer func() { _ = exec.Command("kill", "-CONT", pid).Run() }()
	refusesMaintenance(t, c.configs[0])
}

// A member whose file goes away while its process runs joins anew.
func TestFileGoesWhileRunning(t *testing.T) {
	c := newCluster(t, 3)
	c.start(0, 1, 2)
	c.ready(0, 1, 2)
	client := c.client()
	c.write(client, "before")
	c.wipe(2)
	c.kill(2, "-KILL")
	c.eventually("it is back under a new identity", func() error {
		s, err := c.status(2)
		if err == nil && s.Status != "cluster member" {
			err = errors.New(s.Status)
		}
		return err
	})
	c.has(2, "before")
	c.counts(c.leader(), 3)
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
			leader, follower := 0, 0
			if size > 0 {
				leader = c.leader()
				follower = (leader + 1) % size
			}
			c.has(follower, "saved") // it may lag behind
			file := filepath.Join(t.TempDir(), "backup")
			if err := Backup(t.Context(), &c.configs[follower], file); err != nil {
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

// A standalone server that is to become a member is full of data: as long as it is up the first member makes no cluster.
func TestStandaloneServerIsNoAnswer(t *testing.T) {
	c := newCluster(t, 3)
	members := c.configs[1].Members
	c.configs[1].Members = nil
	c.start(1)
	c.ready(1)
	c.write(c.client(), "kept")
	c.start(2, 0)
	c.eventually("the first member waits", func() error {
		f, err := inspect(t.Context(), c.configs[0].Path())
		switch why := c.running[0].Ready(); {
		case err != nil || f.Exists:
			t.Fatalf("the first member did not wait: %+v, %v", f, err)
		case !strings.Contains(fmt.Sprint(why), "is standalone"):
			return why
		}
		return nil
	})
	c.stop(1)
	c.configs[1].Members, c.configs[1].Convert = members, members[1]
	c.start(1)
	c.ready(0, 1, 2)
	c.counts(0, 3)
	c.has(0, "kept")
}
