//go:build integration

package node_test

import (
	"net"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

// What Open vSwitch knows of a client's datagrams to an endpoint ends when the endpoint leaves the service, not before.
func TestStaleDatagrams(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		nodetest.StartOVSDB(t)
		nodetest.StartVswitchd(t)
		nodetest.StartCentral(t)
		nodetest.StartController(t)
		api := nodetest.StartAPI(t, nodeName)
		service, slice := loadBalancer()
		udp, port := corev1.ProtocolUDP, int32(5353)
		service.Spec.Ports = []corev1.ServicePort{{Name: "dns", Protocol: udp, Port: 53}}
		name := "dns"
		slice.Ports[0].Name, slice.Ports[0].Protocol, slice.Ports[0].Port = &name, &udp, &port
		api.Put(service)
		api.Put(slice)
		agent := startAgent(t, api)
		wire(t, api)
		waitReady(t, agent)

		for _, command := range []string{ // stands for OVN's load balancer and a pod
			"ovs-vsctl add-br br9 -- set Bridge br9 datapath_type=netdev",
			"ovs-ofctl add-flow br9 priority=9,udp,nw_dst=172.30.44.86,actions=ct(commit,zone=9,nat(dst=10.128.2.7:5353))",
			"ip link set br9 up", "ip addr add 192.0.2.1/24 dev br9", "ip route add 172.30.44.86 dev br9",
			"ip neigh add 172.30.44.86 lladdr 02:00:00:00:00:01 dev br9",
		} {
			nodetest.Run(t, command)
		}
		known := contains("ovs-appctl dpctl/dump-conntrack", "dst=172.30.44.86")
		nodetest.Eventually(t, repairLimit, func() error {
			c, err := net.Dial("udp", "172.30.44.86:53")
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write([]byte("?")); err != nil {
				return err
			}
			return known()
		})
		left := *slice
		left.Endpoints = nil
		began := time.Now()
		api.Put(&left)
		nodetest.Eventually(t, repairLimit, lacks("ovs-appctl dpctl/dump-conntrack", "dst=172.30.44.86"))
		t.Logf("ended after %v", time.Since(began).Round(time.Millisecond))
		agent.stop(t)
	})
}
