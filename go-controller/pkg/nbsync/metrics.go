package nbsync

import "github.com/prometheus/client_golang/prometheus"

// Results of transactions, as label values.
const (
	resultCommitted = "committed"
	resultRefused   = "refused"
	resultFenced    = "fenced"
	resultUnknown   = "unknown"
	resultTransient = "transient"
)

// Metrics of Syncers. A process that leads more than once has one for all of its Syncers.
type Metrics struct {
	transactions *prometheus.CounterVec
	operations   prometheus.Histogram
	batchOwners  prometheus.Histogram
	duration     prometheus.Histogram
	owners       *prometheus.GaugeVec
	audits       prometheus.Counter
	repairs      prometheus.Counter
}

// NewMetrics makes the metrics, named ovnkube_nb_*, and registers them; registerer may be nil.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	const namespace, subsystem = "ovnkube", "nb"
	name := func(n, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: namespace, Subsystem: subsystem, Name: n, Help: help}
	}
	histogram := func(n, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Subsystem: subsystem, Name: n, Help: help, Buckets: buckets})
	}
	counter := func(n, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(name(n, help)))
	}
	m := &Metrics{
		transactions: prometheus.NewCounterVec(prometheus.CounterOpts(name("transactions_total", "Transactions sent to the northbound database, by result.")), []string{"result"}),
		operations:   histogram("transaction_operations", "Operations in one committed northbound transaction.", prometheus.ExponentialBuckets(1, 4, 9)),
		batchOwners:  histogram("transaction_owners", "Owners whose changes went into one northbound transaction.", prometheus.ExponentialBuckets(1, 4, 7)),
		duration:     histogram("transaction_duration_seconds", "Time from sending a northbound transaction to its reply.", prometheus.ExponentialBuckets(0.001, 2, 14)),
		owners:       prometheus.NewGaugeVec(prometheus.GaugeOpts(name("owners", "Owners whose desired state is not in the northbound database, by state: queued, waiting for other rows, failing.")), []string{"state"}),
		audits:       counter("audits_total", "Full comparisons of desired state and northbound database."),
		repairs:      counter("audit_repairs_total", "Owners for which a full comparison found something to repair."),
	}
	for _, result := range []string{resultCommitted, resultRefused, resultFenced, resultUnknown, resultTransient} {
		m.transactions.WithLabelValues(result)
	}
	if registerer != nil {
		registerer.MustRegister(m.transactions, m.operations, m.batchOwners, m.duration, m.owners, m.audits, m.repairs)
	}
	return m
}
