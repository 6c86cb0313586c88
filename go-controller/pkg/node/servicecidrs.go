package node

import (
	"net/netip"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/gateway"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
)

// prepareServiceCIDRs lets everyone who needs service networks follow ServiceCIDR objects. It connects nothing.
func (a *Agent) prepareServiceCIDRs() {
	a.serviceNetworks.OnChange(func(_ string, _, after *kube.ServiceCIDR) {
		if after != nil {
			if _, refused := kube.ServiceNetworks(nil, []*kube.ServiceCIDR{after}, a.takenNetworks()); len(refused) > 0 {
				klog.InfoS("Networks of a ServiceCIDR are not used: they overlap pods' or the host's own", "name", after.Name, "networks", refused)
			}
		}
		a.wakeForServiceCIDRs()
	})
}

func (a *Agent) wakeForServiceCIDRs() {
	a.loops.gateway.Wake()
	a.loops.masquerade.Wake()
	a.rules.Wake()
}

// serviceCIDRs are the service networks: those configured and those of ServiceCIDR objects. As long as the API server has not
// told these, those of the host's routes stand for them: an agent before has made them.
func (a *Agent) serviceCIDRs() []netip.Prefix {
	var objects []*kube.ServiceCIDR
	select { // asked first: a list that is completed in between must not pass for a complete one
	case <-a.serviceNetworks.Synced():
	default:
		objects = append(objects, &kube.ServiceCIDR{Prefixes: a.facts.getServiceRoutes()})
	}
	objects = append(objects, a.serviceNetworks.All()...)
	use, _ := kube.ServiceNetworks(a.cfg.ServiceCIDRs, objects, a.takenNetworks())
	return use
}

// takenNetworks are those in which no service can be.
func (a *Agent) takenNetworks() []netip.Prefix {
	taken := append(a.clusterPrefixes(), names.MasqueradeSubnet(true), names.MasqueradeSubnet(false))
	uplink, _ := a.facts.getUplink()
	for _, own := range wireAddresses(uplink) {
		taken = append(taken, netip.PrefixFrom(own, own.BitLen()))
	}
	return taken
}

// rememberServiceRoutes takes over what an agent before has found out.
func (a *Agent) rememberServiceRoutes() error {
	external, err := hostnet.Observe(names.ExternalBridge)
	if err != nil || external == nil {
		return err
	}
	a.facts.setServiceRoutes(gateway.ServiceNetworks(external))
	return nil
}
