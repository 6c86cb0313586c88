package routes

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWanted(t *testing.T) {
	node := func(annotation string, addrs ...string) *corev1.Node {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}
		if annotation != "" {
			n.Annotations = map[string]string{Annotation: annotation}
		}
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "node1"}}
		for _, a := range addrs {
			n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
		}
		return n
	}
	for _, tc := range []struct {
		name string
		node *corev1.Node
		want map[string]string
	}{
		{name: "no annotation yet", node: node("", "172.18.0.11")},
		{name: "IPv4", node: node(`{"default":["10.128.0.0/23"]}`, "172.18.0.11"), want: map[string]string{"10.128.0.0/23": "172.18.0.11"}},
		{name: "dual stack: each family by its own next hop", node: node(`{"default":["10.128.0.0/23","fd01::/64"]}`, "172.18.0.11", "fd00:172:18::11"),
			want: map[string]string{"10.128.0.0/23": "172.18.0.11", "fd01::/64": "fd00:172:18::11"}},
		{name: "one string", node: node(`{"default":"10.128.0.0/23"}`, "172.18.0.11"), want: map[string]string{"10.128.0.0/23": "172.18.0.11"}},
		{name: "family without a next hop", node: node(`{"default":["fd01::/64"]}`, "172.18.0.11")},
		{name: "nonsense", node: node(`nonsense`, "172.18.0.11")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := map[netip.Prefix]netip.Addr{}
			for k, v := range tc.want {
				want[netip.MustParsePrefix(k)] = netip.MustParseAddr(v)
			}
			got := Wanted([]*corev1.Node{tc.node})
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
		})
	}
}
