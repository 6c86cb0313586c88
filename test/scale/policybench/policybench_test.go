package policybench

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
)

// TestEmptyNodesAreNowhere: with an address of the lab's network such a node would be taken for one that exists.
func TestEmptyNodesAreNowhere(t *testing.T) {
	underlay := netip.MustParsePrefix("172.18.0.0/16")
	seen := map[string]bool{}
	for i := range emptyNodes {
		n := emptyNode(i)
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP && (seen[a.Address] || underlay.Contains(netip.MustParseAddr(a.Address))) {
				t.Errorf("node %s has address %s: taken %v", n.Name, a.Address, seen[a.Address])
			}
			seen[a.Address] = true
		}
		hosts, err := annotations.ParseHostCIDRs(n.Annotations)
		if err != nil || len(hosts) != 1 || underlay.Overlaps(hosts[0]) {
			t.Errorf("node %s says that its networks are %v (%v)", n.Name, hosts, err)
		}
	}
}
