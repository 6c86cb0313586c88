//go:build integration

package node_test

import (
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

// A deleted integration bridge comes back with the pods' ports on it.
func TestIntegrationBridgeComesBackWithPods(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		_, agent, _ := startHost(t)
		nodetest.NB(t, "lsp-add node1 default_pod", "lsp-set-addresses default_pod 0a:58:0a:80:02:05~10.128.2.5")
		for _, command := range []string{
			"ip netns add pod", "ip link add 0123456789abcde type veth peer name eth0 netns pod", "ip link set 0123456789abcde up",
			"ip -n pod link set eth0 address 0a:58:0a:80:02:05 up", "ip -n pod addr add 10.128.2.5/23 dev eth0",
			"ip netns exec pod ethtool -K eth0 tx off",
			"ovs-vsctl add-port br-int 0123456789abcde -- set Interface 0123456789abcde external_ids:iface-id=default_pod external_ids:sandbox=0123456789abcdef",
			"ovs-vsctl add-port br-int notapod -- set Interface notapod type=internal",
		} {
			nodetest.Run(t, command)
		}
		reachable := contains("ping -c 1 -W 0.1 10.128.2.5", "1 received")
		nodetest.Eventually(t, 5*time.Second, reachable)
		time.Sleep(100 * time.Millisecond)
		nodetest.Run(t, "ovs-vsctl del-br br-int")
		took := nodetest.Eventually(t, repairLimit, contains("ovs-vsctl list-ports br-int", "0123456789abcde"))
		packets := nodetest.Eventually(t, 10*time.Second, reachable)
		t.Logf("port back after %v, packets after %v", took, took+packets)
		if err := contains("ovs-vsctl list-ports br-int", "notapod")(); err == nil {
			t.Error("somebody else's port was made again")
		}
		if err := contains("ovs-vsctl get Port 0123456789abcde other_config", "transient=\"true\"")(); err != nil {
			t.Error(err)
		}

		// A port that goes while the bridge stays is the CNI server's business.
		nodetest.Run(t, "ovs-vsctl del-port 0123456789abcde")
		time.Sleep(300 * time.Millisecond)
		if err := contains("ovs-vsctl list-ports br-int", "0123456789abcde")(); err == nil {
			t.Error("a removed pod's port came back")
		}
		agent.stop(t)
	})
}
