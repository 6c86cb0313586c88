package master

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
	"github.com/ovnkube/ovnkube/go-controller/pkg/telemetry"
)

// metricsPrefix of all metrics of the master.
const metricsPrefix = "ovnkube_master"

// metrics of the master.
type metrics struct {
	leader        prometheus.Gauge
	podsAnnotated prometheus.Counter
	podLatency    prometheus.Histogram
	podAddresses  prometheus.Gauge
	waitingPods   prometheus.Gauge
	blockedNodes  prometheus.Gauge
	exhausted     prometheus.Counter
	writeFailures *prometheus.CounterVec
	staleChassis  prometheus.Counter
	subnetsTaken  *prometheus.GaugeVec
	subnetsTotal  *prometheus.GaugeVec
	stalled       prometheus.Gauge
	programming   *prometheus.HistogramVec
	nodeUsed      *prometheus.GaugeVec
	nodeCapacity  *prometheus.GaugeVec
	queues        *kube.QueueMetrics
	databases     *telemetry.Databases
	northbound    *nbsync.Metrics
}

// newMetrics makes the metrics and registers them; registerer may be nil.
func newMetrics(registerer prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: metricsPrefix, Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: metricsPrefix, Name: name, Help: help})
	}
	family := []string{"family"}
	m := &metrics{
		leader:        gauge("leader", "1 while this replica leads; 0 also while it cannot renew its Lease."),
		podsAnnotated: counter("pods_annotated_total", "Pod annotations written."),
		podLatency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: metricsPrefix, Name: "pod_annotation_latency_seconds",
			Help:    "From a pod being seen on a node to its annotation being written.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}),
		podAddresses: gauge("pod_addresses", "Addresses that pods hold, or whose former ports still exist."),
		waitingPods:  gauge("waiting_pods", "Pods that wait for their node to be connected or for an address."),
		blockedNodes: gauge("blocked_nodes", "Nodes that cannot have subnets: exhausted pools or an unusable annotation."),
		exhausted:    counter("pod_addresses_exhausted_total", "How often a pod found no free address on its node."),
		writeFailures: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricsPrefix, Name: "northbound_refusals_total",
			Help: "How often the northbound database refused the rows of an object."}, []string{"kind"}),
		staleChassis: counter("stale_chassis_deleted_total", "Chassis of former nodes deleted from the southbound database."),
		subnetsTaken: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: metricsPrefix, Name: "allocated_node_subnets",
			Help: "Node subnets in use."}, family),
		subnetsTotal: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: metricsPrefix, Name: "node_subnets",
			Help: "Node subnets that the pools hold."}, family),
		stalled:    gauge("northbound_unanswered_seconds", "How long the northbound database has not answered this leader; 0 while it does."),
		queues:     kube.NewQueueMetrics(metricsPrefix, registerer),
		databases:  telemetry.NewDatabases(metricsPrefix, registerer),
		northbound: nbsync.NewMetrics(registerer),
	}
	m.addVectors()
	if registerer != nil {
		registerer.MustRegister(m.leader, m.podsAnnotated, m.podLatency, m.podAddresses, m.waitingPods, m.blockedNodes,
			m.exhausted, m.writeFailures, m.staleChassis, m.subnetsTaken, m.subnetsTotal, m.stalled,
			m.programming, m.nodeUsed, m.nodeCapacity)
	}
	return m
}

// addVectors adds what has a series for each kind of object or each node.
func (m *metrics) addVectors() {
	perNode := []string{"node", "family"}
	m.programming = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: metricsPrefix, Name: "programming_duration_seconds",
		Help:    "From the first event about an object to the commit of its rows, by kind: pods that are new on a node, services with their endpoints, network policies.",
		Buckets: prometheus.ExponentialBuckets(0.002, 2, 16),
	}, []string{"kind"})
	m.nodeUsed = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: metricsPrefix, Name: "node_pod_addresses",
		Help: "Addresses of a node's subnet that pods hold, or whose former ports still exist.",
	}, perNode)
	m.nodeCapacity = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: metricsPrefix, Name: "node_pod_addresses_capacity",
		Help: "Addresses for pods that a node's subnet has.",
	}, perNode)
	for _, kind := range []string{names.OwnerPod, names.OwnerService, names.OwnerNetworkPolicy} {
		m.programming.WithLabelValues(kind)
	}
}

func familyOf(v4 bool) string {
	if v4 {
		return "IPv4"
	}
	return "IPv6"
}

func (m *metrics) subnets(v4 bool, taken, total uint64) {
	family := familyOf(v4)
	m.subnetsTaken.WithLabelValues(family).Set(float64(taken))
	m.subnetsTotal.WithLabelValues(family).Set(float64(total))
}

// usage shows how full a node's subnets are.
func (m *metrics) usage(n *nodeState) {
	for _, p := range n.pools {
		taken, _ := p.Usage()
		m.nodeUsed.WithLabelValues(n.name, familyOf(p.Subnet().Addr().Is4())).Set(float64(taken))
	}
}

// nodeAdmitted shows a node's subnets, nodeDropped ends that.
func (m *metrics) nodeAdmitted(n *nodeState) {
	for _, p := range n.pools {
		_, total := p.Usage()
		m.nodeCapacity.WithLabelValues(n.name, familyOf(p.Subnet().Addr().Is4())).Set(float64(total))
	}
	m.usage(n)
}

func (m *metrics) nodeDropped(n *nodeState) {
	for _, p := range n.pools {
		family := familyOf(p.Subnet().Addr().Is4())
		m.nodeUsed.DeleteLabelValues(n.name, family)
		m.nodeCapacity.DeleteLabelValues(n.name, family)
	}
}
