package monitoring

import (
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"sigs.k8s.io/yaml"
)

// healthy is what Prometheus has of a cluster with two nodes: the last value of each series.
func healthy() map[string]float64 {
	out := map[string]float64{
		`ovnkube_master_leader{instance="n1"}`:                                   1,
		`ovnkube_master_ovn_northd{instance="n1", state="active"}`:               1,
		`ovnkube_master_ovn_northd{instance="n1", state="running"}`:              1,
		`ovnkube_db_ready{instance="n1", database="OVN_Northbound"}`:             1,
		`ovnkube_db_ready{instance="n1", database="OVN_Southbound"}`:             1,
		`ovnkube_build_info{instance="n1", version="v1"}`:                        1,
		`up{instance="n1", job="ovn-kubernetes/ovnkube-db"}`:                     1,
		`up{instance="n1", job="ovn-kubernetes/ovnkube-master"}`:                 1,
		`up{instance="n1", job="node-exporter"}`:                                 0, // of no interest
		`ovnkube_master_ovsdb_connections{database="OVN_Northbound"}`:            1,
		`ovnkube_master_northbound_unanswered_seconds`:                           0,
		`ovnkube_master_ovn_configuration{instance="n1", stage="northbound"}`:    1,
		`ovnkube_master_ovn_configuration{instance="n1", stage="southbound"}`:    1,
		`ovnkube_master_ovn_configuration{instance="n1", stage="hypervisors"}`:   1,
		`ovnkube_master_waiting_pods`:                                            0,
		`ovnkube_master_allocated_node_subnets{instance="n1", family="IPv4"}`:    2,
		`ovnkube_master_node_subnets{instance="n1", family="IPv4"}`:              512,
		`ovnkube_master_blocked_nodes{instance="n1"}`:                            0,
		`ovnkube_db_members{instance="n1", database="OVN_Northbound"}`:           1,
		`ovnkube_db_members{instance="n1", database="OVN_Southbound"}`:           1,
		`ovnkube_master_certificate_expiration_timestamp_seconds{file="cert"}`:   4e9,
		`ovnkube_node_certificate_expiration_timestamp_seconds{instance="n1"}`:   4e9,
		`ovnkube_master_node_pod_addresses_capacity{node="n1", family="IPv6"}`:   1000,
		`ovnkube_master_node_pod_addresses_capacity{node="n2", family="IPv6"}`:   1000,
		`ovnkube_master_node_pod_addresses_capacity{node="n1", family="IPv4"}`:   500,
		`ovnkube_master_node_pod_addresses_capacity{node="n2", family="IPv4"}`:   500,
		`ovnkube_master_node_pod_addresses{node="n1", family="IPv4"}`:            3,
		`ovnkube_node_ovsdb_connections{instance="n1", database="Open_vSwitch"}`: 1,
	}
	for _, n := range []string{"n1", "n2"} {
		out[`up{instance="`+n+`", job="ovn-kubernetes/ovnkube-node"}`] = 1
		out[`ovnkube_node_in_place{instance="`+n+`", what="readiness"}`] = 1
		out[`ovnkube_node_in_place{instance="`+n+`", what="chassis"}`] = 1
		out[`ovnkube_node_ovn_controller{instance="`+n+`", state="connected"}`] = 1
		out[`ovnkube_node_ovn_controller{instance="`+n+`", state="running"}`] = 1
	}
	return out
}

// without removes the series of an instance and a prefix, as when its scrape fails.
func without(series map[string]float64, prefix, instance string) map[string]float64 {
	out := maps.Clone(series)
	maps.DeleteFunc(out, func(name string, _ float64) bool {
		l, err := parser.ParseMetric(name)
		return err == nil && len(l.Get(labels.MetricName)) >= len(prefix) && l.Get(labels.MetricName)[:len(prefix)] == prefix &&
			(instance == "" || l.Get("instance") == instance)
	})
	return out
}

// with changes values.
func with(series, changed map[string]float64) map[string]float64 {
	out := maps.Clone(series)
	maps.Copy(out, changed)
	return out
}

// What is dead exports nothing; somebody says so all the same.
func TestDeadPartsAreSeen(t *testing.T) {
	all := healthy()
	for name, tc := range map[string]struct {
		series map[string]float64
		ended  map[string]float64 // the last values of series that ended 8 minutes ago
		want   []string
	}{
		"healthy": {series: all},
		"an agent is dead": {
			series: with(without(all, "ovnkube_node_", "n2"), map[string]float64{`up{instance="n2", job="ovn-kubernetes/ovnkube-node"}`: 0}),
			want:   []string{"OVNKubeAgentsMissing", "OVNKubeDown"},
		},
		"a node has no pod with an agent": {
			series: without(without(all, "ovnkube_node_", "n2"), "up", "n2"),
			want:   []string{"OVNKubeAgentsMissing"},
		},
		"no agent at all": {
			series: without(all, "ovnkube_node_", ""),
			want:   []string{"OVNKubeAgentsMissing"},
		},
		"ovn-controller is dead": {
			series: with(all, map[string]float64{`ovnkube_node_ovn_controller{instance="n2", state="connected"}`: 0, `ovnkube_node_ovn_controller{instance="n2", state="running"}`: 0}),
			want:   []string{"OVNKubeControllerDown"},
		},
		"ovn-northd is dead": {
			series: with(all, map[string]float64{`ovnkube_master_ovn_northd{instance="n1", state="active"}`: 0, `ovnkube_master_ovn_northd{instance="n1", state="running"}`: 0}),
			want:   []string{"OVNKubeNoNorthd", "OVNKubeNorthdDown"},
		},
		"a master does not answer, another is there, and its ovn-northd waits": {
			series: with(without(all, "ovnkube_master_", "n1"), map[string]float64{
				`up{instance="n1", job="ovn-kubernetes/ovnkube-master"}`:    0,
				`up{instance="n2", job="ovn-kubernetes/ovnkube-master"}`:    1,
				`ovnkube_master_leader{instance="n2"}`:                      1,
				`ovnkube_master_ovn_northd{instance="n2", state="active"}`:  0,
				`ovnkube_master_ovn_northd{instance="n2", state="running"}`: 1,
			}),
			want: []string{"OVNKubeDown"},
		},
		"no ovn-northd is active, and an agent is dead": {
			series: with(all, map[string]float64{
				`ovnkube_master_ovn_northd{instance="n1", state="active"}`: 0, `up{instance="n2", job="ovn-kubernetes/ovnkube-node"}`: 0}),
			want: []string{"OVNKubeDown", "OVNKubeNoNorthd"},
		},
		"an agent is being replaced": {
			series: without(without(all, "ovnkube_node_", "n2"), "up", "n2"),
			ended:  map[string]float64{`ovnkube_node_in_place{instance="n2", what="readiness"}`: 1},
		},
		"a standby ovn-northd": {
			series: with(all, map[string]float64{`ovnkube_master_ovn_northd{instance="n2", state="active"}`: 0, `ovnkube_master_ovn_northd{instance="n2", state="running"}`: 1}),
		},
		"the databases are dead": {
			series: with(without(all, "ovnkube_db_", ""), map[string]float64{`up{instance="n1", job="ovn-kubernetes/ovnkube-db"}`: 0}),
			want:   []string{"OVNKubeDatabaseSilent", "OVNKubeDown"},
		},
		"the master is dead": {
			series: with(without(all, "ovnkube_master_", ""), map[string]float64{`up{instance="n1", job="ovn-kubernetes/ovnkube-master"}`: 0}),
			want:   []string{"OVNKubeDown", "OVNKubeNoLeader"},
		},
		"everything is dead": {
			series: map[string]float64{`up{instance="n1", job="node-exporter"}`: 1},
			want:   []string{"OVNKubeDatabaseSilent", "OVNKubeNoLeader", "OVNKubeNothingAnswers"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, firing(t, tc.series, tc.ended)); diff != "" {
				t.Errorf("alerts (-want +got):\n%s", diff)
			}
		})
	}
}

// firing are the alerts whose expressions hold now.
func firing(t *testing.T, series, ended map[string]float64) (out []string) {
	t.Helper()
	data, err := os.ReadFile(folder + "rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var r rules
	if err := yaml.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	known := database{t: t, series: series, ended: ended, at: now}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute})
	for _, g := range r.Spec.Groups {
		for _, a := range g.Rules {
			query, err := engine.NewInstantQuery(t.Context(), known, nil, a.Expr, now)
			if err != nil {
				t.Fatal(err)
			}
			result, err := query.Exec(t.Context()).Vector()
			if err != nil {
				t.Fatalf("%s: %v", a.Alert, err)
			}
			if len(result) > 0 {
				out = append(out, a.Alert)
			}
			query.Close()
		}
	}
	slices.Sort(out)
	return out
}

// database answers queries from series with one sample each: of now, or of 8 minutes ago.
type database struct {
	t             *testing.T
	series, ended map[string]float64
	at            time.Time
}

// Querier implements storage.Queryable.
func (d database) Querier(int64, int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		return &set{found: append(d.find(d.series, d.at, matchers), d.find(d.ended, d.at.Add(-8*time.Minute), matchers)...)}
	}}, nil
}

func (d database) find(series map[string]float64, at time.Time, matchers []*labels.Matcher) (found []storage.Series) {
	d.t.Helper()
	for name, value := range series {
		l, err := parser.ParseMetric(name)
		if err != nil {
			d.t.Fatalf("%s: %v", name, err)
		}
		if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(l.Get(m.Name)) }) {
			continue
		}
		found = append(found, storage.NewListSeries(l, []chunks.Sample{sample{at: at.UnixMilli(), value: value}}))
	}
	return found
}

// sample is a plain number; what it has of chunks.Sample besides is for histograms.
type sample struct {
	chunks.Sample
	at    int64
	value float64
}

func (s sample) T() int64                 { return s.at }
func (s sample) F() float64               { return s.value }
func (s sample) Type() chunkenc.ValueType { return chunkenc.ValFloat }

// set implements storage.SeriesSet.
type set struct {
	found []storage.Series
	now   storage.Series
}

func (s *set) Next() bool {
	if len(s.found) == 0 {
		return false
	}
	s.now, s.found = s.found[0], s.found[1:]
	return true
}

func (s *set) At() storage.Series                { return s.now }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }
