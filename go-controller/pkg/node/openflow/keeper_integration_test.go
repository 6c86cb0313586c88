//go:build integration

package openflow_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
	of "github.com/ovnkube/ovnkube/go-controller/pkg/node/openflow"
)

// bench is a bridge, a Keeper that watches it, and a record of what Open vSwitch is asked.
type bench struct {
	*testing.T
	k        *of.Keeper
	notified chan struct{}
	asked    string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, notified: make(chan struct{}, 1000), asked: filepath.Join(t.TempDir(), "asked")}
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%s\nexec /usr/bin/ovs-ofctl \"$@\"\n", b.asked)
	if err := os.WriteFile(filepath.Join(dir, "ovs-ofctl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	nodetest.StartOVSDB(t)
	nodetest.StartVswitchd(t)
	nodetest.Run(t, "ovs-vsctl add-br br0 -- set Bridge br0 datapath_type=netdev")
	b.k = &of.Keeper{Bridge: of.Bridge{Name: "br0", Socket: of.SocketBeside(nodetest.OVSDBEndpoint, "br0"), Cookie: 7}, Learned: []int{5}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.k.Watch(ctx, func() { b.notified <- struct{}{} })
	}()
	t.Cleanup(func() { cancel(); <-ended })
	b.wantNotice()
	return b
}

func (b *bench) wantNotice() {
	b.Helper()
	select {
	case <-b.notified:
	case <-time.After(10 * time.Second):
		b.Fatal("a change was not told")
	}
}

// drop are flows that drop packets to ports.
func drop(first, last uint16) []of.Flow {
	var out []of.Flow
	for port := int(first); port <= int(last); port++ {
		out = append(out, of.Flow{Table: 1, Priority: 5, Match: []of.Field{of.Transport(port%2 == 0, of.TCP), of.PortDst(uint16(port))}, Same: port})
	}
	return out
}

// ensure returns how many flows were changed, and what Open vSwitch was asked.
func (b *bench) ensure(flows []of.Flow) (int, string) {
	b.Helper()
	_ = os.Remove(b.asked)
	changes, err := b.k.Ensure(b.Context(), flows)
	if err != nil {
		b.Fatal(err)
	}
	data, _ := os.ReadFile(b.asked)
	var asked []string
	for _, word := range []string{"diff-flows", "add-flows"} {
		if strings.Contains(string(data), word) {
			asked = append(asked, word)
		}
	}
	return len(changes), strings.Join(asked, " ")
}

func (b *bench) want(what string, flows []of.Flow, changes int, asked string) {
	b.Helper()
	if n, how := b.ensure(flows); n != changes || how != asked {
		b.Errorf("%s: %d changes by %q, want %d by %q", what, n, how, changes, asked)
	}
	if got := strings.Count(nodetest.Run(b.T, "ovs-ofctl dump-flows br0 cookie=0x7/-1"), "cookie=0x7"); got != len(flows) {
		b.Errorf("%s: the bridge has %d flows, want %d", what, got, len(flows))
	}
}

// While nobody else changes flows, only what differs costs anything; who else does is noticed, and his changes are undone.
func TestKeeper(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		b := newBench(t)
		b.want("at first", drop(1, 3), 3, "diff-flows add-flows")
		b.want("the same", drop(1, 3), 0, "")
		b.want("one more", drop(1, 4), 1, "add-flows")
		b.want("one less", drop(2, 4), 1, "add-flows")
		changed := drop(2, 4)
		changed[1].Actions, changed[1].Same = []of.Action{of.Normal()}, "normal"
		b.want("other actions", changed, 1, "add-flows")
		b.want("the same again", changed, 0, "")
		if len(b.notified) > 0 {
			t.Errorf("%d notices of its own changes", len(b.notified))
		}
		for _, damage := range []string{"del-flows br0 table=1,tcp,tp_dst=2", "mod-flows br0 table=1,tcp6,actions=drop", "add-flow br0 cookie=7,priority=9,udp,actions=drop", "del-flows br0"} {
			nodetest.Run(t, "/usr/bin/ovs-ofctl "+damage)
			b.wantNotice()
			if n, how := b.ensure(changed); n == 0 || how != "diff-flows add-flows" {
				t.Errorf("%s: %d changes by %q", damage, n, how)
			}
			b.want("mended", changed, 0, "")
			for len(b.notified) > 0 { // one for each flow
				<-b.notified
			}
		}
		nodetest.Run(t, "/usr/bin/ovs-ofctl add-flow br0 cookie=8,table=1,priority=9,udp,actions=drop")
		b.wantNotice()
		b.want("somebody else's flow", changed, 0, "diff-flows")
		b.want("somebody else's flow, known", changed, 0, "")
		nodetest.Run(t, "/usr/bin/ovs-ofctl add-flow br0 cookie=8,table=2,udp,actions=drop")
		b.want("somebody else's flow in a table of his own", changed, 0, "")
		if len(b.notified) > 0 {
			t.Error("that was told")
		}
		if _, err := b.k.Add(t.Context(), drop(9, 9)); err != nil {
			t.Fatal(err)
		}
		b.want("after a part", changed, 1, "diff-flows add-flows")
	})
}

// Flows that the bridge learns are no reason to compare, not even before it is known where all flows belong.
func TestKeeperIgnoresWhatIsLearned(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		b := newBench(t)
		nodetest.Run(t, "/usr/bin/ovs-ofctl add-flow br0 table=5,arp,actions=drop")
		b.want("at first", drop(1, 3), 3, "diff-flows add-flows") // which waits for an echo behind all changes
		if len(b.notified) > 0 {
			t.Error("a flow that was learned is told")
		}
		nodetest.Run(t, "/usr/bin/ovs-ofctl add-flow br0 cookie=7,table=5,udp,actions=drop")
		b.wantNotice()
		b.want("one of ours does not belong there", drop(1, 3), 1, "diff-flows add-flows")
	})
}

// A flow more does not cost more where there are many. It prints the figures.
func TestKeeperAtScale(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		b := newBench(t)
		timed := func(what string, flows []of.Flow, changes int, asked string) {
			began := time.Now()
			n, how := b.ensure(flows)
			fmt.Printf("%s: %v\n", what, time.Since(began).Round(time.Millisecond))
			if n != changes || how != asked {
				t.Errorf("%s: %d changes by %q, want %d by %q", what, n, how, changes, asked)
			}
		}
		timed("20,000 flows", drop(1, 20000), 20000, "diff-flows add-flows")
		b.ensure(drop(1, 20000)) // so many changes may not be told one by one
		timed("one more", drop(1, 20001), 1, "add-flows")
		timed("the same", drop(1, 20001), 0, "")
		nodetest.Run(t, "/usr/bin/ovs-ofctl add-flow br0 cookie=8,table=1,priority=9,udp,actions=drop")
		b.wantNotice()
		timed("after somebody else's change", drop(1, 20001), 0, "diff-flows")
	})
}
