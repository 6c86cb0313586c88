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

// addressesChanged says the same of a node's addresses, which must not lie in an object's networks.
func (s *services) addressesChanged() {
	if s.serviceCIDRs != nil && len(s.serviceCIDRs.All()) > 0 {
		s.networksChanged()
	}
}

// refusals hands in what refuses packets to addresses without a service, but not before all services of the start have been looked at:
// in an empty database the refusal would come before their load balancers, and break connections that still go on.
func (s *services) refusals() error {
	if !s.settled {
		return nil
	}
	var objects []*kube.ServiceCIDR
	if s.serviceCIDRs != nil {
		objects = s.serviceCIDRs.All()
	}
	networks, refused := kube.ServiceNetworks(s.network.serviceCIDRs, objects, s.taken())
	if len(refused) > 0 {
		klog.V(2).InfoS("Networks of ServiceCIDRs are not used: they overlap pods' or nodes' own", "networks", refused)
	}
	return s.want(nbstate.Owner{Kind: names.OwnerCluster, Name: clusterRefusals}, service.RefusalRows(networks))
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
