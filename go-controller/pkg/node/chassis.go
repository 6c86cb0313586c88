package node

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
)

// Settings of ovn-controller, see ovn-controller(8).
const (
	remoteProbeMillis          = "100000"
	remoteProbeMillisOfSeveral = "10000"
	openflowProbeSecs          = "180"
	// waitBeforeClear, in milliseconds, lets a restarted ovn-controller work out its flows before it replaces
	// those of its predecessor; new ports wait as long. On a node that has no flows yet there is nothing to save.
	waitBeforeClear    = "2000"
	noWaitBeforeClear  = "0"
	encapGeneve        = "geneve"
	systemIDPermission = 0o644
)

// chassisSettings are the external_ids by which ovn-controller learns who it is and where to connect. hasFlows
// says that the integration bridge may carry traffic already.
//
// Keys whose values are not there yet are left out, see credentials.
func chassisSettings(cfg config.Node, systemID, datapathType string, encap netip.Addr, hasFlows bool) map[string]string {
	wait := noWaitBeforeClear
	if hasFlows {
		wait = waitBeforeClear
	}
	return map[string]string{
		names.OVSSystemID:            systemID,
		names.OVSHostname:            cfg.NodeName,
		names.OVNRemote:              strings.Join(cfg.SouthboundRemote, ","),
		names.OVNRemoteProbeInterval: remoteProbe(cfg.SouthboundRemote),
		names.OVNOpenFlowProbe:       openflowProbeSecs,
		names.OVNEncapType:           encapGeneve,
		names.OVNEncapIP:             encap.String(),
		names.OVNBridgeMappings:      names.PhysicalNetwork + ":" + names.ExternalBridge,
		names.OVNMonitorAll:          strconv.FormatBool(cfg.MonitorAll),
		names.OVNWaitBeforeClear:     wait,
		names.OVNEnableLflowCache:    "true",
		names.OVNBridgeDatapathType:  datapathType,
		// By this the master tells the chassis of former nodes from those of other systems.
		names.OVNCMSOptions: names.ControllerName,
	}
}

// remoteProbe is how long ovn-controller waits before it asks a silent database server for a sign of life, and then for the
// answer: long where there is no other server to go to, since one that is busy must not lose its clients as well.
func remoteProbe(remotes []string) string {
	if len(remotes) > 1 {
		return remoteProbeMillisOfSeveral
	}
	return remoteProbeMillis
}

// chassisKeys are the keys of chassisSettings that cleaning up removes: the system's id is not ours alone.
func chassisKeys() []string {
	return []string{
		names.OVNRemote, names.OVNRemoteProbeInterval, names.OVNOpenFlowProbe, names.OVNEncapType, names.OVNEncapIP,
		names.OVNBridgeMappings, names.OVNMonitorAll, names.OVNWaitBeforeClear, names.OVNEnableLflowCache,
		names.OVNBridgeDatapathType, names.OVNCMSOptions,
	}
}

// hiddenCapabilities are what ovn-controller should not use of the userspace datapath. Until Open vSwitch 3.3 that ends with a
// failed assertion (conn_update_state) on a packet of a connection that has just expired, if the connection was
// committed with an empty source translation; ovn-controller does so only to keep ports of translated and other connections
// apart, where it believes that the datapath can.
func hiddenCapabilities() map[string]string { return map[string]string{"ct_zero_snat": "false"} }

// formerCapabilities are what ovs-vswitchd itself has found out about those: they are hidden from all who use the datapath.
func formerCapabilities(s ovs.State) map[string]map[string]string {
	if s.Capabilities[ovs.Netdev]["ct_zero_snat"] != "false" {
		return nil
	}
	return map[string]map[string]string{ovs.Netdev: {"ct_zero_snat": "true"}}
}

// integrationBridge drops everything until ovn-controller has said what to do.
func integrationBridge(datapathType string) ovs.Bridge {
	return ovs.Bridge{
		Name: names.IntegrationBridge, DatapathType: datapathType, FailMode: ovs.FailSecure,
		ExternalIDs: map[string]string{names.OwnerControllerKey: names.ControllerName},
	}
}

// resolveSystemID keeps the chassis' name: that of the database, else that of the distribution's file, else a
// new one, which goes to the file. A database that was lost thus gives the same chassis.
func resolveSystemID(s ovs.State, file string) (string, error) {
	if id := s.ExternalIDs[names.OVSSystemID]; id != "" {
		return id, nil
	}
	data, err := os.ReadFile(file)
	if err == nil {
		if id := strings.TrimSpace(string(data)); id != "" {
			return id, nil
		}
	}
	id := string(uuid.NewUUID())
	if err := os.WriteFile(file, []byte(id+"\n"), systemIDPermission); err != nil {
		return "", fmt.Errorf("keep the chassis' name: %w", err)
	}
	return id, nil
}
