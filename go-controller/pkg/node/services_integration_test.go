//go:build integration

package node_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

// lacks is a check that a command's output has no such text.
func lacks(command, text string) func() error {
	return func() error {
		out, err := nodetest.Try(command)
		if err == nil && strings.Contains(out, text) {
			err = fmt.Errorf("%s: there is %q in\n%s", command, text, out)
		}
		return err
	}
}

// healthIs is a check of what a load balancer is told.
func healthIs(code string) func() error {
	return contains("curl -s -m 1 -o /dev/null -w %{http_code} http://172.18.0.11:32000/", code)
}

func loadBalancer() (*corev1.Service, *discoveryv1.EndpointSlice) {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "web-uid"}}
	s.Spec = corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "172.30.44.86", ClusterIPs: []string{"172.30.44.86", "fd02::5"},
		Ports:                 []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, NodePort: 31785}},
		ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal, HealthCheckNodePort: 32000,
	}
	node, name, protocol, port := nodeName, "http", corev1.ProtocolTCP, int32(8080)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "ns", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Protocol: &protocol, Port: &port}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.128.2.7"}, NodeName: &node}},
	}
	return s, slice
}

func TestServicesOnTheHost(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		nodetest.StartOVSDB(t)
		nodetest.StartVswitchd(t)
		nodetest.StartCentral(t)
		nodetest.StartController(t)
		api := nodetest.StartAPI(t, nodeName)
		cfg := configuration()
		cfg.NodePort, cfg.Netfilter = true, names.NetfilterAuto
		agent := startAgentWith(t, api, cfg)
		wire(t, api)
		waitReady(t, agent)
		nodetest.Run(t, "ip addr add 172.30.44.86/32 dev lo") // stands for what answers to the ClusterIP
		nodetest.Start(t, "nc -n -k -l 172.30.44.86 80")
		answered := func() error {
			_, err := nodetest.Try("nc -z -w 1 172.18.0.11 31785")
			return err
		}
		list := "nft list table inet ovn-kubernetes"
		service, slice := loadBalancer()
		if answered() == nil {
			t.Fatal("there is no service yet")
		}
		api.Put(service)
		nodetest.Eventually(t, repairLimit, all(answered, healthIs("503"),
			contains(list, "tcp . 31785 : 172.30.44.86 . 80"), contains(list, "tcp . 31785 : fd02::5 . 80"),
			contains(list, "tcp . 31785 : 169.254.169.3 . 31785"), contains(list, "snat ip to 10.128.2.2")))
		api.Put(slice)
		nodetest.Eventually(t, repairLimit, healthIs("200"))
		for _, damage := range []string{"nft flush map inet ovn-kubernetes nodeports-v4", "nft delete table inet ovn-kubernetes", "ip rule del priority 30"} {
			nodetest.Run(t, damage)
			took := nodetest.Eventually(t, repairLimit, all(answered, contains(list, "pod-masquerade"), contains("ip rule", "fwmark 0x1745ec lookup 7")))
			t.Logf("%s: repaired after %v", damage, took.Round(time.Millisecond))
		}
		nodetest.Run(t, "ovs-vsctl del-port ovn-k8s-mp0")
		agent.stop(t)

		cfg.Netfilter = names.NetfilterIPTables
		agent = startAgentWith(t, api, cfg)
		nodetest.Eventually(t, 5*repairLimit, all(agent.Ready, answered, lacks(list, "nodeports-v4"), contains(list, "pod-masquerade"),
			contains("iptables -t nat -S OVN-KUBE-NODEPORT", "-A OVN-KUBE-NODEPORT -p tcp -m addrtype --dst-type LOCAL -m tcp --dport 31785 -j DNAT --to-destination 172.30.44.86:80")))
		api.Delete(service)
		nodetest.Eventually(t, repairLimit, all(lacks("iptables -t nat -S OVN-KUBE-NODEPORT", "31785"), func() error {
			if healthIs("200")() == nil {
				return errors.New("health checks are still answered")
			}
			return nil
		}))
		agent.stop(t)
	})
}
