package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/reconcile"
)

// collector shows the loops' counts as metrics.
type collector struct {
	loops   []*reconcile.Loop
	inPlace *prometheus.Desc
	runs    *prometheus.Desc
	failed  *prometheus.Desc
}

func newCollector(l []*reconcile.Loop) *collector {
	what := []string{"what"}
	return &collector{
		loops: l,
		inPlace: prometheus.NewDesc("ovnkube_node_in_place",
			"Whether a kind of host object is as it should be (1) or not (0); readiness stands for all.", what, nil),
		runs: prometheus.NewDesc("ovnkube_node_reconciliations_total",
			"How often a kind of host object was compared with what it should be.", what, nil),
		failed: prometheus.NewDesc("ovnkube_node_reconciliation_failures_total",
			"How often a kind of host object could not be brought to what it should be.", what, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	out <- c.inPlace
	out <- c.runs
	out <- c.failed
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, l := range c.loops {
		s := l.Stats()
		inPlace := 0.0
		if s.InPlace {
			inPlace = 1
		}
		out <- prometheus.MustNewConstMetric(c.inPlace, prometheus.GaugeValue, inPlace, s.Name)
		out <- prometheus.MustNewConstMetric(c.runs, prometheus.CounterValue, float64(s.Done), s.Name)
		out <- prometheus.MustNewConstMetric(c.failed, prometheus.CounterValue, float64(s.Failed), s.Name)
	}
}
