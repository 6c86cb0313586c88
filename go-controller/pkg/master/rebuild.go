package master

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	podrows "github.com/ovnkube/ovnkube/go-controller/pkg/translate/pod"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/service"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/topology"
)

// clusterProtection is the name of the owner of what protects OVN's controllers.
const clusterProtection = "protection"

// rebuild fills the empty ledger from what is there: first the rows in the northbound database, because
// packets flow by them; then annotations, those of older objects first. Whoever is not served here gets
// something new later, when everything that is taken is known. The store gets to know what is in the database, so that it
// can tell when something of it is gone.
func (e *engine) rebuild(o observed) error {
	if err := e.set(nbstate.Owner{Kind: names.OwnerCluster, Name: names.DefaultNetwork},
		topology.ClusterRows(e.cluster)); err != nil {
		return err
	}
	if err := e.set(nbstate.Owner{Kind: names.OwnerCluster, Name: clusterProtection}, topology.ProtectionRows()); err != nil {
		return err
	}
	if err := e.set(nbstate.Owner{Kind: names.OwnerCluster, Name: clusterServices}, service.ClusterRows()); err != nil {
		return err
	}
	// Before any pod: a port that is handed in has its memberships with it.
	if err := e.policy.rebuild(e.pods.All()); err != nil {
		return err
	}
	e.rebuildNodes(o)
	e.rebuildPorts(o.ports)
	pods := e.pods.All()
	slices.SortFunc(pods, olderPod)
	for _, p := range pods {
		if p.Network == "" || !needsPort(p) || e.ledger.pods[p.Key()] != nil {
			continue
		}
		if n := e.ledger.nodes[p.Node]; n != nil {
			if _, err := e.claimAnnotated(p, n); err != nil {
				klog.V(2).InfoS("Annotation cannot be used", "pod", p.Key(), "err", err.Error())
			}
		}
	}
	for _, node := range e.nodes.All() {
		if e.ledger.nodes[node.Name] != nil {
			addresses, _ := hostAddressesOf(node) // Complained about when the node is wired.
			e.hosts.set(node, addresses)
		}
	}
	for _, node := range e.nodes.All() {
		if n := e.ledger.nodes[node.Name]; n != nil {
			facts, _ := e.topologyOf(node, n) // Complained about when the node is wired.
			e.adopt(nodeOwner(node.Name), topology.NodeRows(facts))
		}
	}
	taken := e.ledger.addresses()
	e.metrics.podAddresses.Set(float64(taken))
	for _, n := range e.ledger.nodes {
		e.metrics.nodeAdmitted(n)
	}
	klog.InfoS("Allocations rebuilt", "nodes", len(e.ledger.nodes), "pods", len(e.ledger.pods), "addresses", taken)
	return nil
}

func (e *engine) rebuildNodes(o observed) {
	nodes := e.nodes.All()
	slices.SortFunc(nodes, olderNode)
	e.rebuildNodeIDs(o, nodes)
	for _, node := range nodes {
		if subnets := o.subnets[node.Name]; len(subnets) > 0 {
			e.readmit(node, subnets, "rows")
		}
	}
	for name, subnets := range o.subnets {
		if _, exists := e.nodes.Get(name); exists {
			continue
		}
		// The node went while nobody looked. Its subnets stay taken until its rows are gone.
		n, err := e.ledger.hold(name, subnets)
		if err != nil {
			klog.V(2).InfoS("Subnets of a former node cannot be held", "node", name, "err", err.Error())
			e.nodeGone(name)
			continue
		}
		e.adopt(nodeOwner(name), topology.NodeRows(topology.Node{Name: name, Subnets: n.subnets}))
		e.nodeLeft(name)
	}
	for _, node := range nodes {
		if e.ledger.nodes[node.Name] != nil {
			continue
		}
		if subnets, err := annotations.ParseNodeSubnets(node.Annotations); err == nil {
			e.readmit(node, subnets, names.NodeSubnetsAnnotation)
		} else if !errors.Is(err, annotations.ErrMissing) {
			klog.V(2).InfoS("Annotation cannot be used", "node", node.Name, "err", err.Error())
		}
	}
}

// rebuildNodeIDs claims all ids that are in use, so that a new one that is given later is nobody else's: first those
// that addresses in the database were made of, former nodes' too, then those of annotations, older nodes (which come first) before
// younger ones, wired or not.
func (e *engine) rebuildNodeIDs(o observed, nodes []*kube.Node) {
	inUse := func(name string, id int) {
		if err := e.ledger.ids.claim(name, id); err != nil {
			klog.InfoS("Id in the database cannot be kept", "node", name, "err", err.Error())
		}
	}
	for _, node := range nodes {
		if id, ok := o.ids[node.Name]; ok {
			inUse(node.Name, id)
		}
	}
	for name, id := range o.ids {
		inUse(name, id) // Former nodes' by now: a second claim of a node changes nothing.
	}
	for _, node := range nodes {
		e.claimNodeID(node)
	}
}

func (e *engine) readmit(node *kube.Node, subnets []netip.Prefix, source string) {
	if _, err := e.ledger.admit(node.Name, subnets); err != nil {
		klog.V(2).InfoS("Subnets cannot be kept", "node", node.Name, "source", source, "err", err.Error())
	}
}

// rebuildPorts claims the addresses of ports in the database. Ports of pods that exist come before left-over ones, which
// hold their addresses only until they are deleted; among equals the older pod comes first.
func (e *engine) rebuildPorts(ports []observedPort) {
	live := func(p observedPort) *kube.Pod {
		if pod, ok := e.pods.Get(p.key); ok && pod.UID == p.uid && pod.Node == p.node && needsPort(pod) {
			return pod
		}
		return nil
	}
	for i := range ports {
		ports[i].uid = e.incarnation(ports[i])
	}
	slices.SortFunc(ports, func(a, b observedPort) int {
		x, y := live(a), live(b)
		switch {
		case x != nil && y != nil:
			return olderPod(x, y)
		case x != nil:
			return -1
		case y != nil:
			return 1
		}
		return cmp.Compare(a.key, b.key)
	})
	for _, p := range ports {
		n := e.ledger.nodes[p.node]
		if n == nil {
			continue
		}
		// The store gets to know each row that is there, so that it can tell when it is gone.
		namespace, name := names.SplitObjectName(p.key)
		former := &kube.Pod{Namespace: namespace, Name: name, UID: p.uid, Node: p.node}
		rows, pod := podrows.Rows(former, p.Attachment), live(p)
		var members []nbstate.Member
		if pod != nil { // Should somebody delete the row before the pod's turn, it comes back with them.
			members = e.policy.membership(p.key).Members(namespace, names.PodLogicalPort(namespace, name), p.Addresses)
			rows.Members = append(rows.Members, members...)
		}
		known := e.adopt(podOwner(p.key), rows)
		if a := e.readopt(n, p, pod); a != nil {
			a.written = known && slices.Equal(a.Addresses, p.Addresses) && a.MAC.String() == p.MAC.String()
			a.members = members
		}
	}
}

// incarnation is the UID of the pod that a port belongs to. Where somebody has removed it from the port, it is that of the
// pod whose annotation gives the same addresses: they are configured on its node.
func (e *engine) incarnation(p observedPort) types.UID {
	pod, ok := e.pods.Get(p.key)
	if p.uid != "" || !ok {
		return p.uid
	}
	network, err := parseNetwork(pod)
	if err != nil {
		return ""
	}
	var annotated []netip.Addr
	for _, a := range network.Addresses {
		annotated = append(annotated, a.Addr())
	}
	if !sameSet(annotated, p.Addresses, netip.Addr.Compare) {
		return ""
	}
	return pod.UID
}

// adopt lets the store know rows that are in the database and tells whether it took them. If it did not, it will refuse them
// again when their owner's turn comes, and the user is told then.
func (e *engine) adopt(owner nbstate.Owner, rows nbstate.Desired) bool {
	if err := e.set(owner, rows); err != nil {
		klog.ErrorS(err, "Rows of a former master cannot be kept", "owner", owner.String())
		return false
	}
	return true
}

// readopt lets a pod keep the addresses of its port or, when that makes no sense, those of its annotation. Addresses of a
// left-over port, whose pod is nil, or of one that makes no sense, are held until the port is gone; then it returns nil.
func (e *engine) readopt(n *nodeState, p observedPort, pod *kube.Pod) *attachment {
	if pod != nil {
		a, err := e.ledger.attach(n, p.key, p.uid, &p.Attachment)
		if err == nil {
			return a
		}
		klog.InfoS("Port's addresses cannot be kept", "pod", p.key, "addresses", p.Addresses, "err", err.Error())
		if a, err = e.claimAnnotated(pod, n); err == nil {
			return a
		}
	}
	e.release(e.ledger.occupy(n, p.key, p.uid, p.Addresses))
	if h := e.held[podOwner(p.key)]; h != nil && pod == nil {
		h.inherited = true
	}
	return nil
}

func olderPod(a, b *kube.Pod) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Key(), b.Key()))
}

func olderNode(a, b *kube.Node) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
}
