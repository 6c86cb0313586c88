package node

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/reconcile"
)

// metricsPrefix of all metrics of the node agent.
const metricsPrefix = "ovnkube_node"

// collector shows the loops' counts as metrics.
type collector struct {
	loops []*reconcile.Loop
	// integration returns the integration bridge's external_ids, nil while they are not known.
	integration func() map[string]string

	configuration, timestamp *prometheus.Desc

	inPlace *prometheus.Desc
	runs    *prometheus.Desc
	failed  *prometheus.Desc
}

func newCollector(l []*reconcile.Loop, integration func() map[string]string) *collector {
	what := []string{"what"}
	return &collector{
		loops: l, integration: integration,
		configuration: prometheus.NewDesc(metricsPrefix+"_ovn_configuration",
			"Number of the configuration (nb_cfg) that the node's ovn-controller has put into flows.", nil, nil),
		timestamp: prometheus.NewDesc(metricsPrefix+"_ovn_configuration_timestamp_seconds",
			"When that was, in seconds since 1970; 0: never.", nil, nil),
		inPlace: prometheus.NewDesc(metricsPrefix+"_in_place",
			"Whether a kind of host object is as it should be (1) or not (0); readiness stands for all.", what, nil),
		runs: prometheus.NewDesc(metricsPrefix+"_reconciliations_total",
			"How often a kind of host object was compared with what it should be.", what, nil),
		failed: prometheus.NewDesc(metricsPrefix+"_reconciliation_failures_total",
			"How often a kind of host object could not be brought to what it should be.", what, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	out <- c.inPlace
	out <- c.runs
	out <- c.failed
	out <- c.configuration
	out <- c.timestamp
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
	ids := c.integration()
	number := func(key string) float64 {
		n, err := strconv.ParseUint(ids[key], 10, 64)
		if err != nil {
			return 0 // ovn-controller has not written it
		}
		return float64(n)
	}
	out <- prometheus.MustNewConstMetric(c.configuration, prometheus.GaugeValue, number(names.OVNConfiguration))
	out <- prometheus.MustNewConstMetric(c.timestamp, prometheus.GaugeValue, number(names.OVNConfigurationTime)/1000)
}
