package master

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/ovn-org/libovsdb/model"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ipam"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/topology"
)

func nodeOwner(name string) nbstate.Owner { return nbstate.Owner{Kind: names.OwnerNode, Name: name} }

// ownerOf tells whose a row without marks was, see nbsync.Options.
func (e *engine) ownerOf(m model.Model) (nbstate.Owner, bool) {
	if n, isNeighbour := m.(*nbdb.StaticMACBinding); isNeighbour {
		if node, ok := e.cluster.NeighbourOf(n); ok {
			return nodeOwner(node), true
		}
	}
	return nbstate.Owner{}, false
}

// reconcileNode makes a node's subnets, rows and annotations as they should be.
func (e *engine) reconcileNode(name string) error {
	node, exists := e.nodes.Get(name)
	if !exists {
		e.nodeLeft(name)
		return nil
	}
	e.claimNodeID(node)
	n := e.ledger.nodes[name]
	if n == nil {
		var err error
		if n, err = e.admitNode(node); err != nil {
			return nil // Told; a change of the node or of the free subnets brings it back.
		}
	} else if err := e.ledger.identify(n); err != nil { // A former node that is back may have none.
		return err
	}
	n.leaving, n.unwired, n.uid = false, false, node.UID
	delete(e.blocked, name)
	wired, err := e.wireNode(node, n)
	if err != nil {
		e.complain(key{nodeKey, name}, node.Ref(), reasonNorthboundFailed, err.Error())
		return err
	}
	e.annotateNode(node, n)
	e.wakeWaiting(name)
	e.countSubnets()
	// Last: what services need of a node (two Nodes with one chassis cannot both have it) keeps no pod from its network.
	if err := e.service.node(e.serviceNode(node, wired)); err != nil {
		e.complain(key{nodeKey, name}, node.Ref(), reasonNorthboundFailed, err.Error())
		return err
	}
	return nil
}

// admitNode gives a node subnets, those of its annotation when it has one. When that cannot be it says so and
// remembers the node as blocked.
func (e *engine) admitNode(node *kube.Node) (*nodeState, error) {
	wanted, err := annotations.ParseNodeSubnets(node.Annotations)
	if errors.Is(err, annotations.ErrMissing) {
		wanted, err = nil, nil
	}
	var n *nodeState
	if err == nil {
		n, err = e.ledger.admit(node.Name, wanted)
	}
	if err == nil {
		e.complaints.forget(key{nodeKey, node.Name})
		e.metrics.nodeAdmitted(n)
		klog.InfoS("Node has subnets", "node", node.Name, "subnets", n.subnets, "id", n.id)
		return n, nil
	}
	reason, message := reasonBadSubnets, fmt.Sprintf("annotation %s: %v; remove or correct it, the node has no pod network until then",
		names.NodeSubnetsAnnotation, err)
	if errors.Is(err, ipam.ErrExhausted) {
		reason, message = reasonNoSubnet, fmt.Sprintf("no pod network: %v; delete nodes or extend --cluster-subnets", err)
	}
	e.complain(key{nodeKey, node.Name}, node.Ref(), reason, message)
	e.block(node.Name, reason)
	e.countSubnets()
	return nil, err
}

// claimNodeID keeps the annotated id for the node, wired or not, if it has none yet. One that cannot be had is replaced when
// the node is admitted.
func (e *engine) claimNodeID(node *kube.Node) {
	id, err := annotations.ParseNodeID(node.Annotations)
	if err == nil {
		err = e.ledger.ids.claim(node.Name, id)
	}
	if err != nil && !errors.Is(err, annotations.ErrMissing) {
		klog.V(2).InfoS("Annotated id cannot be used", "node", node.Name, "err", err.Error())
	}
}

// wireNode hands in the node's rows and returns what they were made of.
func (e *engine) wireNode(node *kube.Node, n *nodeState) (topology.Node, error) {
	k := key{nodeKey, node.Name}
	addresses, err := hostAddressesOf(node)
	if err != nil {
		e.complain(k, node.Ref(), reasonBadHostCIDRs, err.Error())
	}
	for _, other := range e.hosts.set(node, addresses) {
		e.worker.Add(key{nodeKey, other})
	}
	facts, err := e.topologyOf(node, n)
	e.complainGateway(node, err)
	return facts, e.set(nodeOwner(node.Name), topology.NodeRows(facts))
}

// topologyOf returns what the node's rows depend on; also with an error, which says why it has no gateway.
func (e *engine) topologyOf(node *kube.Node, n *nodeState) (topology.Node, error) {
	gateway, err := e.gatewayOf(node, n.id)
	return topology.Node{
		Name: node.Name, Subnets: n.subnets,
		Chassis:       node.Annotations[names.NodeChassisIDAnnotation],
		HostAddresses: e.hosts.all(node.Name),
		Gateway:       gateway,
	}, err
}

// annotateNode writes what was allocated. An annotation that says something else was edited by hand: pods are connected by
// what was allocated, so that stays.
func (e *engine) annotateNode(node *kube.Node, n *nodeState) {
	want := map[string]string{
		names.NodeSubnetsAnnotation: annotations.FormatNodeSubnets(n.subnets),
		names.NodeIDAnnotation:      annotations.FormatNodeID(n.id),
	}
	has := node.Annotations[names.NodeSubnetsAnnotation]
	if subnets, err := annotations.ParseNodeSubnets(node.Annotations); err == nil && slices.Equal(subnets, n.subnets) {
		want[names.NodeSubnetsAnnotation] = has // The same in other words.
		e.complaints.settled(key{nodeKey, node.Name}, reasonSubnetsRestored)
	} else if has != "" && !extends(n.subnets, subnets) {
		e.complain(key{nodeKey, node.Name}, node.Ref(), reasonSubnetsRestored,
			fmt.Sprintf("annotation %s was %s, but the node is connected with %v: restored; to renumber a node, delete and register it again",
				names.NodeSubnetsAnnotation, has, n.subnets))
	}
	for name, value := range want {
		if node.Annotations[name] != value {
			e.annotator.want(key{nodeKey, node.Name}, node.Ref(), want)
			return
		}
	}
	e.annotator.forget(key{nodeKey, node.Name})
}

// extends tells whether every subnet of was is still among now, as when a family is added.
func extends(now, was []netip.Prefix) bool {
	for _, s := range was {
		if !slices.Contains(now, s) {
			return false
		}
	}
	return len(was) > 0
}

// nodeLeft takes a node that is gone, and the ports of its pods, out of the database. The subnets are free once the
// database has confirmed all of it.
func (e *engine) nodeLeft(name string) {
	k := key{nodeKey, name}
	delete(e.blocked, name)
	e.complaints.forget(k)
	e.annotator.forget(k)
	for _, other := range e.hosts.remove(name) {
		e.worker.Add(key{nodeKey, other})
	}
	n := e.ledger.nodes[name]
	if n == nil {
		e.ledger.ids.release(name)
		e.nodeGone(name) // Never connected, but its agent may have been there.
		return
	}
	if n.leaving {
		return
	}
	klog.InfoS("Node is gone", "node", name, "subnets", n.subnets, "pods", len(n.attached))
	n.leaving = true
	for _, a := range slices.Collect(maps.Values(n.attached)) {
		e.release(a)
		e.wait(name, a.key)
	}
	e.nodeGone(name)
	e.service.nodeGone(name)
	if e.remove(nodeOwner(name)) == 0 {
		e.nodeUnwired(name, 0)
	}
}

// nodeUnwired is called when the database has confirmed that a node's rows are gone.
func (e *engine) nodeUnwired(name string, generation uint64) {
	n := e.ledger.nodes[name]
	if n == nil || !n.leaving || generation < e.store.Generation(nodeOwner(name)) {
		return
	}
	n.unwired = true
	e.dropNode(n)
}

// dropNode frees the subnets of a node that is gone in all respects, and lets blocked nodes try.
func (e *engine) dropNode(n *nodeState) {
	if !e.ledger.dropIfDone(n) {
		return
	}
	klog.InfoS("Subnets are free", "node", n.name, "subnets", n.subnets)
	e.metrics.nodeDropped(n)
	for name := range e.blocked {
		e.worker.Add(key{nodeKey, name})
	}
	e.countSubnets()
}

func (e *engine) countSubnets() {
	e.metrics.blockedNodes.Set(float64(len(e.blocked)))
	for _, v4 := range e.ledger.families {
		taken, total := e.ledger.subnets.Usage(v4)
		e.metrics.subnets(v4, taken, total)
	}
}
