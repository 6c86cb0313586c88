//go:build integration

package openflow_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
	of "github.com/ovnkube/ovnkube/go-controller/pkg/node/openflow"
)

// controllersFlows is what a controller would have on a bridge: of everything that must come back.
const controllersFlows = `ovs-ofctl add-tlv-map br0 {class=0x102,type=0x80,len=4}->tun_metadata0
ovs-ofctl -O OpenFlow15 add-meter br0 meter=5,pktps,burst,stats,band=type=drop,rate=10,burst_size=20
ovs-ofctl -O OpenFlow15 add-group br0 group_id=3,type=select,selection_method=dp_hash,bucket=bucket_id=0,weight=100,actions=output:1
ovs-ofctl -O OpenFlow15 add-flow br0 cookie=0x11,table=0,priority=5,ip,actions=group:3
ovs-ofctl -O OpenFlow15 add-flow br0 cookie=0x12,table=0,priority=6,udp,tun_metadata0=7,actions=meter:5,load:3->NXM_NX_REG5[],resubmit(,7)
ovs-ofctl -O OpenFlow15 add-flow br0 cookie=0x13,table=7,priority=6,udp,actions=conjunction(7,1/2)
ovs-ofctl -O OpenFlow15 add-flow br0 cookie=0x15,table=0,priority=7,tcp6,actions=learn(table=78,idle_timeout=300,delete_learned,cookie=0x16,priority=2,NXM_OF_ETH_SRC[]),resubmit(,7)
ovs-ofctl -O OpenFlow15 add-flow br0 cookie=0x17,table=78,idle_timeout=3600,priority=1,tcp6,actions=drop`

// A switch that was killed gets its flows back before its controller comes, and what the controller does not want any more goes.
func TestGuard(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		nodetest.StartOVSDB(t)
		vswitchd := nodetest.StartVswitchd(t)
		nodetest.Run(t, "ovs-vsctl add-br br0 -- set Bridge br0 datapath_type=netdev fail_mode=secure -- add-port br0 p1 -- set Interface p1 type=internal"+
			" -- add-port br0 p2 -- set Interface p2 type=internal ofport_request=40")
		file := t.TempDir() + "/copy"
		junk := strings.Repeat("junk\n", 10_000) // of an agent that was killed
		if err := os.WriteFile(file+".new", []byte(junk), 0o600); err != nil {
			t.Fatal(err)
		}
		var interfered atomic.Int32
		g := &of.Guard{Bridge: of.Bridge{Name: "br0", Socket: of.SocketBeside(nodetest.OVSDBEndpoint, "br0"), Cookie: 9},
			File: file, Interfered: func() { interfered.Add(1) }}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); g.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-ended })
		for line := range strings.Lines(controllersFlows) {
			nodetest.Run(t, strings.TrimSpace(line))
		}
		nodetest.Eventually(t, 20*time.Second, func() error {
			if data, err := os.ReadFile(file); err != nil || strings.Count(string(data), "cookie=0x1") != 6 {
				return fmt.Errorf("the copy is not there: %w", err)
			}
			return nil
		})
		if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
			t.Errorf("beside the copy there is something: %v, %v", left, err)
		}
		if data, err := os.ReadFile(file); err != nil || strings.Contains(string(data), "junk") {
			t.Errorf("the copy has junk in it (%v)", err)
		}
		before := contents(t)
		vswitchd.Kill()
		nodetest.StartVswitchd(t)
		nodetest.Eventually(t, 20*time.Second, func() error {
			if now := contents(t); now != before {
				return fmt.Errorf("after a new start:\n%s\nbefore:\n%s", now, before)
			}
			return nil
		})
		if got := nodetest.Run(t, "ovs-ofctl dump-flows br0 cookie=9/-1"); strings.Count(got, "cookie=0x9") != 5 {
			t.Errorf("flows that were given back are not marked: %s", got)
		}

		// A client of a service with affinity has a flow made, and another that was given back ends: no controller has come.
		nodetest.Run(t, "ovs-appctl ofproto/trace br0 in_port=1,dl_type=0x86dd,nw_proto=6 -generate")
		learned := func() string { return nodetest.Run(t, "ovs-ofctl --no-stats dump-flows br0 table=78") }
		if got := learned(); !strings.Contains(got, "cookie=0x16") {
			t.Errorf("nothing is learned: %s", got)
		}
		nodetest.Run(t, "ovs-ofctl del-flows br0 cookie=0x9/-1,table=78") // as when its time is up
		kept, _ := os.ReadFile(file)
		time.Sleep(3 * time.Second) // as long as the guard takes at most to copy
		if got := nodetest.Run(t, "ovs-ofctl dump-flows br0 cookie=9/-1"); strings.Count(got, "cookie=0x9") != 4 || interfered.Load() > 0 {
			t.Errorf("what was given back has gone before the controller came (told %d times): %s", interfered.Load(), got)
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != string(kept) {
			t.Errorf("another copy was made (%v):\n%s", err, now)
		}

		// The controller's first flow takes the place of one of the old ones; the others are not its own any more.
		nodetest.Run(t, "ovs-ofctl add-flow br0 cookie=0x14,table=0,priority=5,ip,actions=drop")
		nodetest.Eventually(t, 20*time.Second, func() error {
			if got := nodetest.Run(t, "ovs-ofctl --no-stats dump-flows br0"); strings.Count(got, "cookie=") != 1 {
				return fmt.Errorf("flows that nobody wants stay: %s", got)
			}
			return nil
		})
		if interfered.Load() != 1 {
			t.Errorf("the controller wrote without having removed what was there: told %d times, want once", interfered.Load())
		}
	})
}

// contents is everything on the bridge, without cookies.
func contents(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, what := range []string{"--no-stats dump-flows br0", "dump-groups br0", "dump-meters br0", "dump-tlv-map br0"} {
		text, err := nodetest.Try("ovs-ofctl -O OpenFlow15 --no-names " + what)
		if err != nil {
			return err.Error()
		}
		for line := range strings.Lines(text) {
			if !strings.Contains(line, "xid=") {
				if _, rest, ok := strings.Cut(line, "cookie="); ok {
					_, line, _ = strings.Cut(rest, " ")
				}
				out.WriteString(strings.TrimSpace(strings.TrimPrefix(line, "table=0,")) + "\n")
			}
		}
	}
	return out.String()
}
