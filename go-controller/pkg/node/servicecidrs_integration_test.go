//go:build integration

package node_test

import (
	"fmt"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

// Service networks that are added at run time have what configured ones have, keep it without the API server, and leave
// nothing behind.
func TestServiceCIDRs(t *testing.T) {
	places := []struct{ command, text string }{
		{"ip route", "172.29.0.0/24 via 169.254.169.4 dev br-ex"},
		{"ip -6 route", "fd03::/112 via fd69::4 dev br-ex"},
		{"ovs-ofctl --no-names dump-flows br-ex", "nw_src=169.254.169.2,nw_dst=172.29.0.0/24"},
		{"ovs-ofctl --no-names dump-flows br-ex", "ipv6_src=fd69::2,ipv6_dst=fd03::/112"},
		{"nft list chain inet ovn-kubernetes to-services", "ip daddr 172.29.0.0/24"},
		{"nft list chain inet ovn-kubernetes to-services", "ip6 daddr fd03::/112"},
		{fmt.Sprintf("ip route show table %d", names.ServiceRouteTable), "172.29.0.0/24 via 10.128.2.1 dev ovn-k8s-mp0"},
		{fmt.Sprintf("ip -6 route show table %d", names.ServiceRouteTable), "fd03::/112 via fd01:0:0:1::1 dev ovn-k8s-mp0"},
	}
	var there, gone []func() error
	for _, p := range places {
		there, gone = append(there, contains(p.command, p.text)), append(gone, lacks(p.command, p.text))
	}
	nodetest.Main(t, func(t *testing.T) {
		api, agent, _ := startGateway(t)
		more := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "more"}}
		more.Spec.CIDRs = []string{"172.29.0.0/24", "fd03::/112"}
		api.Put(more)
		fmt.Println("a service network is there after", nodetest.Eventually(t, repairLimit, all(there...)))
		bad := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "bad"}}
		bad.Spec.CIDRs = []string{"172.18.0.0/16"}
		api.Put(bad)

		agent.stop(t)
		changes := nodetest.Start(t, "ip monitor route")
		agent = startAgentWith(t, api, gatewayConfiguration())
		waitReady(t, agent)
		time.Sleep(500 * time.Millisecond)
		changes.Kill()
		if said := changes.Log(); said != "" {
			t.Errorf("an agent that is started again changes routes:\n%s", said)
		}
		if err := all(there...)(); err != nil {
			t.Error(err)
		}

		nodetest.Run(t, "ip route add 198.51.100.0/24 via 172.18.0.7 dev br-ex")
		api.Delete(more)
		fmt.Println("nothing is left after", nodetest.Eventually(t, repairLimit, all(gone...)))
		expectLines(t, "ip route", "172.30.0.0/16 via 169.254.169.4", "198.51.100.0/24 via 172.18.0.7", "172.18.0.0/24 dev br-ex")
		agent.stop(t)

		api.Put(more)
		agent = startAgentWith(t, api, gatewayConfiguration())
		nodetest.Eventually(t, 10*time.Second, all(there...))
		agent.stop(t)
		api.Close()
		agent = startAgentWith(t, api, gatewayConfiguration())
		waitReady(t, agent)
		if err := all(there...)(); err != nil {
			t.Errorf("without the API server: %v", err)
		}
		agent.stop(t)
	})
}
