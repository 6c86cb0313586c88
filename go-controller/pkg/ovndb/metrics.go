package ovndb

import "github.com/prometheus/client_golang/prometheus"

// metrics of a member.
type metrics struct {
	ready, leader, term, members, bytes prometheus.Gauge
	restarts, compactions               prometheus.Counter
}

// newMetrics makes the metrics and registers them; registerer may be nil.
func newMetrics(registerer prometheus.Registerer, k Kind) *metrics {
	labels := prometheus.Labels{"database": k.Database}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "ovnkube_db", Name: name, Help: help, ConstLabels: labels})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "ovnkube_db", Name: name, Help: help, ConstLabels: labels})
	}
	m := &metrics{
		ready:       gauge("ready", "1 while the member serves and, in a cluster, knows a leader."),
		leader:      gauge("leader", "1 while the member leads its cluster."),
		term:        gauge("term", "The cluster's term: it grows with each election."),
		members:     gauge("members", "Members that the cluster counts."),
		bytes:       gauge("file_bytes", "Size of the database's file."),
		restarts:    counter("restarts_total", "How often the database server ended and was started again."),
		compactions: counter("compactions_total", "Compactions that were asked for."),
	}
	if registerer != nil {
		registerer.MustRegister(m.ready, m.leader, m.term, m.members, m.bytes, m.restarts, m.compactions)
	}
	return m
}

func (m *metrics) observe(s Status, ready bool) {
	m.ready.Set(number(ready))
	m.leader.Set(number(s.Leads()))
	m.term.Set(float64(s.Term))
	m.members.Set(float64(len(s.Servers)))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
