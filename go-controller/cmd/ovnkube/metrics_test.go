package main

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni"
	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/master"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/golden"
)

var update = golden.Update()

const reference = "../../../docs/metrics.md"

// primed is a registry that gives each vector a series, so that it can be gathered.
type primed struct {
	*prometheus.Registry
	labels map[string][]string
}

var described = regexp.MustCompile(`^Desc\{fqName: "([^"]*)".*variableLabels: \{([^}]*)\}\}$`)

func (p *primed) Register(c prometheus.Collector) error {
	if err := p.Registry.Register(c); err != nil {
		return err
	}
	descriptions := make(chan *prometheus.Desc)
	go func() {
		c.Describe(descriptions)
		close(descriptions)
	}()
	for d := range descriptions {
		parts := described.FindStringSubmatch(d.String())
		if parts == nil {
			return fmt.Errorf("what is %s", d)
		}
		var labels []string
		if parts[2] != "" {
			labels = strings.Split(parts[2], ",")
		}
		p.labels[parts[1]] = labels
		values := make([]string, len(labels))
		for i := range values {
			values[i] = "x"
		}
		switch v := c.(type) {
		case *prometheus.CounterVec:
			v.WithLabelValues(values...)
		case *prometheus.GaugeVec:
			v.WithLabelValues(values...)
		case *prometheus.HistogramVec:
			v.WithLabelValues(values...)
		}
	}
	return nil
}

func (p *primed) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := p.Register(c); err != nil {
			panic(err)
		}
	}
}

// all are the metrics of all processes, by process, with their labels.
func all(t *testing.T) map[string]*primed {
	t.Helper()
	out := map[string]*primed{}
	for _, name := range []string{"master", "node", "db"} {
		out[name] = &primed{Registry: prometheus.NewRegistry(), labels: map[string][]string{}}
		registerProcess(out[name])
	}
	unreachable := &rest.Config{Host: "http://127.0.0.1:1"}
	if _, err := master.New(config.Master{}, master.Options{Registerer: out["master"], RESTConfig: unreachable}); err != nil {
		t.Fatal(err)
	}
	agent := config.Node{EncapPort: 6081, NodeName: "n"}
	if _, err := node.New(agent, node.Options{Registerer: out["node"], RESTConfig: unreachable}); err != nil {
		t.Fatal(err)
	}
	_, err := cni.New(cni.Options{NodeName: "n", MTU: 1400, OVSDB: []string{"unix:/x"}, Client: fake.NewClientset(), Registerer: out["node"]})
	if err != nil {
		t.Fatal(err)
	}
	kind, err := ovndb.ParseKind("nb")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ovndb.NewMember(ovndb.Config{Kind: kind, Dir: "/x", RunDir: "/x", SchemaDir: "/x", Port: 1, RaftPort: 2, ElectionTimer: ovndb.DefaultElectionTimer}, ovndb.MemberOptions{Registerer: out["db"]}); err != nil {
		t.Fatal(err)
	}
	certificate := t.TempDir() + "/c.pem"
	if err := os.WriteFile(certificate, []byte(testCertificate), 0o600); err != nil {
		t.Fatal(err)
	}
	registerNorthd(out["master"])
	registerController(out["node"])
	registerCertificates(out["master"], "ovnkube_master", func() []string { return []string{certificate} })
	registerCertificates(out["node"], "ovnkube_node", func() []string { return []string{certificate} })
	return out
}

// ours leaves out what the client library says about Go and the process.
func ours(families []*dto.MetricFamily) []*dto.MetricFamily {
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return !strings.HasPrefix(f.GetName(), "ovnkube_") })
}

// The names, types and help texts are what Prometheus' users expect.
func TestMetricsAreWellNamed(t *testing.T) {
	for process, registry := range all(t) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		problems, err := promlint.NewWithMetricFamilies(ours(families)).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s: %s", process, p.Metric, p.Text)
		}
	}
}

// No series for each pod, service or policy: their names are no labels.
func TestMetricsAreBounded(t *testing.T) {
	allowed := strings.Fields("command database family file kind method name node result stage state what")
	for _, registry := range all(t) {
		for name, labels := range registry.labels {
			for _, l := range labels {
				if strings.HasPrefix(name, "ovnkube_") && !slices.Contains(allowed, l) {
					t.Errorf("%s has label %s: how many values can it have?", name, l)
				}
			}
		}
	}
}

// The reference lists what is exported, all of it and nothing else; -update writes it.
func TestMetricsReference(t *testing.T) {
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	want := string(data)
	registries := all(t)
	for _, process := range slices.Sorted(maps.Keys(registries)) {
		families, err := registries[process].Gather()
		if err != nil {
			t.Fatal(err)
		}
		begin, end := fmt.Sprintf("<!-- begin %s -->\n", process), fmt.Sprintf("<!-- end %s -->\n", process)
		before, rest, ok := strings.Cut(want, begin)
		_, after, ended := strings.Cut(rest, end)
		if !ok || !ended {
			t.Fatalf("%s has no place for %s", reference, process)
		}
		want = before + begin + table(ours(families), registries[process].labels) + end + after
	}
	if *update {
		if err := os.WriteFile(reference, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("%s (-exported +documented; go test ./go-controller/cmd/ovnkube -run Reference -update):\n%s", reference, diff)
	}
}

func table(families []*dto.MetricFamily, labels map[string][]string) string {
	var b strings.Builder
	b.WriteString("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		all := slices.Clone(labels[f.GetName()])
		for _, l := range f.GetMetric()[0].GetLabel() {
			if !slices.Contains(all, l.GetName()) {
				all = append(all, l.GetName())
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(all, ", "), f.GetHelp())
	}
	return b.String()
}

// testCertificate ends in 2126.
const testCertificate = `-----BEGIN CERTIFICATE-----
MIIBbjCCARWgAwIBAgIUQZLev4y4zSuJ+0yLT0deCuhK1P4wCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAgFw0yNjExMjEwMjE0MDJaGA8yMTI2MTAyODAyMTQwMlow
DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABB0N8F4LMxIO
aFD14gKrmX2Z3UZL4Vte28D022lR+Zsw0we+IJy5WkxcL9fPaSF80eBv7Yh71dc4
8DbUrICsks2jUzBRMB0GA1UdDgQWBBTeP3ZwnFIlohLGI4HcSgUydWUJpDAfBgNV
HSMEGDAWgBTeP3ZwnFIlohLGI4HcSgUydWUJpDAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0cAMEQCIBHRSeIhXa8+vTUqmpkfxfqZLniUzqpiRLF4uizKj61L
AiA+7XVGcqCnDvHc0PfiNohxkrDpgIe4UN3Gq/nYRUXUWA==
-----END CERTIFICATE-----
`

// Where the databases are on the master's own host it uses no certificate itself, but keeps one for them: its end is shown all the same.
func TestMasterShowsManagedCertificates(t *testing.T) {
	got := masterCertificates(&config.Master{Common: config.Common{CertificateDir: "/pki"}})
	if !slices.Contains(got, "/pki/ovnkube-master.pem") || !slices.Contains(got, "/pki/ca.crt") {
		t.Errorf("the files that are looked at: %q", got)
	}
	own := config.Master{}
	own.Northbound.Certificate = "/own.pem"
	if got := masterCertificates(&own); !slices.Contains(got, "/own.pem") || slices.Contains(got, "ovnkube-master.pem") {
		t.Errorf("the files that are looked at without managed ones: %q", got)
	}
}
