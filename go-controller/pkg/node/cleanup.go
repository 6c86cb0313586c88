package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"
	"sigs.k8s.io/knftables"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/bridge"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/datapath"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/netfilter"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/vswitchdb"
)

const (
	// cleanupConnect bounds the wait for the local database.
	cleanupConnect = 10 * time.Second
	// cleanupSettle bounds the wait for ovs-vswitchd to remove the bridges.
	cleanupSettle = 10 * time.Second
)

// Cleanup gives the physical NIC back what it had and removes what the agent has made: bridges, ports, nftables
// tables, external_ids. The agent must not run. It can be repeated, also after it was interrupted.
func Cleanup(ctx context.Context, cfg config.Node) error {
	db, err := connectForCleanup(ctx, cfg)
	if err != nil {
		return err
	}
	defer db.Close()
	tables := nft.Kernel()
	state := ovs.Observe(db)
	record, ok, err := bridge.LoadRecord(state)
	if err != nil {
		return err
	}
	if ok {
		datapathType := state.Bridges[names.ExternalBridge].DatapathType
		if datapathType == "" {
			if datapathType, _, err = datapath.ThisHost().Resolve(ctx, cfg.DatapathType); err != nil {
				return err
			}
		}
		m := &bridge.Manager{OVS: db, Tables: tables}
		if _, err := m.GiveBack(ctx, bridge.Config{NIC: record.NIC, DatapathType: datapathType}); err != nil {
			return err
		}
	}
	if _, err := ovs.Ensure(ctx, db, leavings(ovs.Observe(db))); err != nil {
		return err
	}
	err = errors.Join(netfilter.Cleanup(ctx), tables.Remove(ctx, nft.Table{Family: knftables.InetFamily, Name: names.NFTTable}), tables.Remove(ctx, nft.Uplink("")),
		tables.Remove(ctx, nft.Table{Family: knftables.InetFamily, Name: names.NFTPodTable}))
	if err != nil {
		return err
	}
	return waitGone(ctx)
}

// leavings are what is the agent's in the local database, apart from the external bridge.
func leavings(s ovs.State) ovs.Desired {
	d := ovs.Desired{AbsentExternalIDs: chassisKeys(), AbsentSSL: true, Capabilities: formerCapabilities(s)}
	for name, b := range s.Bridges {
		if b.ExternalIDs[names.OwnerControllerKey] == names.ControllerName {
			d.AbsentBridges = append(d.AbsentBridges, name)
		}
	}
	return d
}

func connectForCleanup(ctx context.Context, cfg config.Node) (*ovsdb.Client, error) {
	db, err := vswitchdb.FullDatabaseModel()
	if err != nil {
		return nil, fmt.Errorf("model of the Open_vSwitch database: %w", err)
	}
	waiting := time.AfterFunc(time.Second, func() { klog.InfoS("Waiting for the local Open vSwitch database", "endpoint", cfg.OVSDB) })
	defer waiting.Stop()
	ctx, cancel := context.WithCancelCause(ctx)
	limit := time.AfterFunc(cleanupConnect, func() { cancel(errors.New("no answer")) })
	defer limit.Stop()
	c, err := ovsdb.Connect(ctx, ovsdb.Options{
		Database: "Open_vSwitch", Model: db, Endpoints: []string{cfg.OVSDB}, Monitors: ovs.Monitors(),
	})
	if err != nil {
		return nil, fmt.Errorf("local Open vSwitch at %s: %w; start it to clean up", cfg.OVSDB, err)
	}
	return c, nil
}

// waitGone waits until ovs-vswitchd has removed the devices, which tells that it has let go of the NIC.
func waitGone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupSettle)
	defer cancel()
	var left error
	err := hostnet.Watch(ctx, func(e hostnet.Event) {
		if !e.All && !e.Link {
			return
		}
		if left = devicesGone(); left == nil {
			cancel()
		}
	})
	if err != nil {
		return err
	}
	return left
}

func devicesGone() error {
	for _, name := range []string{names.ExternalBridge, names.IntegrationBridge, names.ManagementPort} {
		d, err := hostnet.Observe(name)
		if err != nil {
			return err
		}
		if d != nil {
			return fmt.Errorf("device %s is still there: is ovs-vswitchd running, and ovn-controller stopped (it makes %s again)?", name, names.IntegrationBridge)
		}
	}
	return nil
}
