//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/test/lab/plan"
)

func testNodeAddedAndRemoved(e *env) {
	old := e.Nodes()
	node := plan.NodeName(len(old) + 1)
	peers := e.startAll(newPod(e.ns, "peer-0", onNode(old[0])), newPod(e.ns, "peer-1", onNode(old[1])))
	before := e.mustCensus()
	e.Cleanup(func() {
		if slices.Contains(e.Nodes(), node) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), 20*time.Second)
			defer cancel()
			if err := e.RemoveNode(ctx, node); err != nil {
				e.Error(err)
			}
		}
	})
	var subnets [][]netip.Prefix
	for round := range 2 {
		began := time.Now()
		e.must(e.AddNode(e.ctx, node))
		e.must(e.WaitNodesReady(e.ctx, node))
		ready := time.Since(began)
		subnets = append(subnets, e.subnets(node))
		name := fmt.Sprintf("new-%d", round)
		pods := e.startAll(newPod(e.ns, name, onNode(node)), newPod(e.ns, name+"-host", onNode(node), hostNetwork))
		for _, peer := range peers {
			for _, proto := range []string{icmp, tcp} {
				e.mustReach(pods[0], peer, proto, httpPort)
				e.mustReach(peer, pods[0], proto, httpPort)
			}
			e.mustReach(peer, pods[1], tcp, hostHTTPPort)
		}
		e.mustReach(e.machine(old[0]), pods[0], tcp, httpPort)
		for _, n := range append(old, node) {
			e.checkTunnels(n, parseShow(e.on(n, "ovs-vsctl", "show"))["br-int"])
		}
		e.checkManagementPort(node)
		e.measured("node added: Ready after %.1f s, a pod on it talks to others after %.1f s", ready.Seconds(), time.Since(began).Seconds())
		e.removeNode(node, name, name+"-host")
		took := e.eventually(func() error {
			now, err := e.takeCensus()
			if err != nil {
				return err
			}
			if d := now.Diff(before); d != "" {
				return errors.New(d)
			}
			return nil
		})
		for _, n := range old {
			e.checkTunnels(n, parseShow(e.on(n, "ovs-vsctl", "show"))["br-int"])
		}
		e.measured("node removed: rows, chassis and tunnels gone %.1f s after its Node object", took.Seconds())
		e.mustReach(peers[0], peers[1], tcp, httpPort)
	}
	if !slices.Equal(subnets[0], subnets[1]) {
		e.Errorf("a node that came, went and came again had %v, now has %v: the subnet was not freed", subnets[0], subnets[1])
	}
}

// removeNode removes a node with pods on it, and then the pods: their kubelet is gone, and the garbage
// collector takes its time.
func (e *env) removeNode(node string, pods ...string) {
	e.Helper()
	e.must(e.RemoveNode(e.ctx, node))
	now := int64(0)
	for _, p := range pods {
		err := e.client.CoreV1().Pods(e.ns).Delete(e.ctx, p, metav1.DeleteOptions{GracePeriodSeconds: &now})
		if err != nil && e.seen.pod(e.ns, p) != nil {
			e.Error(err)
		}
	}
	e.gone(pods...)
}
