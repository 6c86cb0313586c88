//go:build integration

package ovndb

import (
	"context"
	"os/exec"
	"testing"
	"time"
)

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
