//go:build integration

package node_test

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

func gatewayConfiguration() config.Node {
	c := configuration()
	c.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("172.30.0.0/16"), netip.MustParsePrefix("fd02::/112")}
	c.GatewayMode, c.NodePort = names.GatewayModeShared, true
	return c
}

// wireGateway is what the master does for a node that has said how it leads out.
func wireGateway(t *testing.T) {
	t.Helper()
	chassis := strings.Trim(strings.TrimSpace(nodetest.Run(t, "ovs-vsctl get Open_vSwitch . external_ids:system-id")), `"`)
	mac := bridgeMAC(t)
	nodetest.NB(t, "lr-add GR_node1", "set Logical_Router GR_node1 options:chassis="+chassis,
		"lrp-add GR_node1 rtoe-GR_node1 "+mac+" 172.18.0.11/24 fd00:172:18::b/64",
		"ls-add ext_node1", "lsp-add ext_node1 br-ex_node1", "lsp-set-type br-ex_node1 localnet",
		"lsp-set-addresses br-ex_node1 unknown", "lsp-set-options br-ex_node1 network_name=physnet",
		"lsp-add ext_node1 etor-GR_node1", "lsp-set-type etor-GR_node1 router", "lsp-set-addresses etor-GR_node1 router",
		"lsp-set-options etor-GR_node1 router-port=rtoe-GR_node1")
}

func bridgeMAC(t *testing.T) string {
	t.Helper()
	return strings.Trim(strings.TrimSpace(nodetest.Run(t, "ovs-vsctl get Interface br-ex mac_in_use")), `"`)
}

// startGateway is a host whose gateway router is connected.
func startGateway(t *testing.T) (*nodetest.API, *running, *nodetest.Process) {
	t.Helper()
	nodetest.StartOVSDB(t)
	vswitchd := nodetest.StartVswitchd(t)
	nodetest.StartCentral(t)
	nodetest.StartController(t)
	api := nodetest.StartAPI(t, nodeName)
	agent := startAgentWith(t, api, gatewayConfiguration())
	wire(t, api)
	waitReady(t, agent)
	nodetest.Eventually(t, 5*time.Second, func() error {
		if api.Annotations()[names.L3GatewayConfigAnnotation] == "" {
			return fmt.Errorf("no annotation %s", names.L3GatewayConfigAnnotation)
		}
		return nil
	})
	wireGateway(t)
	nodetest.Eventually(t, 10*time.Second, contains("ovs-ofctl --no-names dump-flows br-ex table=3", "LOCAL"))
	return api, agent, vswitchd
}

var counters = regexp.MustCompile(`(duration|n_packets|n_bytes|idle_age|hard_age)=[^, ]*,? ?`)

// dumpFlows returns the bridge's flows of ours, without what changes with time.
func dumpFlows(t *testing.T) []string {
	t.Helper()
	var out []string
	for line := range strings.SplitSeq(nodetest.Run(t, "ovs-ofctl --no-names dump-flows br-ex"), "\n") {
		if strings.Contains(line, "cookie=0xdeff105") {
			out = append(out, strings.TrimSpace(counters.ReplaceAllString(line, "")))
		}
	}
	slices.Sort(out)
	return out
}

// watchFlows follows changes of the bridge's flows; without stdbuf they would be seen at its end only.
func watchFlows(t *testing.T) *nodetest.Process {
	t.Helper()
	return nodetest.Start(t, "stdbuf -oL ovs-ofctl monitor br-ex watch:!initial")
}

// expectNoFlowChanges ends the watch. Before that, it makes sure that the watch has been one.
func expectNoFlowChanges(t *testing.T, watch *nodetest.Process) {
	t.Helper()
	nodetest.Run(t, "ovs-ofctl add-flow br-ex cookie=0x99,priority=7,udp,actions=drop")
	nodetest.Eventually(t, 10*time.Second, func() error {
		if !strings.Contains(watch.Log(), "cookie=0x99") {
			return errors.New("the watch has not seen a change")
		}
		return nil
	})
	for line := range strings.SplitSeq(watch.Log(), "\n") {
		learned := strings.Contains(line, "hard_timeout=")
		if strings.Contains(line, "event=") && !strings.Contains(line, "cookie=0x99") && !learned {
			t.Errorf("flows have changed: %s", line)
		}
	}
	watch.Kill()
}

// A node says how it leads out, has the flows and routes for its gateway router, and keeps them.
func TestGateway(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		pings := nodetest.PingHost(t, "172.18.0.11")
		api, agent, _ := startGateway(t)
		want := `{"default":{"mode":"shared","bridge-id":"br-ex","interface-id":"br-ex_node1","mac-address":"` +
			bridgeMAC(t) + `","ip-addresses":["172.18.0.11/24","fd00:172:18::b/64"],"ip-address":"172.18.0.11/24",` +
			`"next-hops":["172.18.0.1","fd00:172:18::1"],"next-hop":"172.18.0.1","node-port-enable":"true","vlan-id":"0"}}`
		if diff := cmp.Diff(want, api.Annotations()[names.L3GatewayConfigAnnotation]); diff != "" {
			t.Errorf("annotation (-want +got):\n%s", diff)
		}
		if got := api.Annotations()[names.HostCIDRsAnnotation]; strings.Contains(got, "169.254") || strings.Contains(got, "fd69") {
			t.Errorf("masquerade addresses are published: %s", got)
		}
		expectLines(t, "ip route", "169.254.169.0/30 dev br-ex", "169.254.169.1 dev br-ex", "src 172.18.0.11",
			"172.30.0.0/16 via 169.254.169.4 dev br-ex", "169.254.169.3 via 10.128.2.1 dev ovn-k8s-mp0", "mtu 1400")
		expectLines(t, "ip -6 route", "fd69::/126 dev br-ex", "fd69::1 dev br-ex", "fd02::/112 via fd69::4 dev br-ex", "fd69::3 via fd01:0:0:1::1 dev ovn-k8s-mp0")
		expectLines(t, "ip route get 169.254.169.3", "via 10.128.2.1 dev ovn-k8s-mp0")
		expectLines(t, "ip neigh show dev br-ex", "169.254.169.1 lladdr 0a:58:a9:fe:a9:04 PERMANENT", "169.254.169.4 lladdr 0a:58:a9:fe:a9:04 PERMANENT", "fd69::4 lladdr 0a:58:a9:fe:a9:04")
		nodetest.Eventually(t, repairLimit, func() error {
			if contains("nft list table inet ovn-kubernetes", "saddr 10.128.2.0/23")() == nil {
				return errors.New("the host still masquerades pods")
			}
			return nil
		})
		api.AddService(corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
			Spec: corev1.ServiceSpec{ClusterIP: "172.30.0.9", ClusterIPs: []string{"172.30.0.9"}, Type: corev1.ServiceTypeNodePort,
				ExternalIPs: []string{"192.0.2.9"}, Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80, NodePort: 30080}}},
		})
		nodetest.Eventually(t, repairLimit, contains("ovs-ofctl --no-names dump-flows br-ex", "tcp,in_port=1,dl_dst="+bridgeMAC(t)+",nw_dst=192.0.2.9,tp_dst=80 actions=output:2"))
		nodetest.Eventually(t, repairLimit, contains("nft list table inet ovn-kubernetes", "30080"))
		for _, command := range []string{"ip netns exec peer ping -c 1 -W 1 172.18.0.11", "ip netns exec peer ping -c 1 -W 1 fd00:172:18::b", "ping -c 1 -W 1 172.18.0.1", "ping -c 1 -W 1 fd00:172:18::1"} {
			nodetest.Eventually(t, repairLimit, contains(command, "1 received"))
		}
		nodetest.Run(t, "ip route replace default via 172.18.0.9 dev br-ex")
		took := nodetest.Eventually(t, repairLimit, func() error {
			if a := api.Annotations()[names.L3GatewayConfigAnnotation]; !strings.Contains(a, `"next-hops":["172.18.0.9","fd00:172:18::1"]`) {
				return errors.New("the next hop has not changed: " + a)
			}
			return nil
		})
		fmt.Println("a changed default route is published after", took)
		expectLines(t, "ip route", "default via 172.18.0.9 dev br-ex")
		if loss := pings.Stop(t); loss.Lost() > 0 {
			t.Errorf("lost %d of %d pings while the gateway came", loss.Lost(), loss.Sent)
		}
		agent.stop(t)
	})
}

// What somebody deletes comes back within two seconds; others' flows stay.
func TestGatewayRepair(t *testing.T) {
	cases := []struct {
		name, damage string
		back         func() error
	}{
		{"one flow", "ovs-ofctl del-flows br-ex table=2", contains("ovs-ofctl --no-names dump-flows br-ex table=2", "dl_dst")},
		{"all flows of ours", "ovs-ofctl del-flows br-ex cookie=0xdeff105/-1", contains("ovs-ofctl --no-names dump-flows br-ex", "priority=500")},
		{"all flows", "ovs-ofctl del-flows br-ex", all(contains("ovs-ofctl dump-flows br-ex", "NORMAL"), contains("ovs-ofctl --no-names dump-flows br-ex table=3", "LOCAL"))},
		{"a flow's actions", "ovs-ofctl mod-flows br-ex table=3,actions=drop", contains("ovs-ofctl --no-names dump-flows br-ex table=3", "LOCAL")},
		{"a flow with our cookie", "ovs-ofctl add-flow br-ex cookie=0xdeff105,priority=77,arp,actions=drop", func() error {
			if contains("ovs-ofctl --no-names dump-flows br-ex", "priority=77")() == nil {
				return errors.New("the flow is still there")
			}
			return nil
		}},
		{"masquerade address", "ip addr del 169.254.169.2/32 dev br-ex", all(contains("ip addr show br-ex", "169.254.169.2"), contains("ip route", "172.30.0.0/16 via 169.254.169.4"))},
		{"masquerade address v6", "ip addr del fd69::2/128 dev br-ex", all(contains("ip addr show br-ex", "fd69::2/128"), contains("ip -6 route", "fd02::/112 via fd69::4"))},
		{"all addresses", "ip addr flush dev br-ex scope global", func() error {
			out, err := nodetest.Try("ip -4 -o addr show br-ex")
			if own, masquerade := strings.Index(out, "172.18.0.11/24"), strings.Index(out, "169.254.169.2"); err != nil || own < 0 || own > masquerade {
				return errors.Join(err, fmt.Errorf("the node's own address is to be the first:\n%s", out))
			}
			return contains("ip -6 addr show br-ex", "fd69::2/128")()
		}},
		{"service route", "ip route del 172.30.0.0/16", contains("ip route", "172.30.0.0/16 via 169.254.169.4 dev br-ex")},
		{"service route v6", "ip -6 route del fd02::/112", contains("ip -6 route", "fd02::/112 via fd69::4 dev br-ex")},
		{"route by the management port", "ip route del 169.254.169.3", contains("ip route", "169.254.169.3 via 10.128.2.1")},
		{"neighbour", "ip neigh del 169.254.169.4 dev br-ex", contains("ip neigh", "169.254.169.4 dev br-ex lladdr 0a:58:a9:fe:a9:04 PERMANENT")},
		{"NIC's port", "ovs-vsctl del-port br-ex eth0", contains("ip netns exec peer ping -c 1 -W 0.1 172.18.0.11", "1 received")},
		{"external bridge", "ovs-vsctl del-br br-ex", all(contains("ovs-ofctl --no-names dump-flows br-ex table=3", "LOCAL"),
			contains("ip netns exec peer ping -c 1 -W 0.1 172.18.0.11", "1 received"), contains("ip route", "172.30.0.0/16 via 169.254.169.4"))},
	}
	nodetest.Main(t, func(t *testing.T) {
		_, agent, _ := startGateway(t)
		for _, c := range cases {
			nodetest.Run(t, "ovs-ofctl add-flow br-ex cookie=0x77,priority=7,udp,actions=drop")
			nodetest.Run(t, c.damage)
			took := nodetest.Eventually(t, 10*time.Second, c.back)
			fmt.Printf("repaired after %4d ms: %s\n", took.Milliseconds(), c.name)
			if took > repairLimit {
				t.Errorf("%s (%s): back after %v", c.name, c.damage, took)
			}
			if !strings.Contains(c.damage, "del-br") && c.name != "all flows" {
				expectLines(t, "ovs-ofctl dump-flows br-ex", "cookie=0x77")
			}
			nodetest.Eventually(t, 20*time.Second, agent.Ready)
		}
		agent.stop(t)
	})
}

// A restarted agent changes nothing, flows least of all.
func TestGatewayRestartChangesNothing(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		api, agent, _ := startGateway(t)
		api.AddService(corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
			Spec: corev1.ServiceSpec{ClusterIP: "172.30.0.9", ClusterIPs: []string{"172.30.0.9"}, ExternalIPs: []string{"192.0.2.9"},
				Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolUDP, Port: 53}}},
		})
		nodetest.Eventually(t, repairLimit, contains("ovs-ofctl --no-names dump-flows br-ex", "nw_dst=192.0.2.9,tp_dst=53"))
		time.Sleep(500 * time.Millisecond)
		agent.stop(t)
		before, ruleset, commits, patches := dumpFlows(t), nodetest.Run(t, "nft -a list ruleset"), transactions(t), api.Patches()
		host := nodetest.Start(t, "ip monitor link address route")
		pings := nodetest.PingHost(t, "172.18.0.11")
		watch := watchFlows(t)
		agent = startAgentWith(t, api, gatewayConfiguration())
		waitReady(t, agent)
		time.Sleep(time.Second)
		if diff := cmp.Diff(before, dumpFlows(t)); diff != "" {
			t.Errorf("flows (-before +after):\n%s", diff)
		}
		host.Kill()
		if said := host.Log(); said != "" {
			t.Errorf("the host has changed:\n%s", said)
		}
		if now := nodetest.Run(t, "nft -a list ruleset"); now != ruleset {
			t.Errorf("nftables were\n%s\nnow\n%s", ruleset, now)
		}
		if made := transactions(t) - commits; made > 0 {
			t.Errorf("%d transactions in the local database", made)
		}
		if made := api.Patches() - patches; made > 0 {
			t.Errorf("%d patches of the node", made)
		}
		expectNoFlowChanges(t, watch)
		if loss := pings.Stop(t); loss.Lost() > 0 {
			t.Errorf("lost %d of %d pings", loss.Lost(), loss.Sent)
		}
		agent.stop(t)
	})
}

// Flows are lost with ovs-vswitchd, and back with it.
func TestGatewayVswitchdKilled(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		_, agent, vswitchd := startGateway(t)
		before := dumpFlows(t)
		vswitchd.Kill()
		time.Sleep(300 * time.Millisecond)
		nodetest.StartVswitchd(t)
		took := nodetest.Eventually(t, 10*time.Second, func() error {
			// Ports may have other numbers now.
			out, err := nodetest.Try("ovs-ofctl dump-flows br-ex")
			if err != nil {
				return err
			}
			if now := strings.Count(out, "cookie=0xdeff105"); now != len(before) {
				return fmt.Errorf("%d flows, want %d", now, len(before))
			}
			return contains("ip netns exec peer ping -c 1 -W 0.1 172.18.0.11", "1 received")()
		})
		fmt.Println("flows back after", took)
		if took > repairLimit {
			t.Errorf("flows are back after %v", took)
		}
		agent.stop(t)
	})
}

// An agent that starts without the API server does not know which services there are: their flows stay.
func TestGatewayWithoutAPIServer(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		api, agent, _ := startGateway(t)
		api.AddService(corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
			Spec: corev1.ServiceSpec{ClusterIP: "172.30.0.9", ClusterIPs: []string{"172.30.0.9"}, ExternalIPs: []string{"192.0.2.9"},
				Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolUDP, Port: 53}}},
		})
		nodetest.Eventually(t, repairLimit, contains("ovs-ofctl --no-names dump-flows br-ex", "nw_dst=192.0.2.9,tp_dst=53"))
		agent.stop(t)
		api.Close()
		nodetest.Run(t, "ovs-ofctl del-flows br-ex table=2")
		before := dumpFlows(t)
		agent = startAgentWith(t, api, gatewayConfiguration())
		nodetest.Eventually(t, 10*time.Second, contains("ovs-ofctl --no-names dump-flows br-ex table=2", "dl_dst"))
		missing := slices.DeleteFunc(before, func(flow string) bool { return slices.Contains(dumpFlows(t), flow) })
		if len(missing) > 0 {
			t.Errorf("gone:\n%s", strings.Join(missing, "\n"))
		}
		agent.stop(t)
	})
}
