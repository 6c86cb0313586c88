package master

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// configurationColumns of NB_Global say how far OVN has got: ovn-nb(5), "Status". They change when somebody asks (ovn-nbctl --wait), not with
// each change of the network.
func configurationColumns() []string {
	return []string{"nb_cfg", "nb_cfg_timestamp", "sb_cfg", "sb_cfg_timestamp", "hv_cfg", "hv_cfg_timestamp"}
}

// watchConfiguration adds them to what is copied of the northbound database.
func watchConfiguration(o *ovsdb.Options) {
	for i := range o.Monitors {
		if o.Monitors[i].Table == nbdb.NBGlobalTable {
			o.Monitors[i].Columns = append(o.Monitors[i].Columns, configurationColumns()...)
		}
	}
}

// configuration collects them. global returns the row, an empty one while it is not known.
type configuration struct {
	global    func() *nbdb.NBGlobal
	reached   *prometheus.Desc
	timestamp *prometheus.Desc
}

func newConfiguration(global func() *nbdb.NBGlobal) *configuration {
	stage := []string{"stage"}
	return &configuration{
		global: global,
		reached: prometheus.NewDesc(metricsPrefix+"_ovn_configuration",
			"Number of the configuration (nb_cfg) that was asked for (northbound), that ovn-northd has written (southbound), and that all nodes have (hypervisors).", stage, nil),
		timestamp: prometheus.NewDesc(metricsPrefix+"_ovn_configuration_timestamp_seconds",
			"When that number was reached, in seconds since 1970; 0: never.", stage, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *configuration) Describe(out chan<- *prometheus.Desc) {
	out <- c.reached
	out <- c.timestamp
}

// Collect implements prometheus.Collector.
func (c *configuration) Collect(out chan<- prometheus.Metric) {
	g := c.global()
	for _, s := range []struct {
		stage            string
		number, atMillis int
	}{
		{"northbound", g.NbCfg, g.NbCfgTimestamp},
		{"southbound", g.SbCfg, g.SbCfgTimestamp},
		{"hypervisors", g.HvCfg, g.HvCfgTimestamp},
	} {
		out <- prometheus.MustNewConstMetric(c.reached, prometheus.GaugeValue, float64(s.number), s.stage)
		out <- prometheus.MustNewConstMetric(c.timestamp, prometheus.GaugeValue, float64(s.atMillis)/1000, s.stage)
	}
}

// global returns the row of NB_Global, an empty one while there is none.
func (m *Master) global() *nbdb.NBGlobal {
	if nb := m.nb.Load(); nb != nil {
		for _, row := range ovsdb.Rows[nbdb.NBGlobal](nb) {
			return row
		}
	}
	return &nbdb.NBGlobal{}
}
