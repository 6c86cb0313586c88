//go:build integration

package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/bridge"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/vswitchdb"
)

var config = bridge.Config{NIC: nodetest.NIC, DatapathType: ovs.Netdev}

func connect(t *testing.T) *ovsdb.Client {
	t.Helper()
	model, err := vswitchdb.FullDatabaseModel()
	if err != nil {
		t.Fatal(err)
	}
	c, err := ovsdb.Connect(t.Context(), ovsdb.Options{
		Database: "Open_vSwitch", Model: model, Endpoints: []string{nodetest.OVSDBEndpoint}, Monitors: ovs.Monitors(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// converge calls f until its plan needs no further event. It stands for the agent's event loop.
func converge(ctx context.Context, f func(context.Context, bridge.Config) (bridge.Plan, error)) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		p, err := f(ctx, config)
		if err != nil || p.Waiting == "" {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("still waiting: %s", p.Waiting)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// state is what an administrator sees of addresses and routes, without what depends on time.
func state(t *testing.T, device string) string {
	t.Helper()
	var out []string
	for _, command := range []string{"ip -o -4 addr show dev " + device, "ip -o -6 addr show scope global dev " + device,
		"ip route show dev " + device, "ip -6 route show dev " + device} {
		for line := range strings.Lines(nodetest.Run(t, command)) {
			fields := strings.Fields(line)
			if strings.HasPrefix(line, "fe80::") {
				continue
			}
			if strings.Contains(line, "inet") {
				fields = fields[2:4]
			}
			out = append(out, strings.Join(fields, " "))
		}
	}
	return strings.Join(out, "\n")
}

const (
	configured = `inet 172.18.0.11/24
inet6 fd00:172:18::b/64
default via 172.18.0.1
172.18.0.0/24 proto kernel scope link src 172.18.0.11
192.0.2.0/24 via 172.18.0.7 metric 50
fd00:172:18::/64 proto kernel metric 256 pref medium
default via fd00:172:18::1 metric 1024 pref medium`
)

func expectTakenOver(t *testing.T) {
	t.Helper()
	if got := state(t, "br-ex"); got != configured {
		t.Errorf("br-ex has\n%s\nwant\n%s", got, configured)
	}
	if got := state(t, "eth0"); got != "" {
		t.Errorf("eth0 still has\n%s", got)
	}
	for _, command := range []string{"ping -c 1 -W 2 172.18.0.11", "ping -c 1 -W 2 fd00:172:18::b"} {
		nodetest.Run(t, "ip netns exec peer "+command)
	}
}

func expectGivenBack(t *testing.T) {
	t.Helper()
	if got := state(t, "eth0"); got != configured {
		t.Errorf("eth0 has\n%s\nwant\n%s", got, configured)
	}
	nodetest.Eventually(t, 5*time.Second, func() error {
		if out, err := nodetest.Try("ip link show br-ex"); err == nil {
			return errors.New(out)
		}
		return nil
	})
	for _, command := range []string{"ping -c 1 -W 2 172.18.0.11", "ping -c 1 -W 2 fd00:172:18::b"} {
		nodetest.Run(t, "ip netns exec peer "+command)
	}
}

func TestTakeOverAndGiveBack(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		nodetest.StartOVSDB(t)
		nodetest.StartVswitchd(t)
		var steps []string
		m := &bridge.Manager{OVS: connect(t), Tables: nft.Kernel(), AfterStep: func(s bridge.Step) error {
			steps = append(steps, s.String())
			return nil
		}}
		v4, v6 := nodetest.PingHost(t, nodetest.HostV4), nodetest.PingHost(t, nodetest.HostV6)
		if err := converge(t.Context(), m.TakeOver); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		t.Logf("take-over: IPv4 %+v IPv6 %+v, %d steps:\n%s", v4.Stop(t), v6.Stop(t), len(steps), strings.Join(steps, "\n"))
		expectTakenOver(t)

		steps = nil
		if err := converge(t.Context(), m.TakeOver); err != nil {
			t.Fatal(err)
		}
		if len(steps) > 0 {
			t.Errorf("a second run did %q", steps)
		}

		v4, v6 = nodetest.PingHost(t, nodetest.HostV4), nodetest.PingHost(t, nodetest.HostV6)
		time.Sleep(300 * time.Millisecond)
		if err := converge(t.Context(), m.GiveBack); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		t.Logf("give-back: IPv4 %+v IPv6 %+v, %d steps:\n%s", v4.Stop(t), v6.Stop(t), len(steps), strings.Join(steps, "\n"))
		expectGivenBack(t)
	})
}
