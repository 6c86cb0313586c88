//go:build integration

package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

// repairLimit is when what somebody deleted, or a change, counts as not seen by an event at all. How soon it is there is printed.
const repairLimit = 8 * time.Second

// contains is a check that a command's output has a text.
func contains(command, text string) func() error {
	return func() error {
		out, err := nodetest.Try(command)
		if err != nil {
			return err
		}
		if !strings.Contains(out, text) {
			return fmt.Errorf("%s: no %q in\n%s", command, text, out)
		}
		return nil
	}
}

func all(checks ...func() error) func() error {
	return func() error {
		for _, check := range checks {
			if err := check(); err != nil {
				return err
			}
		}
		return nil
	}
}

// What somebody deletes or changes by hand comes back within two seconds.
func TestRepair(t *testing.T) {
	cases := []struct {
		name, damage string
		back         func() error
	}{
		{"management address", "ip addr del 10.128.2.2/23 dev ovn-k8s-mp0", all(
			contains("ip addr show ovn-k8s-mp0", "10.128.2.2/23"), contains("ip route", "10.128.0.0/14 via 10.128.2.1"))},
		{"management address v6", "ip addr del fd01:0:0:1::2/64 dev ovn-k8s-mp0", all(
			contains("ip addr show ovn-k8s-mp0", "fd01:0:0:1::2/64"), contains("ip -6 route", "fd01::/48 via fd01:0:0:1::1"))},
		{"foreign management address", "ip addr add 10.200.0.1/24 dev ovn-k8s-mp0", func() error {
			if contains("ip addr show ovn-k8s-mp0", "10.200.0.1")() == nil {
				return fmt.Errorf("10.200.0.1 is still there")
			}
			return nil
		}},
		{"all addresses", "ip addr flush dev ovn-k8s-mp0", all(
			contains("ip addr show ovn-k8s-mp0", "10.128.2.2/23"), contains("ip addr show ovn-k8s-mp0", "fd01:0:0:1::2/64"))},
		{"cluster route", "ip route del 10.128.0.0/14", contains("ip route", "10.128.0.0/14 via 10.128.2.1 dev ovn-k8s-mp0")},
		{"cluster route v6", "ip -6 route del fd01::/48", contains("ip -6 route", "fd01::/48 via fd01:0:0:1::1 dev ovn-k8s-mp0")},
		{"connected route", "ip route del 10.128.2.0/23", contains("ip route", "10.128.2.0/23 dev ovn-k8s-mp0")},
		{"neighbour", "ip neigh del 10.128.2.1 dev ovn-k8s-mp0", contains("ip neigh", "10.128.2.1 dev ovn-k8s-mp0 lladdr 0a:58:0a:80:02:01 PERMANENT")},
		{"neighbour v6", "ip neigh del fd01:0:0:1::1 dev ovn-k8s-mp0", contains("ip neigh", "fd01:0:0:1::1 dev ovn-k8s-mp0 lladdr 0a:58:0a:80:02:01 PERMANENT")},
		{"port down", "ip link set ovn-k8s-mp0 down", all(
			contains("ip link show ovn-k8s-mp0", ",UP"), contains("ip addr show ovn-k8s-mp0", "fd01:0:0:1::2/64"), contains("ip route", "10.128.0.0/14 via"))},
		{"port's MTU", "ip link set ovn-k8s-mp0 mtu 1300", contains("ip link show ovn-k8s-mp0", "mtu 1400")},
		{"management port", "ovs-vsctl del-port ovn-k8s-mp0", all(contains("ip route", "10.128.0.0/14 via 10.128.2.1"),
			contains("ping -c 1 -W 0.1 10.128.2.1", "1 received"))},
		{"port's iface-id", "ovs-vsctl remove Interface ovn-k8s-mp0 external_ids iface-id", contains("ovs-vsctl get Interface ovn-k8s-mp0 external_ids", "iface-id=k8s-node1")},
		{"forwarding", "sysctl -w net.ipv4.ip_forward=0", contains("sysctl net.ipv4.ip_forward", "= 1")},
		{"forwarding v6", "sysctl -w net.ipv6.conf.all.forwarding=0", contains("sysctl net.ipv6.conf.all.forwarding", "= 1")},
		{"reverse path filter", "sysctl -w net.ipv4.conf.ovn-k8s-mp0.rp_filter=1", contains("sysctl net.ipv4.conf.ovn-k8s-mp0.rp_filter", "= 2")},
		{"masquerade table", "nft delete table inet ovn-kubernetes", contains("nft list ruleset", "masquerade")},
		{"masquerade rules", "nft flush table inet ovn-kubernetes", contains("nft list ruleset", "masquerade")},
		{"uplink drop", "nft delete table netdev ovn-kubernetes-uplink", contains("nft list table netdev ovn-kubernetes-uplink", "drop")},
		{"guard of pods' veths", "nft delete table inet ovn-kubernetes-pods", contains("nft list table inet ovn-kubernetes-pods", "drop")},
		{"whole ruleset", "nft flush ruleset", all(contains("nft list ruleset", "masquerade"), contains("nft list ruleset", "drop"))},
		{"host address", "ip addr del 172.18.0.11/24 dev br-ex", all(contains("ip addr show br-ex", "172.18.0.11/24"),
			contains("ip route", "default via 172.18.0.1 dev br-ex"), contains("ip netns exec peer ping -c 1 -W 0.1 172.18.0.11", "1 received"))},
		{"host address v6", "ip addr del fd00:172:18::b/64 dev br-ex", all(contains("ip addr show br-ex", "fd00:172:18::b/64"),
			contains("ip -6 route", "default via fd00:172:18::1 dev br-ex"))},
		{"default route", "ip route del default", contains("ip route", "default via 172.18.0.1 dev br-ex")},
		{"default route v6", "ip -6 route del default", contains("ip -6 route", "default via fd00:172:18::1 dev br-ex")},
		{"both host addresses", "ip addr flush dev br-ex scope global", all(contains("ip addr show br-ex", "172.18.0.11/24"), contains("ip addr show br-ex", "fd00:172:18::b/64"),
			contains("ip route", "default via 172.18.0.1 dev br-ex"), contains("ip -6 route", "default via fd00:172:18::1 dev br-ex"))},
		{"NIC down", "ip link set eth0 down", all(contains("ip link show eth0", ",UP"), contains("ip netns exec peer ping -c 1 -W 0.1 172.18.0.11", "1 received"),
			contains("ip netns exec peer ping -c 1 -W 0.1 fd00:172:18::b", "1 received"))},
		{"bridge down", "ip link set br-ex down", contains("ip netns exec peer ping -c 1 -W 0.1 172.18.0.11", "1 received")},
		{"address on the NIC", "ip addr add 172.18.0.99/24 dev eth0", contains("ip addr show br-ex", "172.18.0.99/24")},
		{"uplink port", "ovs-vsctl del-port br-ex eth0", contains("ip netns exec peer ping -c 1 -W 0.1 172.18.0.11", "1 received")},
		{"ovn-remote", "ovs-vsctl remove Open_vSwitch . external_ids ovn-remote", contains("ovs-vsctl get Open_vSwitch . external_ids", nodetest.SouthboundRemote)},
		{"uplink record", "ovs-vsctl remove Open_vSwitch . external_ids k8s.ovn.org/uplink", contains("ovs-vsctl get Open_vSwitch . external_ids", "192.0.2.0/24")},
		{"integration bridge", "ovs-vsctl del-br br-int", all(contains("ip route", "10.128.0.0/14 via 10.128.2.1"), contains("ovs-vsctl get-fail-mode br-int", "secure"))},
		{"external bridge", "ovs-vsctl del-br br-ex", all(contains("ip route", "default via 172.18.0.1 dev br-ex"),
			contains("ip netns exec peer ping -c 1 -W 0.1 172.18.0.11", "1 received"), contains("ip netns exec peer ping -c 1 -W 0.1 fd00:172:18::b", "1 received"))},
	}
	nodetest.Main(t, func(t *testing.T) {
		_, agent, _ := startHost(t)
		var worst time.Duration
		for _, c := range cases {
			waitReady(t, agent)
			nodetest.Run(t, c.damage)
			took := nodetest.Eventually(t, 10*time.Second, c.back)
			worst = max(worst, took)
			fmt.Printf("repaired after %4d ms: %s\n", took.Milliseconds(), c.name)
			if took > repairLimit {
				t.Errorf("%s (%s): back after %v", c.name, c.damage, took)
			}
			nodetest.Eventually(t, 20*time.Second, func() error {
				if _, err := nodetest.Try("ping -c 1 -W 0.1 10.128.2.1"); err != nil {
					return err
				}
				return agent.Ready()
			})
		}
		t.Logf("slowest: %v", worst)
		agent.stop(t)
	})
}

// Open vSwitch throws all flows away when the fail mode changes, and ovn-controller does not notice by itself: the agent sees to it.
func TestFailMode(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		_, agent, _ := startHost(t)
		for range 3 {
			nodetest.Eventually(t, time.Minute, contains("ping -c 1 -W 1 10.128.2.1", "1 received"))
			nodetest.Run(t, "ovs-vsctl del-fail-mode br-int")
			took := nodetest.Eventually(t, time.Minute, all(contains("ovs-vsctl get-fail-mode br-int", "secure"),
				contains("ping -c 1 -W 1 10.128.2.1", "1 received"), contains("ovs-ofctl dump-flows br-int table=0", "priority=")))
			fmt.Println("the integration bridge is filled again after", took)
		}
		agent.stop(t)
	})
}
