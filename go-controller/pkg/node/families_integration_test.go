//go:build integration

package node_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

// A host and cluster without IPv4.
func TestIPv6OnlyNode(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		nodetest.Run(t, "ip -4 addr flush dev eth0")
		nodetest.StartOVSDB(t)
		nodetest.StartVswitchd(t)
		nodetest.StartCentral(t)
		nodetest.StartController(t)
		api := nodetest.StartAPI(t, nodeName)
		cfg := configuration()
		cfg.ClusterSubnets = []config.ClusterSubnet{{Prefix: netip.MustParsePrefix("fd01::/48"), HostPrefix: 64}}
		cfg.SouthboundRemote = []string{"tcp:[" + nodetest.PeerV6 + "]:6642"}
		agent := startAgentWith(t, api, cfg)
		nodetest.NB(t, "ls-add node1", "lr-add ovn_cluster_router",
			"lrp-add ovn_cluster_router rtos-node1 "+routerMACv6(t)+" fd01:0:0:1::1/64",
			"lsp-add node1 stor-node1", "lsp-set-type stor-node1 router", "lsp-set-addresses stor-node1 router",
			"lsp-set-options stor-node1 router-port=rtos-node1", "lsp-add node1 k8s-node1", "lsp-set-addresses k8s-node1 unknown")
		api.Annotate(names.NodeSubnetsAnnotation, `{"default":["fd01:0:0:1::/64"]}`)
		waitReady(t, agent)
		for _, check := range []func() error{
			contains("ping -c 1 -W 1 fd01:0:0:1::1", "1 received"),
			contains("ip netns exec peer ping -c 1 -W 1 fd00:172:18::b", "1 received"),
			contains("ovs-vsctl get Open_vSwitch . external_ids:ovn-encap-ip", "fd00:172:18::b"),
			contains("ip -6 route", "default via fd00:172:18::1 dev br-ex"),
		} {
			nodetest.Eventually(t, repairLimit, check) // OVN may lose the first packet to a neighbour it has not met.
		}
		agent.stop(t)
	})
}

// A leased address keeps its lifetime, and a renewal on the NIC is passed on.
func TestLeasedAddress(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		nodetest.Run(t, "ip addr change 172.18.0.11/24 dev eth0 valid_lft 600 preferred_lft 600")
		_, agent, _ := startHost(t)
		left := func() string {
			return nodetest.Run(t, "ip -4 addr show dev br-ex")
		}
		if got := left(); !strings.Contains(got, "valid_lft 5") { // Of 600 s, some seconds later.
			t.Errorf("the lease is not passed on:\n%s", got)
		}
		monitor := nodetest.Start(t, "ip monitor address dev br-ex")
		time.Sleep(1500 * time.Millisecond)
		if got := monitor.Log(); got != "" {
			t.Errorf("the address is set again and again:\n%s", got)
		}
		nodetest.Run(t, "ip addr add 172.18.0.11/24 dev eth0 valid_lft 1200 preferred_lft 1200") // the DHCP client's renewal
		nodetest.Eventually(t, repairLimit, contains("ip -4 addr show dev br-ex", "valid_lft 11"))
		nodetest.Eventually(t, repairLimit, func() error { // the bridge has it first
			if out := nodetest.Run(t, "ip -4 addr show dev eth0"); strings.Contains(out, "inet") {
				return fmt.Errorf("left on the NIC: %s", out)
			}
			return nil
		})
		agent.stop(t)
	})
}
