package master

import (
	"net/netip"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/service"
)

// networksChanged says that service networks, or what must not lie in them, may have changed.
func (s *services) networksChanged() { s.worker.Add(key{kind: serviceNetworksKey}) }

// common hands in what services have in common.
func (s *services) common() error {
	var objects []*kube.ServiceCIDR
	if s.serviceCIDRs != nil {
		objects = s.serviceCIDRs.All()
	}
	networks, refused := kube.ServiceNetworks(s.network.serviceCIDRs, objects, s.taken())
	if len(refused) > 0 {
		klog.V(2).InfoS("Networks of ServiceCIDRs are not used: they overlap pods' or nodes' own", "networks", refused)
	}
	return s.set(nbstate.Owner{Kind: names.OwnerCluster, Name: clusterServices}, service.ClusterRows(networks))
}

// taken are networks in which no service can be: what is refused there would be missed.
func (s *services) taken() []netip.Prefix {
	out := append(s.network.cluster().Subnets, s.network.join...)
	out = append(out, names.MasqueradeSubnet(true), names.MasqueradeSubnet(false))
	for _, n := range s.nodes.All() {
		addresses, _ := hostAddressesOf(n) // Complained about when the node is wired.
		for _, a := range addresses {
			out = append(out, addr.HostPrefix(a))
		}
	}
	return out
}
