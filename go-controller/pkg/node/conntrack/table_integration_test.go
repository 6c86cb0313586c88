//go:build integration

package conntrack_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/conntrack"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/openflow"
)

// A real Open vSwitch knows connections through a service, in two zones and both families; those to one endpoint end, the others stay.
func TestFlush(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		nodetest.StartOVSDB(t)
		nodetest.StartVswitchd(t)
		nodetest.Run(t, "ovs-vsctl add-br br0 -- set Bridge br0 datapath_type=netdev")
		nodetest.Run(t, "ovs-ofctl del-flows br0")
		for flow, endpoint := range map[string]string{
			"udp,nw_dst=172.30.0.10,tp_src=1001": "10.128.0.5:5353", "udp,nw_dst=172.30.0.10,tp_src=1002": "10.128.0.6:5353",
			"udp6,ipv6_dst=fd02::a,tp_src=1001": "[fd01::5]:5353", "udp6,ipv6_dst=fd02::a,tp_src=1002": "[fd01::6]:5353",
		} {
			// As on the client's switch and on a gateway router.
			nodetest.Run(t, fmt.Sprintf("ovs-ofctl add-flow br0 %s,actions=clone(ct(commit,zone=1,nat(dst=%[2]s))),clone(ct(commit,zone=2,nat(dst=%[2]s)))", flow, endpoint))
		}
		for _, command := range []string{"ip link set br0 up", "ip addr add 10.128.0.3/24 dev br0", "ip addr add fd01::3/64 dev br0 nodad"} {
			nodetest.Run(t, command)
		}
		for _, service := range []string{"172.30.0.10", "fd02::a"} {
			nodetest.Run(t, "ip route add "+service+" dev br0")
			nodetest.Run(t, "ip neigh add "+service+" lladdr 02:00:00:00:00:01 dev br0")
			for _, port := range []int{1001, 1002} {
				from := &net.UDPAddr{Port: port}
				c, err := net.DialUDP("udp", from, &net.UDPAddr{IP: net.ParseIP(service), Port: 53})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write([]byte("?")); err != nil {
					t.Fatal(err)
				}
				_ = c.Close()
			}
		}
		known := func() string { return nodetest.Run(t, "ovs-appctl dpctl/dump-conntrack netdev@ovs-netdev") }
		nodetest.Eventually(t, 10*time.Second, func() error {
			if all := known(); strings.Count(all, "udp,") != 8 {
				return fmt.Errorf("not eight connections:\n%s", all)
			}
			return nil
		})
		table := conntrack.Table{Datapath: "netdev", Socket: openflow.SocketBeside(nodetest.OVSDBEndpoint, "br0")}
		former := map[netip.AddrPort]bool{netip.MustParseAddrPort("10.128.0.5:5353"): true, netip.MustParseAddrPort("[fd01::5]:5353"): true}
		ended, err := table.Flush(t.Context(), func(e conntrack.Entry) bool { return former[e.Answers] })
		if err != nil || len(ended) != 4 {
			t.Errorf("ended %v, %v; want four", ended, err)
		}
		if left := known(); strings.Count(left, "udp,") != 4 || strings.Contains(left, "10.128.0.5") || strings.Contains(left, "fd01::5") {
			t.Errorf("left are\n%s", left)
		}
		// Somebody else may be faster.
		_, err = table.Flush(t.Context(), func(conntrack.Entry) bool {
			nodetest.Run(t, "ovs-appctl dpctl/flush-conntrack")
			return true
		})
		if err != nil {
			t.Errorf("connections that have ended meanwhile: %v", err)
		}
	})
}
