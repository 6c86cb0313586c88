package node

import (
	"slices"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/bridge"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/reconcile"
)

// chooseNIC decides which device the external bridge takes over: the one it has taken over, else the configured
// one, else the one with the default route. defaults are the devices of default routes, best first.
func chooseNIC(s ovs.State, configured string, defaults []string) (string, error) {
	record, ok, err := bridge.LoadRecord(s)
	if err != nil {
		return "", err
	}
	if ok && (configured == "" || configured == names.ExternalBridge) {
		return record.NIC, nil
	}
	if configured != "" && configured != names.ExternalBridge {
		return configured, nil
	}
	for _, device := range defaults {
		if device != names.ExternalBridge {
			return device, nil
		}
		if nic := uplinkOf(s); nic != "" { // somebody else has made the bridge
			return nic, nil
		}
	}
	return "", reconcile.Waiting("no default route shows the physical NIC: name it with --gateway-interface")
}

// uplinkOf is the only host's device on an external bridge.
func uplinkOf(s ovs.State) string {
	var found []string
	for name, p := range s.Ports {
		if p.Bridge == names.ExternalBridge && (p.Type == "" || p.Type == ovs.System) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	if len(found) == 1 {
		return found[0]
	}
	return ""
}
