package master

import (
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

func TestPodOnABlockedNodeIsToldOnce(t *testing.T) {
	for name, podFirst := range map[string]bool{"pod first": true, "node first": false} {
		t.Run(name, func(t *testing.T) {
			h := newTest(t, "10.128.0.0/23/24")
			h.addNode("a")
			h.addNode("b")
			h.start()
			h.settle()
			if podFirst {
				h.addPod("p", "c")
				h.settle()
				h.wantEvents() // A node that is not there, or not yet connected, is nothing to complain about.
			}
			h.addNode("c")
			h.settle()
			if !podFirst {
				h.addPod("p", "c")
				h.settle()
			}
			h.wantEvents("NodeSubnetsExhausted c", "NodeHasNoPodNetwork ns/p")
			h.annotateNode("c", map[string]string{"some": "change"})
			h.changePod("p", func(p *kube.Pod) { p.Network = "{" })
			h.settle()
			h.wantEvents()
			h.annotateNode("c", map[string]string{names.NodeSubnetsAnnotation: "x"})
			h.settle()
			h.wantEvents("InvalidNodeSubnets c", "NodeHasNoPodNetwork ns/p") // Another reason is news.
			h.annotateNode("c", map[string]string{names.NodeSubnetsAnnotation: ""})
			h.changePod("p", func(p *kube.Pod) { p.Network = "" })
			h.nodes.Remove("b")
			h.settle()
			if h.addressOf("p") == "none" {
				t.Error("p is not served although its node is connected")
			}
		})
	}
}
