package cni

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// buckets reach from a millisecond to two minutes, the limit of ADD.
var buckets = []float64{.001, .0025, .005, .01, .02, .04, .07, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}

// metrics of the CNI server.
type metrics struct {
	requests *prometheus.HistogramVec
	stages   *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "ovnkube", Subsystem: "node", Name: "cni_request_duration_seconds",
			Help:    "Time the node agent took for CNI requests, by command and result (ok, error, cancelled).",
			Buckets: buckets,
		}, []string{"command", "result"}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "ovnkube", Subsystem: "node", Name: "cni_stage_duration_seconds",
			Help:    "Time of the stages of CNI requests, by command and stage. configure runs beside port and flows.",
			Buckets: buckets,
		}, []string{"command", "stage"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "ovnkube", Subsystem: "node", Name: "cni_requests_in_flight",
			Help: "CNI requests that are being worked on.",
		}),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.requests), r.Register(m.stages), r.Register(m.inFlight))
}

// stages are the times that the parts of one request took.
type stages struct {
	mu    sync.Mutex
	names []stage
	times map[stage]time.Duration
}

func newStages() *stages { return &stages{times: map[stage]time.Duration{}} }

// time runs f and adds its time to the stage.
func (t *stages) time(s stage, f func() error) error {
	begin := time.Now()
	err := f()
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.times[s]; !ok {
		t.names = append(t.names, s)
	}
	t.times[s] += time.Since(begin)
	return err
}

// each calls f for each stage in the order of their ends.
func (t *stages) each(f func(s stage, d time.Duration)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.names {
		f(s, t.times[s])
	}
}
