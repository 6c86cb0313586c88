package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

// Databases are the metrics of connections to OVSDB servers, labelled with the database's name. They are an ovsdb.Observer.
type Databases struct {
	connections     *prometheus.GaugeVec
	connects, fails *prometheus.CounterVec
	duration        *prometheus.HistogramVec
	unanswered      *prometheus.CounterVec
}

var _ ovsdb.Observer = &Databases{}

// NewDatabases makes the metrics, named prefix_ovsdb_*, and registers them; registerer may be nil.
func NewDatabases(prefix string, registerer prometheus.Registerer) *Databases {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: prefix, Subsystem: "ovsdb", Name: name, Help: help}, labels)
	}
	m := &Databases{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: prefix, Subsystem: "ovsdb", Name: "connections",
			Help: "Connections to the database that there are now."}, []string{"database"}),
		connects: counter("connects_total", "Connections made; each but the first is a reconnect.", "database"),
		fails:    counter("connect_failures_total", "How often none of the database's endpoints could be used.", "database"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: prefix, Subsystem: "ovsdb", Name: "request_duration_seconds",
			Help:    "Round trips: from sending a request to its answer, by method (transact, or echo for probes).",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 17)}, []string{"database", "method"}),
		unanswered: counter("requests_unanswered_total", "Requests that had no answer: the connection was lost, or the time was up.", "database", "method"),
	}
	if registerer != nil {
		registerer.MustRegister(m.connections, m.connects, m.fails, m.duration, m.unanswered)
	}
	return m
}

// Connected implements ovsdb.Observer, as the methods below do.
func (m *Databases) Connected(database string) {
	m.connections.WithLabelValues(database).Inc()
	m.connects.WithLabelValues(database).Inc()
}

// Lost counts a connection less.
func (m *Databases) Lost(database string) { m.connections.WithLabelValues(database).Dec() }

// Failed counts a round over all endpoints in vain. From the first one on there is a series that says that there is no connection.
func (m *Databases) Failed(database string) {
	m.connections.WithLabelValues(database)
	m.fails.WithLabelValues(database).Inc()
}

// Answered observes a round trip.
func (m *Databases) Answered(database, method string, took time.Duration, ok bool) {
	if !ok {
		m.unanswered.WithLabelValues(database, method).Inc()
		return
	}
	m.duration.WithLabelValues(database, method).Observe(took.Seconds())
}
