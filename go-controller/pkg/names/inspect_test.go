package names

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// Prometheus' operator looks for the pods by the labels that everybody else knows them by, and at their ports.
func TestPodMonitors(t *testing.T) {
	data, err := os.ReadFile("../../../dist/monitoring/podmonitors.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type found struct {
		Labels map[string]string
		Ports  []string
	}
	got := map[string]found{}
	for document := range strings.SplitSeq(string(data), "\n---\n") {
		var m struct {
			Metadata struct{ Name, Namespace string }
			Spec     struct {
				Selector            struct{ MatchLabels map[string]string }
				PodMetricsEndpoints []struct{ Port string }
			}
		}
		if err := yaml.Unmarshal([]byte(document), &m); err != nil {
			t.Fatal(err)
		}
		f := found{Labels: m.Spec.Selector.MatchLabels}
		for _, e := range m.Spec.PodMetricsEndpoints {
			f.Ports = append(f.Ports, e.Port)
		}
		got[m.Metadata.Namespace+"/"+m.Metadata.Name] = f
	}
	want := map[string]found{
		Namespace + "/ovnkube-master": {PodLabels(MasterPods), []string{MetricsPort}},
		Namespace + "/ovnkube-node":   {PodLabels(NodePods), []string{MetricsPort}},
		Namespace + "/ovnkube-db":     {PodLabels(DatabasePods), []string{NorthboundMetricsPort, SouthboundMetricsPort}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("podmonitors.yaml (-names +file):\n%s", diff)
	}
}
