package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/vswitchdb"
)

// servePause is between two tries to serve pods.
const servePause = time.Second

// connect waits for the local database.
func (a *Agent) connect(ctx context.Context) (*ovsdb.Client, error) {
	db, err := vswitchdb.FullDatabaseModel()
	if err != nil {
		return nil, fmt.Errorf("model of the Open_vSwitch database: %w", err)
	}
	wake := cache.EventHandlerFuncs{
		AddFunc: func(_ string, m model.Model) { a.databaseEvent(m) },
		UpdateFunc: func(_ string, before, after model.Model) {
			if podsOnly(before, after) {
				a.loops.chassis.Wake() // which remembers pods' ports
				return
			}
			if b, ok := after.(*vswitchdb.Bridge); ok && losesFlows(b) {
				a.facts.setEmptied(true)
			}
			a.databaseEvent(before)
			a.databaseEvent(after)
		},
		DeleteFunc: func(_ string, m model.Model) { a.databaseEvent(m) },
	}
	c, err := ovsdb.Connect(ctx, ovsdb.Options{
		Database: "Open_vSwitch", Model: db, Endpoints: []string{a.cfg.OVSDB}, Monitors: ovs.Monitors(),
		Handlers:  []cache.EventHandler{&wake},
		OnConnect: func(uint64) { a.wakeAll() },
		Observer:  a.databases,
	})
	if err != nil {
		return nil, fmt.Errorf("local Open vSwitch: %w", err)
	}
	return c, nil
}

// runAll runs loops and sources of events until ctx ends or a source fails, and waits for all to end.
func (a *Agent) runAll(ctx context.Context, cancel context.CancelCauseFunc) error {
	var wg sync.WaitGroup
	for _, l := range a.loops.all() {
		wg.Go(func() { l.Run(ctx) })
	}
	wg.Go(func() { cancel(hostnet.Watch(ctx, a.deviceEvent)) })
	wg.Go(func() { cancel(nft.Watch(ctx, a.tableEvent)) })
	wg.Go(func() { a.watchFlows(ctx) })
	wg.Go(func() { a.guard().Run(ctx) })
	if requester := a.requester(); requester != nil {
		wg.Go(func() { requester.Run(ctx) })
	}
	a.node.OnChange(a.nodeEvent)
	wg.Go(func() { a.node.Run(ctx, a.ownNode()) })
	wg.Go(func() { a.runServices(ctx) })
	if a.opts.Serve != nil {
		wg.Go(func() { a.serve(ctx) })
	}
	a.wakeAll()
	wg.Wait()
	return context.Cause(ctx)
}

// serve serves pods from when the node is ready for them.
func (a *Agent) serve(ctx context.Context) {
	host := Host{Config: a.cfg, Kube: a.kube, DatapathType: a.datapathType, Ready: a.Ready}
	select {
	case <-a.facts.ready:
	case <-ctx.Done():
		return
	}
	for ctx.Err() == nil {
		err := a.opts.Serve(ctx, host)
		if ctx.Err() != nil {
			return
		}
		klog.ErrorS(err, "Serving pods has failed; trying again", "after", servePause)
		select {
		case <-time.After(servePause):
		case <-ctx.Done():
		}
	}
}

func (a *Agent) ownNode() toolscache.ListerWatcher {
	return toolscache.NewFilteredListWatchFromClient(a.kube.CoreV1().RESTClient(), "nodes", metav1.NamespaceAll,
		func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, a.cfg.NodeName).String()
		})
}

func (a *Agent) wakeAll() {
	for _, l := range a.loops.all() {
		l.Wake()
	}
}

// deviceEvent wakes those who keep something on the device. Pods' devices come and go all the time and wake nobody.
func (a *Agent) deviceEvent(e hostnet.Event) {
	if e.All || e.Address || e.Device == "" || e.Device == names.ManagementPort {
		a.rules.Wake()
	}
	record, known := a.facts.getUplink()
	switch {
	case e.All:
		a.wakeAll()
	case e.Device == names.ExternalBridge, known && e.Device == record.NIC:
		a.loops.uplink.Wake()
		a.loops.gateway.Wake()
		a.loops.annotations.Wake()
	case e.Device == names.ManagementPort:
		a.loops.mgmtport.Wake()
		a.loops.gateway.Wake()
		a.loops.ready.Wake()
		if e.Link {
			a.loops.chassis.Wake()
		}
	case !known:
		a.loops.uplink.Wake() // a device, address or default route that was waited for
	case e.Device != "" && e.Device == a.facts.getTunnelDevice():
		a.loops.chassis.Wake()
		a.loops.annotations.Wake()
	case e.Address:
		a.loops.annotations.Wake()
		a.loops.gateway.Wake()
		if a.cfg.EncapIP.IsValid() {
			a.loops.chassis.Wake()
		}
	case e.Device == "":
		a.loops.uplink.Wake()
		a.loops.mgmtport.Wake()
		a.loops.gateway.Wake()
	}
}

func (a *Agent) tableEvent(table string) {
	if table == "" || table == names.NFTUplinkTable {
		a.loops.uplink.Wake()
	}
	if table != names.NFTUplinkTable {
		a.loops.masquerade.Wake()
	}
}

// podsOnly tells whether an update of the integration bridge changes nothing but which ports there are: that is what every pod does. The
// management port's own coming and going is an event of its row.
func podsOnly(before, after model.Model) bool {
	b, ok := before.(*vswitchdb.Bridge)
	if !ok || b.Name != names.IntegrationBridge {
		return false
	}
	a, ok := after.(*vswitchdb.Bridge)
	if !ok {
		return false
	}
	same := *b
	same.Ports = a.Ports
	return same.Equals(a)
}

// databaseEvent wakes those whom a row of the local database concerns. It may be called before the connection
// is known to the agent: the loops look at the cache, whose filling is followed by OnConnect.
func (a *Agent) databaseEvent(m model.Model) {
	name := ""
	switch row := m.(type) {
	case *vswitchdb.OpenvSwitch:
		a.loops.uplink.Wake()
		a.loops.chassis.Wake()
		a.loops.mgmtport.Wake()
		return
	case *vswitchdb.SSL:
		a.loops.chassis.Wake()
		return
	case *vswitchdb.Datapath: // ovs-vswitchd has written what it can
		a.loops.chassis.Wake()
		return
	case *vswitchdb.Bridge:
		name = row.Name
	case *vswitchdb.Port:
		name = row.Name
	case *vswitchdb.Interface:
		name = row.Name
		if row.Type == ovs.Geneve {
			a.loops.tunnels.Wake()
		}
	}
	record, _ := a.facts.getUplink()
	switch name {
	case names.ExternalBridge, record.NIC:
		a.loops.uplink.Wake()
		a.loops.gateway.Wake()
	case names.PatchToIntegration(a.cfg.NodeName):
		a.loops.gateway.Wake()
		a.loops.masquerade.Wake()
	case names.IntegrationBridge:
		a.loops.chassis.Wake()
		a.loops.mgmtport.Wake()
	case names.ManagementPort:
		a.loops.mgmtport.Wake()
		a.loops.ready.Wake()
	}
}

func (a *Agent) nodeEvent(_ string, before, node *kube.Node) {
	if node != nil {
		a.learnSubnets(node)
		if before == nil || !slices.Equal(before.Addresses, node.Addresses) {
			a.loops.chassis.Wake()
		}
	}
	a.loops.annotations.Wake()
}
