//go:build integration

package node_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

// serveClientAddress tells whoever connects which address it has, until stop is called.
func serveClientAddress(t *testing.T, at string) (stop func()) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			_, _ = io.WriteString(conn, "client "+host+"\n")
			conn.Close()
		}
	}()
	return func() {
		listener.Close()
		<-ended
	}
}

// Where the host itself is an endpoint of a service with policy Local (an ingress controller, say), it sees who asks: at the node
// port and at the load balancer's address. Other services' packets go to the gateway router as before, and these again when the
// endpoint has become a pod.
func TestHostEndpointSeesTheClient(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		api, agent, _ := startGateway(t)
		stop := serveClientAddress(t, ":8080")
		nodetest.Run(t, "ip -n peer route add 192.0.2.10 via 172.18.0.11")
		service, slice := loadBalancer()
		service.Spec.ExternalIPs = []string{"192.0.2.10"}
		flows := "ovs-ofctl --no-names dump-flows br-ex"
		toRouter := []string{"nw_dst=172.18.0.11,tp_dst=31785", "nw_dst=192.0.2.10,tp_dst=80"}
		led := func(check func(command, text string) func() error) func() error {
			return all(check(flows, toRouter[0]), check(flows, toRouter[1]))
		}
		ask := func(at string) func() error {
			return contains("ip netns exec peer nc -w 1 "+at, "client "+nodetest.PeerV4)
		}
		api.Put(service)
		pod := slice.DeepCopy()
		api.Put(pod)
		nodetest.Eventually(t, 10*time.Second, led(contains))
		for range 2 {
			host := slice.DeepCopy()
			host.Endpoints[0].Addresses = []string{nodetest.HostV4}
			api.Put(host)
			fmt.Println("the host answers after", nodetest.Eventually(t, 10*time.Second, all(led(lacks), ask("172.18.0.11 31785"), ask("192.0.2.10 80"))))
			if err := contains(flows, "ipv6_dst=fd00:172:18::b,tp_dst=31785")(); err != nil {
				t.Errorf("the host has no endpoint of IPv6: %v", err)
			}
			pod := slice.DeepCopy()
			api.Put(pod)
			nodetest.Eventually(t, 10*time.Second, led(contains))
		}
		stop()
		agent.stop(t)
	})
}

// A restarted agent does not lead these connections elsewhere until it has learned of the endpoints.
func TestHostEndpointAcrossARestart(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		defer serveClientAddress(t, ":8080")()
		api, agent, _ := startGateway(t)
		service, slice := loadBalancer()
		slice.Endpoints[0].Addresses = []string{nodetest.HostV4}
		api.Put(service)
		api.Put(slice)
		ask := contains("ip netns exec peer nc -w 1 172.18.0.11 31785", "client "+nodetest.PeerV4)
		nodetest.Eventually(t, 10*time.Second, ask)
		agent.stop(t)
		watch := watchFlows(t)
		agent = startAgentWith(t, api, gatewayConfiguration())
		waitReady(t, agent)
		nodetest.Eventually(t, 10*time.Second, ask)
		agent.stop(t)
		expectNoFlowChanges(t, watch)
	})
}
