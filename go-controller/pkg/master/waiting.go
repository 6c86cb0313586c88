package master

import (
	"fmt"
	"slices"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

// block remembers a node that cannot be connected, and why. The pods that wait for it are told.
func (e *engine) block(node, reason string) {
	if e.blocked[node] != reason {
		e.blocked[node] = reason
		e.wakeWaiting(node)
	}
}

// tellBlocked tells a pod's user, once, that and why its node keeps it waiting. A node that is only about to be connected is
// not worth an Event.
func (e *engine) tellBlocked(pod *kube.Pod) {
	reason, blocked := e.blocked[pod.Node]
	if !blocked {
		return
	}
	e.complain(key{podKey, pod.Key()}, pod.Ref(), reasonNodeBlocked,
		fmt.Sprintf("node %[1]s has no pod network (%[2]s): the pod waits until it has; \"kubectl describe node %[1]s\" says what is wrong", pod.Node, reason))
}

// wait remembers that a pod cannot be served before something happens on its node.
func (e *engine) wait(node, pod string) {
	e.waiting.add(node, pod)
	e.metrics.waitingPods.Set(float64(e.waiting.len()))
}

func (e *engine) unwait(pod string) {
	e.waiting.remove(pod)
	e.metrics.waitingPods.Set(float64(e.waiting.len()))
}

// wakeWaiting lets the pods that wait for a node try again, the oldest first.
func (e *engine) wakeWaiting(node string) {
	var pods []*kube.Pod
	for name := range e.waiting.on(node) {
		if p, ok := e.pods.Get(name); ok {
			pods = append(pods, p)
		}
	}
	slices.SortFunc(pods, olderPod)
	for _, p := range pods {
		e.worker.Add(key{podKey, p.Key()})
	}
}
