//go:build integration

package node_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

// reboot leaves of the kernel's state what a reboot does, and configures the NIC as the operating system would.
func reboot(t *testing.T, vswitchd *nodetest.Process) {
	t.Helper()
	vswitchd.Kill()
	for _, command := range []string{
		"ip link del br-ex", "ip link del br-int", "ip link del ovn-k8s-mp0", "nft flush ruleset", "sysctl -w net.ipv6.conf.eth0.disable_ipv6=0", "sysctl -w net.ipv4.conf.all.arp_ignore=0",
	} {
		nodetest.Run(t, command)
	}
	nodetest.ConfigureNIC(t)
}

// transactions counts the commits in the local database's log.
func transactions(t *testing.T) int {
	t.Helper()
	return strings.Count(nodetest.Run(t, "ovsdb-tool show-log /etc/openvswitch/conf.db"), "record ")
}

// A restarted agent finds all as it should be and touches nothing.
func TestRestartChangesNothing(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		api, agent, _ := startHost(t)
		nodetest.Eventually(t, repairLimit, func() error {
			if api.Annotations()[names.NodeMgmtPortMACAnnotation] == "" {
				return fmt.Errorf("not yet published")
			}
			return nil
		})
		time.Sleep(500 * time.Millisecond)
		agent.stop(t)
		ruleset, commits, patches := nodetest.Run(t, "nft -a list ruleset"), transactions(t), api.Patches()
		monitor := nodetest.Start(t, "ip monitor link address route")
		ping := nodetest.PingHost(t, nodetest.HostV4)
		time.Sleep(200 * time.Millisecond)

		agent = startAgent(t, api)
		took := waitReady(t, agent)
		<-agent.served
		time.Sleep(time.Second)
		agent.stop(t)
		t.Logf("ready again after %v", took)

		monitor.Kill()
		if got := monitor.Log(); got != "" {
			t.Errorf("the restart changed the host:\n%s", got)
		}
		if got := nodetest.Run(t, "nft -a list ruleset"); got != ruleset {
			t.Errorf("nftables were\n%s\nnow\n%s", ruleset, got)
		}
		if got := transactions(t); got != commits {
			t.Errorf("%d transactions in the local database", got-commits)
		}
		if got := api.Patches(); got != patches {
			t.Errorf("%d patches of the node", got-patches)
		}
		if loss := ping.Stop(t); loss.Lost() > 2 {
			t.Errorf("lost %d of %d packets", loss.Lost(), loss.Sent)
		}
	})
}

// A killed ovs-vswitchd takes the host's network with it; all comes back when it does.
func TestVswitchdKilled(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		_, agent, vswitchd := startHost(t)
		for range 2 {
			vswitchd.Kill()
			time.Sleep(100 * time.Millisecond)
			vswitchd = nodetest.StartVswitchd(t)
			took := nodetest.Eventually(t, 10*time.Second, all(
				contains("ip route", "default via 172.18.0.1 dev br-ex"),
				contains("ip route", "192.0.2.0/24 via 172.18.0.7 dev br-ex metric 50"),
				contains("ip -6 route", "default via fd00:172:18::1 dev br-ex"),
				contains("ip route", "10.128.0.0/14 via 10.128.2.1 dev ovn-k8s-mp0"),
				contains("ip neigh", "10.128.2.1 dev ovn-k8s-mp0 lladdr 0a:58:0a:80:02:01 PERMANENT"),
				contains("ip netns exec peer ping -c 1 -W 0.1 172.18.0.11", "1 received"),
				contains("ip netns exec peer ping -c 1 -W 0.1 fd00:172:18::b", "1 received")))
			flows := nodetest.Eventually(t, 20*time.Second, contains("ping -c 1 -W 0.1 10.128.2.1", "1 received"))
			fmt.Printf("ovs-vswitchd killed and started: host back after %v, pods' network after %v\n", took, took+flows)
		}
		nodetest.Eventually(t, 5*time.Second, agent.Ready)
		agent.stop(t)
	})
}

// After a reboot the bridges are in the database, and the operating system has configured the NIC again.
func TestReboot(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		api, agent, vswitchd := startHost(t)
		agent.stop(t)
		reboot(t, vswitchd)
		nodetest.StartVswitchd(t)
		agent = startAgent(t, api)
		waitReady(t, agent)
		for _, check := range []func() error{
			contains("ip route", "default via 172.18.0.1 dev br-ex"), contains("ip -6 route", "default via fd00:172:18::1 dev br-ex"),
			contains("ip netns exec peer ping -c 1 -W 1 172.18.0.11", "1 received"),
			contains("ip netns exec peer ping -c 1 -W 1 fd00:172:18::b", "1 received"),
		} {
			if err := check(); err != nil {
				t.Error(err)
			}
		}
		if out := nodetest.Run(t, "ip addr show dev eth0"); strings.Contains(out, "inet") {
			t.Errorf("addresses are left on the NIC:\n%s", out)
		}
		agent.stop(t)
	})
}

// Without the API server the node keeps, and repairs, all it had, also over a restart of the agent.
func TestWithoutAPIServer(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		_, agent, vswitchd := startHost(t)
		agent.stop(t)
		vswitchd.Kill()
		nodetest.StartVswitchd(t)
		unreachable := nodetest.StartAPI(t, "another")
		unreachable.Close()
		agent = startAgent(t, unreachable)
		waitReady(t, agent)
		nodetest.Eventually(t, 10*time.Second, contains("ping -c 1 -W 0.1 10.128.2.1", "1 received"))
		agent.stop(t)
	})
}

func TestCleanup(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		nodetest.StartOVSDB(t)
		nodetest.StartVswitchd(t)
		nodetest.Run(t, "ovs-vsctl add-br br-mine -- set Bridge br-mine datapath_type=netdev -- set Open_vSwitch . external_ids:mine=yes")
		nodetest.StartCentral(t)
		controller := nodetest.StartController(t)
		nft, addresses, routes := "nft list ruleset", "ip -o addr show dev eth0 scope global", "ip route"
		before := map[string]string{}
		for _, command := range []string{nft, addresses, routes, "ip -6 route show dev eth0", "sysctl net.ipv4.conf.eth0.arp_ignore net.ipv6.conf.eth0.disable_ipv6 net.ipv4.conf.all.arp_ignore"} {
			before[command] = nodetest.Run(t, command)
		}
		api := nodetest.StartAPI(t, nodeName)
		agent := startAgent(t, api)
		wire(t, api)
		waitReady(t, agent)
		can := "ovs-vsctl --bare --columns=capabilities list Datapath"
		nodetest.Eventually(t, 10*time.Second, contains(can, "ct_zero_snat=false"))
		agent.stop(t)
		controller.Kill() // it would make the integration bridge again
		for range 2 {     // the second time there is nothing left to do
			if err := node.Cleanup(t.Context(), configuration()); err != nil {
				t.Fatal(err)
			}
		}
		for command, want := range before {
			if got := nodetest.Run(t, command); got != want {
				t.Errorf("%s was\n%s\nnow\n%s", command, want, got)
			}
		}
		expectLines(t, can, "ct_zero_snat=true")
		if got := strings.Fields(nodetest.Run(t, "ovs-vsctl list-br")); len(got) != 1 || got[0] != "br-mine" {
			t.Errorf("bridges left: %v", got)
		}
		ids := nodetest.Run(t, "ovs-vsctl get Open_vSwitch . external_ids")
		if !strings.Contains(ids, "mine=yes") || strings.Contains(ids, "ovn-") || strings.Contains(ids, "uplink") {
			t.Errorf("external_ids: %s", ids)
		}
		nodetest.Run(t, "ip netns exec peer ping -c 1 -W 1 172.18.0.11")
	})
}

// An MTU that does not fit is refused with the numbers, also on the Node.
func TestImpossibleMTU(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		nodetest.StartOVSDB(t)
		nodetest.StartVswitchd(t)
		nodetest.Run(t, "ip link set eth0 mtu 1450")
		api := nodetest.StartAPI(t, nodeName)
		api.Annotate(names.NodeSubnetsAnnotation, `{"default":["10.128.2.0/23"]}`)
		agent := startAgent(t, api)
		nodetest.Eventually(t, 5*time.Second, func() error {
			for _, e := range api.Events() {
				if strings.Contains(e, "ImpossibleMTU") && strings.Contains(e, "needs 1458") && strings.Contains(e, "is 1450") {
					return nil
				}
			}
			return fmt.Errorf("events: %q", api.Events())
		})
		if out, err := exec.CommandContext(t.Context(), "ovs-vsctl", "port-to-br", "ovn-k8s-mp0").CombinedOutput(); err == nil {
			t.Errorf("the management port was made, on %s", out)
		}
		nodetest.Run(t, "ip netns exec peer ping -c 1 -W 1 172.18.0.11") // the host itself is fine
		nodetest.Run(t, "ip link set eth0 mtu 1500")
		nodetest.Eventually(t, 5*time.Second, contains("ovs-vsctl port-to-br ovn-k8s-mp0", "br-int"))
		agent.stop(t)
	})
}

// The chassis' name survives the loss of the database.
func TestSystemIDIsKept(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		id := func() string {
			return strings.TrimSpace(nodetest.Run(t, "ovs-vsctl get Open_vSwitch . external_ids:system-id"))
		}
		_, agent, vswitchd := startHost(t)
		agent.stop(t)
		before := id()
		nodetest.Run(t, "ovs-appctl -t ovsdb-server exit")
		if err := os.Remove("/etc/openvswitch/conf.db"); err != nil {
			t.Fatal(err)
		}
		reboot(t, vswitchd)
		nodetest.StartOVSDB(t)
		nodetest.StartVswitchd(t)
		agent = startAgent(t, nodetest.StartAPI(t, nodeName))
		nodetest.Eventually(t, 5*time.Second, contains("ovs-vsctl get Open_vSwitch . external_ids", "ovn-remote"))
		if after := id(); after != before {
			t.Errorf("system-id was %s, now %s", before, after)
		}
		agent.stop(t)
	})
}
