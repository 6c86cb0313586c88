package nbsync

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Results of transactions, as label values.
const (
	resultCommitted = "committed"
	resultRefused   = "refused"
	resultFenced    = "fenced"
	resultUnknown   = "unknown"
	resultTransient = "transient"
)

type metrics struct {
	transactions *prometheus.CounterVec
	operations   prometheus.Counter
	batchOwners  prometheus.Histogram
	duration     prometheus.Histogram
	owners       *prometheus.GaugeVec
	audits       prometheus.Counter
	repairs      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
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
	m := &metrics{
		transactions: prometheus.NewCounterVec(prometheus.CounterOpts(name("transactions_total", "Transactions sent to the northbound database, by result.")), []string{"result"}),
		operations:   counter("operations_total", "Operations in committed northbound transactions."),
		batchOwners:  histogram("transaction_owners", "Owners whose changes went into one northbound transaction.", prometheus.ExponentialBuckets(1, 4, 7)),
		duration:     histogram("transaction_duration_seconds", "Time from sending a northbound transaction to its reply.", prometheus.ExponentialBuckets(0.001, 2, 14)),
		owners:       prometheus.NewGaugeVec(prometheus.GaugeOpts(name("owners", "Owners whose desired state is not in the northbound database, by state: queued, waiting for other rows, failing.")), []string{"state"}),
		audits:       counter("audits_total", "Full comparisons of desired state and northbound database."),
		repairs:      counter("audit_repairs_total", "Owners for which a full comparison found something to repair."),
	}
	for _, result := range []string{resultCommitted, resultRefused, resultFenced, resultUnknown, resultTransient} {
		m.transactions.WithLabelValues(result)
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(register(r, &m.transactions), register(r, &m.operations), register(r, &m.batchOwners),
		register(r, &m.duration), register(r, &m.owners), register(r, &m.audits), register(r, &m.repairs))
}

// register registers a metric, or takes the one that an earlier Syncer of this process has registered.
func register[C prometheus.Collector](r prometheus.Registerer, c *C) error {
	err := r.Register(*c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		existing, ok := already.ExistingCollector.(C)
		if !ok {
			return err
		}
		*c = existing
		return nil
	}
	return err
}
