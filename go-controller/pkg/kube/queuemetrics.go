package kube

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/workqueue"
)

// QueueMetrics are the metrics of workers' queues, labelled with the worker's name.
type QueueMetrics struct {
	depth, unfinished, longest *prometheus.GaugeVec
	adds, retries              *prometheus.CounterVec
	latency, duration          *prometheus.HistogramVec
}

// NewQueueMetrics makes the metrics, named prefix_workqueue_*, and registers them; registerer may be nil.
func NewQueueMetrics(prefix string, registerer prometheus.Registerer) *QueueMetrics {
	labels := []string{"name"}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: prefix, Subsystem: "workqueue", Name: name, Help: help}, labels)
	}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: prefix, Subsystem: "workqueue", Name: name, Help: help}, labels)
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: prefix, Subsystem: "workqueue", Name: name, Help: help,
			Buckets: prometheus.ExponentialBuckets(1e-5, 10, 8)}, labels)
	}
	m := &QueueMetrics{
		depth:      gauge("depth", "Keys that wait."),
		unfinished: gauge("unfinished_work_seconds", "Seconds of work in progress."),
		longest:    gauge("longest_running_processor_seconds", "Age of the oldest work in progress."),
		adds:       counter("adds_total", "Keys added."),
		retries:    counter("retries_total", "Keys added again after a failure."),
		latency:    histogram("queue_duration_seconds", "How long a key waited."),
		duration:   histogram("work_duration_seconds", "How long the work on a key took."),
	}
	if registerer != nil {
		registerer.MustRegister(m.depth, m.unfinished, m.longest, m.adds, m.retries, m.latency, m.duration)
	}
	return m
}

var _ workqueue.MetricsProvider = &QueueMetrics{}

// NewDepthMetric implements workqueue.MetricsProvider, as the methods below do.
func (m *QueueMetrics) NewDepthMetric(name string) workqueue.GaugeMetric {
	return m.depth.WithLabelValues(name)
}

// NewAddsMetric counts additions.
func (m *QueueMetrics) NewAddsMetric(name string) workqueue.CounterMetric {
	return m.adds.WithLabelValues(name)
}

// NewLatencyMetric observes waiting times.
func (m *QueueMetrics) NewLatencyMetric(name string) workqueue.HistogramMetric {
	return m.latency.WithLabelValues(name)
}

// NewWorkDurationMetric observes working times.
func (m *QueueMetrics) NewWorkDurationMetric(name string) workqueue.HistogramMetric {
	return m.duration.WithLabelValues(name)
}

// NewUnfinishedWorkSecondsMetric sums the age of work in progress.
func (m *QueueMetrics) NewUnfinishedWorkSecondsMetric(name string) workqueue.SettableGaugeMetric {
	return m.unfinished.WithLabelValues(name)
}

// NewLongestRunningProcessorSecondsMetric is the age of the oldest work in progress.
func (m *QueueMetrics) NewLongestRunningProcessorSecondsMetric(name string) workqueue.SettableGaugeMetric {
	return m.longest.WithLabelValues(name)
}

// NewRetriesMetric counts retries.
func (m *QueueMetrics) NewRetriesMetric(name string) workqueue.CounterMetric {
	return m.retries.WithLabelValues(name)
}
