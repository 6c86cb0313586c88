package master

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ipam"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	podrows "github.com/ovnkube/ovnkube/go-controller/pkg/translate/pod"
)

func podOwner(key string) nbstate.Owner { return nbstate.Owner{Kind: names.OwnerPod, Name: key} }

// needsPort tells whether a pod is to be on the cluster network.
func needsPort(p *kube.Pod) bool { return p.Node != "" && !p.HostNetwork && !p.Finished }

// reconcilePod makes a pod's addresses, port and annotation as they should be.
func (e *engine) reconcilePod(name string) error {
	pod, exists := e.pods.Get(name)
	has := e.ledger.pods[name]
	if !exists || !needsPort(pod) {
		e.policy.podGone(name)
		e.podLeft(name, has)
		return nil
	}
	e.policy.pod(pod)
	n := e.ledger.nodes[pod.Node]
	if has != nil && (has.uid != pod.UID || has.node != pod.Node) {
		// Another pod of the same name. Its port replaces the old one; if it cannot have one yet, the old one goes.
		e.replaceAttachment(has, pod)
		has = nil
	}
	if n == nil || n.leaving {
		if has != nil {
			e.release(has)
		}
		e.tellBlocked(pod)
		e.wait(pod.Node, name)
		return nil
	}
	e.complaints.settled(key{podKey, name}, reasonNodeBlocked)
	if h := e.held[podOwner(name)]; h != nil && h.inherited {
		return nil // Its turn comes again when the former port has gone.
	}
	if has == nil {
		var err error
		if has, err = e.attachPod(pod, n); err != nil {
			return nil // Told; it waits for an address.
		}
	}
	if has.refused != "" && pod.Network == has.refused && !has.written {
		// Without a port the node's agent does not finish by what the annotation says now: the pod would be known by addresses that its
		// author has chosen.
		e.annotatePod(pod, has, n)
		return nil
	}
	if err := e.writePort(pod, has); err != nil {
		return err
	}
	e.annotatePod(pod, has, n)
	return nil
}

// podLeft takes what a pod had away that is gone, has finished or never needed it.
func (e *engine) podLeft(name string, has *attachment) {
	k := key{podKey, name}
	e.annotator.forget(k)
	e.complaints.forget(k)
	e.firstSeen.Delete(name)
	e.unwait(name)
	if has != nil {
		e.release(has)
	}
}

// release gives up an attachment: its port is deleted, and its addresses are freed when the
// database has confirmed that.
func (e *engine) release(a *attachment) {
	e.ledger.detach(a)
	e.hold(podOwner(a.key), e.remove(podOwner(a.key)), a)
}

// replaceAttachment gives up an attachment in favour of another pod of the same name.
func (e *engine) replaceAttachment(old *attachment, pod *kube.Pod) {
	klog.V(2).InfoS("Pod of the same name was created again", "pod", old.key, "old", old.uid, "new", pod.UID)
	e.annotator.forget(key{podKey, old.key})
	e.release(old)
}

// hold keeps the addresses of a detached attachment taken until the database has reached generation.
func (e *engine) hold(owner nbstate.Owner, generation uint64, a *attachment) {
	h := e.held[owner]
	if generation == 0 && h == nil {
		e.freeAddresses(a)
		return
	}
	if h == nil {
		h = &heldAddresses{}
		e.held[owner] = h
	}
	h.generation = max(h.generation, generation)
	h.attachments = append(h.attachments, a)
}

// takeBack returns a pod to the addresses that it held before its node went, when they are not free yet.
func (e *engine) takeBack(pod *kube.Pod, n *nodeState) *attachment {
	h := e.held[podOwner(pod.Key())]
	if h == nil {
		return nil
	}
	i := slices.IndexFunc(h.attachments, func(a *attachment) bool { return a.uid == pod.UID && a.node == n.name && !a.occupied })
	if i < 0 {
		return nil
	}
	a := h.attachments[i]
	h.attachments = slices.Delete(h.attachments, i, i+1)
	e.ledger.reattach(n, a)
	return a
}

// freeAddresses gives addresses back and lets those try who wait for them.
func (e *engine) freeAddresses(a *attachment) {
	e.ledger.free(a)
	e.metrics.podAddresses.Sub(float64(len(a.Addresses)))
	n := e.ledger.nodes[a.node]
	if n == nil {
		return
	}
	if n.leaving {
		e.dropNode(n)
		return
	}
	e.metrics.usage(n)
	e.wakeWaiting(a.node)
}

// attachPod gives a pod addresses: those of its annotation when they can be had, else new ones.
func (e *engine) attachPod(pod *kube.Pod, n *nodeState) (*attachment, error) {
	k := key{podKey, pod.Key()}
	if a := e.takeBack(pod, n); a != nil {
		e.unwait(k.name)
		return a, nil
	}
	if pod.Network != "" {
		a, err := e.claimAnnotated(pod, n)
		if err == nil {
			e.attached(k, a)
			return a, nil
		}
		e.complain(k, pod.Ref(), reasonAddressReplaced,
			fmt.Sprintf("annotation %s cannot be used and is replaced: %v", names.PodNetworksAnnotation, err))
	}
	a, err := e.ledger.attach(n, k.name, pod.UID, nil)
	if err != nil {
		if errors.Is(err, ipam.ErrExhausted) {
			e.complain(k, pod.Ref(), reasonNoAddress, fmt.Sprintf("node %s has no free address: %v; the pod waits for one", n.name, err))
		}
		e.metrics.exhausted.Inc()
		e.wait(n.name, k.name)
		return nil, err
	}
	a.refused = pod.Network
	e.attached(k, a)
	return a, nil
}

func (e *engine) attached(k key, a *attachment) {
	e.unwait(k.name)
	e.metrics.podAddresses.Add(float64(len(a.Addresses)))
	e.metrics.usage(e.ledger.nodes[a.node])
	klog.V(4).InfoS("Pod has addresses", "pod", k.name, "node", a.node, "addresses", a.Addresses)
}

// claimAnnotated takes the addresses of the pod's annotation.
func (e *engine) claimAnnotated(pod *kube.Pod, n *nodeState) (*attachment, error) {
	network, err := parseNetwork(pod)
	if err != nil {
		return nil, err
	}
	wanted := podrows.Attachment{MAC: network.MAC}
	for _, p := range network.Addresses {
		wanted.Addresses = append(wanted.Addresses, p.Addr())
	}
	return e.ledger.attach(n, pod.Key(), pod.UID, &wanted)
}

func parseNetwork(pod *kube.Pod) (annotations.PodNetwork, error) {
	return annotations.ParsePodNetwork(map[string]string{names.PodNetworksAnnotation: pod.Network})
}

// writePort hands in the pod's port together with what the pod is to network policies, so that it is never reachable without them. The port
// depends on nothing that changes later, its memberships do.
func (e *engine) writePort(pod *kube.Pod, a *attachment) error {
	members := e.policy.membership(a.key).Members(pod.Namespace, names.PodLogicalPort(pod.Namespace, pod.Name), a.Addresses)
	if a.written && slices.Equal(a.members, members) {
		return nil
	}
	rows := podrows.Rows(pod, a.Attachment)
	rows.Members = append(rows.Members, members...)
	members = rows.Members[len(rows.Members)-len(members):]
	if err := e.set(podOwner(a.key), rows); err != nil {
		e.complain(key{podKey, a.key}, pod.Ref(), reasonNorthboundFailed, err.Error())
		return err
	}
	a.written, a.members = true, members
	return nil
}

// annotatePod writes what was allocated. An annotation that says something else is put right.
func (e *engine) annotatePod(pod *kube.Pod, a *attachment, n *nodeState) {
	k := key{podKey, a.key}
	want := podrows.Network(a.Attachment, n.subnets, addr.Router)
	if pod.Network == "" {
		e.annotator.want(k, pod.Ref(), map[string]string{names.PodNetworksAnnotation: annotations.FormatPodNetwork(want)})
		return
	}
	text := annotations.FormatPodNetwork(want)
	if pod.Network == text {
		e.annotator.forget(k)
		e.complaints.settled(k, reasonAddressReplaced)
		e.firstSeen.Delete(a.key)
		return
	}
	has, err := parseNetwork(pod)
	if err == nil && sameNetwork(has, want) {
		e.annotator.forget(k) // The same in other words, or with more routes: another master's.
		return
	}
	if pod.Network == a.refused {
		e.annotator.want(k, pod.Ref(), map[string]string{names.PodNetworksAnnotation: text})
		return // Told already.
	}
	e.complain(k, pod.Ref(), reasonAddressReplaced,
		fmt.Sprintf("annotation %s does not say what the pod was given (%v): put right", names.PodNetworksAnnotation, a.Addresses))
	e.annotator.want(k, pod.Ref(), map[string]string{names.PodNetworksAnnotation: text})
}

func sameNetwork(a, b annotations.PodNetwork) bool {
	return bytes.Equal(a.MAC, b.MAC) && sameSet(a.Addresses, b.Addresses, netip.Prefix.Compare) &&
		sameSet(a.Gateways, b.Gateways, netip.Addr.Compare)
}

func sameSet[T comparable](a, b []T, compare func(T, T) int) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, compare)
	slices.SortFunc(b, compare)
	return slices.Equal(a, b)
}
