package master

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// programmed is how often programming latency was observed: pods, services, policies.
func (h *harness) programmed() string {
	var out []any
	for _, kind := range []string{names.OwnerPod, names.OwnerService, names.OwnerNetworkPolicy} {
		observer := h.engine.metrics.programming.WithLabelValues(kind)
		var m dto.Metric
		if err := observer.(prometheus.Metric).Write(&m); err != nil {
			h.t.Fatalf("%v", err)
		}
		out = append(out, m.GetHistogram().GetSampleCount())
	}
	return fmt.Sprintf("%d %d %d", out...)
}

// What is measured is the way from an event to the database's answer: once for what is written, and not at all for events that lead to nothing.
func TestProgrammingLatency(t *testing.T) {
	h := newHarness(t, "10.128.0.0/14/23")
	h.addNode("n1")
	h.start()
	h.settle()
	h.want("at first", h.programmed(), "0 0 0")
	h.addPod("p", "n1")
	h.allocate()
	h.want("before the commit", h.programmed(), "0 0 0")
	h.settle()
	h.want("after it", h.programmed(), "1 0 0")
	h.changePod("p", func(p *kube.Pod) { p.Labels = map[string]string{"a": "b"} })
	h.settle()
	h.want("after a pod's change", h.programmed(), "1 0 0")

	h.putService("s", "172.30.0.7")
	h.putEndpoints("s", "10.128.0.9")
	h.settle()
	h.want("after two events about a service", h.programmed(), "1 1 0")
	h.putEndpoints("s", "10.128.0.9")
	h.settle()
	h.want("after an event that changes nothing", h.programmed(), "1 1 0")
	h.putPolicy("np", "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}")
	h.settle()
	h.want("after a policy", h.programmed(), "1 1 1")
	h.policies.Remove("ns/np")
	h.policies.Remove("ns/never")
	h.engine.policyChanged("ns/never", nil, nil)
	h.settle()
	h.want("after a policy's end, which is not measured", h.programmed(), "1 1 1")
	h.engine.unwritten.Range(func(owner, _ any) bool {
		t.Errorf("%v: an event is remembered that has been dealt with", owner)
		return true
	})
}

// Nodes' subnets show how full they are, and are shown no more when the node has gone.
func TestAddressUse(t *testing.T) {
	h := newHarness(t, "10.128.0.0/14/23", "fd00::/48/64")
	h.addNode("n1")
	h.addNode("n2")
	h.start()
	h.settle()
	for i := range 3 {
		h.addPod(fmt.Sprint("p", i), "n1")
	}
	h.settle()
	h.deletePod("p0")
	h.settle()
	used := func(node, family string) float64 {
		return testutil.ToFloat64(h.engine.metrics.nodeUsed.WithLabelValues(node, family))
	}
	if got := fmt.Sprint(used("n1", "IPv4"), used("n1", "IPv6"), used("n2", "IPv4")); got != "2 2 0" {
		t.Errorf("addresses in use: %s", got)
	}
	if got := testutil.ToFloat64(h.engine.metrics.nodeCapacity.WithLabelValues("n1", "IPv4")); got != 508 {
		t.Errorf("a /23 has %v addresses for pods, want 508", got)
	}
	h.nodes.Remove("n2")
	h.settle()
	if n := testutil.CollectAndCount(h.engine.metrics.nodeUsed) + testutil.CollectAndCount(h.engine.metrics.nodeCapacity); n != 4 {
		t.Errorf("%d series, want 4: one node's, of two families", n)
	}
}
