package node

import (
	"maps"
	"slices"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/mgmtport"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/vswitchdb"
)

// integration remembers what was on the integration bridge, for when somebody deletes the bridge: the pods' ports
// go with it, and neither kubelet nor the container runtime would ever ask for them again.
type integration struct {
	bridge string
	pods   map[string]ovs.Port
	// claimed is the management port that ovn-controller has claimed.
	claimed string
	// emptied is when the management port was last seen without ovs-vswitchd.
	emptied time.Time
}

// lostPorts returns the pods' ports to be made again: those of a bridge that is no more, whose devices are
// still there. The ports of a bridge that is there belong to the CNI server.
func (i *integration) lostPorts(s ovs.State, deviceExists func(string) (bool, error)) ([]ovs.Port, error) {
	id := s.BridgeID(names.IntegrationBridge)
	if i.bridge == "" || id == i.bridge {
		i.bridge, i.pods = id, podPorts(s)
		return nil, nil
	}
	var out []ovs.Port
	for _, name := range slices.Sorted(maps.Keys(i.pods)) {
		if _, ok := s.Ports[name]; ok {
			continue
		}
		exists, err := deviceExists(name)
		if err != nil {
			return nil, err
		}
		if exists {
			out = append(out, i.pods[name])
		}
	}
	if id != "" && len(out) == 0 { // all are back
		i.bridge, i.pods = id, podPorts(s)
	}
	return out, nil
}

// podPorts are the ports that the CNI server has made, without what others have added.
func podPorts(s ovs.State) map[string]ovs.Port {
	out := map[string]ovs.Port{}
	for name, p := range s.Ports {
		if p.Bridge != names.IntegrationBridge || p.ExternalIDs[names.IfaceSandbox] == "" {
			continue
		}
		port := p.Port
		port.Transient = true
		port.ExternalIDs = maps.Clone(port.ExternalIDs)
		for _, key := range []string{names.OVNInstalled, names.OVNInstalled + "-ts"} {
			delete(port.ExternalIDs, key)
		}
		out[name] = port
	}
	return out
}

// losesFlows tells whether Open vSwitch throws away the flows of a bridge that has become so: it does when the fail mode
// changes, even if ovn-controller or the agent puts that right at once.
func losesFlows(b *vswitchdb.Bridge) bool {
	return b.Name == names.IntegrationBridge && (b.FailMode == nil || *b.FailMode != ovs.FailSecure)
}

// refill makes bridge, as it is wanted, one that ovn-controller fills anew: ovn-controller does not look at what it has written as
// long as it is connected. Another set of OpenFlow's versions ends its connection.
func (i *integration) refill(s ovs.State, bridge *ovs.Bridge, now time.Time) {
	have, ok := s.Bridges[bridge.Name]
	if !ok {
		return
	}
	bridge.Protocols = protocols()
	if len(have.Protocols) == 0 || slices.Equal(have.Protocols, bridge.Protocols) { // none are all
		bridge.Protocols = withoutOld(bridge.Protocols)
	}
	i.emptied = now
}

// protocols are all versions of OpenFlow, in order.
func protocols() []string {
	return []string{
		vswitchdb.BridgeProtocolsOpenflow10, vswitchdb.BridgeProtocolsOpenflow11, vswitchdb.BridgeProtocolsOpenflow12,
		vswitchdb.BridgeProtocolsOpenflow13, vswitchdb.BridgeProtocolsOpenflow14, vswitchdb.BridgeProtocolsOpenflow15,
	}
}

// withoutOld leaves out two that nobody uses.
func withoutOld(in []string) []string {
	return slices.DeleteFunc(in, func(p string) bool {
		return p == vswitchdb.BridgeProtocolsOpenflow11 || p == vswitchdb.BridgeProtocolsOpenflow12
	})
}

// settling is how long after a new start of ovs-vswitchd ovn-controller may take to fill the bridge anew.
const settling = 10 * time.Second

// hasFlows tells whether ovn-controller has filled the bridge: then a restarted ovn-controller should not
// clear it in haste. A management port that is new, or was without ovs-vswitchd a moment ago, has no flows to save;
// again is then the time until the question should be asked again.
func (i *integration) hasFlows(s ovs.State, carrier bool, now time.Time) (yes bool, again time.Duration) {
	port := s.Ports[names.ManagementPort]
	if mgmtport.Missing(s) == nil {
		i.claimed = port.ID()
	}
	if port.ID() == "" || port.ID() != i.claimed {
		return false, 0
	}
	if !carrier {
		i.emptied = now
	}
	if left := i.emptied.Add(settling).Sub(now); left > 0 {
		return false, left
	}
	return true, 0
}
