package chart

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// objects decodes what the API server would be given, and fails on fields that it does not know. Those of Prometheus' operator are
// left out: promtool judges them elsewhere.
func objects(t *testing.T, settings ...string) []runtime.Object {
	t.Helper()
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var out []runtime.Object
	for document := range strings.SplitSeq(documents(mustRender(t, settings...), ""), "\n---\n") {
		if strings.Contains(document, "apiVersion: monitoring.coreos.com/") {
			continue
		}
		object, _, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Fatalf("%v:\n%s", err, document)
		}
		out = append(out, object)
	}
	return out
}

type workload struct {
	name     string
	selector *metav1.LabelSelector
	template corev1.PodTemplateSpec
}

func workloads(t *testing.T, settings ...string) map[string]workload {
	t.Helper()
	out := map[string]workload{}
	for _, o := range objects(t, settings...) {
		switch o := o.(type) {
		case *appsv1.Deployment:
			out[o.Name] = workload{o.Name, o.Spec.Selector, o.Spec.Template}
		case *appsv1.DaemonSet:
			out[o.Name] = workload{o.Name, o.Spec.Selector, o.Spec.Template}
		case *appsv1.StatefulSet:
			out[o.Name] = workload{o.Name, o.Spec.Selector, o.Spec.Template}
		}
	}
	return out
}

func variants() map[string][]string {
	host := append(placeholders(), "ovs.host=true")
	cleanup := append(placeholders(), "node.cleanup=true")
	return map[string][]string{"one database": placeholders(), "three": large(), "the host's Open vSwitch": host, "cleanup": cleanup}
}

// kubectl ovn and the PodMonitors find pods by labels, containers and ports.
func TestPodsAreFound(t *testing.T) {
	type found struct {
		Labels            map[string]string
		Containers, Ports []string
	}
	for name, settings := range variants() {
		got := map[string]found{}
		for _, w := range workloads(t, settings...) {
			f := found{Labels: w.template.Labels}
			if diff := cmp.Diff(w.template.Labels, w.selector.MatchLabels); diff != "" {
				t.Errorf("%s: %s selects other pods than its own:\n%s", name, w.name, diff)
			}
			for _, c := range w.template.Spec.Containers {
				f.Containers = append(f.Containers, c.Name)
				for _, p := range c.Ports {
					f.Ports = append(f.Ports, p.Name)
				}
			}
			got[w.name] = f
		}
		want := map[string]found{
			"ovnkube-db": {names.PodLabels(names.DatabasePods), []string{names.NorthboundContainer, names.SouthboundContainer},
				[]string{names.NorthboundMetricsPort, names.SouthboundMetricsPort}},
			"ovnkube-master": {names.PodLabels(names.MasterPods), []string{"ovnkube-master", "ovn-northd"}, []string{names.MetricsPort}},
			"ovnkube-node":   {names.PodLabels(names.NodePods), []string{names.ControllerContainer, "ovnkube-node"}, []string{names.MetricsPort}},
			"ovnkube-ovs":    {names.PodLabels(names.SwitchPods), []string{"ovsdb-server", "ovs-vswitchd"}, nil},
		}
		switch name {
		case "three":
			db := want["ovnkube-db"]
			want["ovnkube-db"] = found{db.Labels, append(db.Containers, "sb-relay"), append(db.Ports, "relay-health")}
		case "the host's Open vSwitch":
			delete(want, "ovnkube-ovs")
		case "cleanup":
			node := want["ovnkube-node"]
			want["ovnkube-node"] = found{node.Labels, node.Containers[1:], node.Ports}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Pods run before there is a network: they are in the hosts', reach the API server at its own address and no service by name, and are
// not kept away by what nodes without a network are marked with.
func TestPodsNeedNoNetwork(t *testing.T) {
	for name, settings := range variants() {
		for _, w := range workloads(t, settings...) {
			spec := w.template.Spec
			if !spec.HostNetwork || spec.DNSPolicy != corev1.DNSDefault || !strings.HasPrefix(spec.PriorityClassName, "system-") ||
				!slices.Contains(spec.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists}) {
				t.Errorf("%s: %s waits for a network", name, w.name)
			}
			for _, c := range spec.Containers {
				usesAPI := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "api-access" })
				env := map[string]string{}
				for _, e := range c.Env {
					env[e.Name] = e.Value
				}
				_, hasAddress := env["KUBERNETES_SERVICE_HOST"]
				if usesAPI != hasAddress {
					t.Errorf("%s: %s/%s has a token: %t, has the API server's address: %t", name, w.name, c.Name, usesAPI, hasAddress)
				}
				if strings.Contains(env["KUBERNETES_SERVICE_HOST"], "[") {
					t.Errorf("%s: the API server's host is %q", name, env["KUBERNETES_SERVICE_HOST"])
				}
			}
		}
	}
}

// Volumes and mounts belong together.
func TestVolumes(t *testing.T) {
	for name, settings := range variants() {
		for _, w := range workloads(t, settings...) {
			volumes, mounted := map[string]bool{}, map[string]bool{}
			for _, v := range w.template.Spec.Volumes {
				volumes[v.Name] = true
			}
			for _, c := range w.template.Spec.Containers {
				for _, m := range c.VolumeMounts {
					mounted[m.Name] = true
				}
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(volumes)), slices.Sorted(maps.Keys(mounted))); diff != "" {
				t.Errorf("%s: %s (-volumes +mounts):\n%s", name, w.name, diff)
			}
		}
	}
}

// Prometheus' operator selects its objects by labels that people choose; without, they have none.
func TestMonitoringLabels(t *testing.T) {
	for want, set := range map[string][]string{"": nil, "kube-prometheus-stack": {"monitoring.labels.release=kube-prometheus-stack"}} {
		found := map[string]int{}
		text := mustRender(t, slices.Concat(placeholders(), []string{"monitoring.podMonitors=true", "monitoring.rules=true"}, set)...)
		for document := range strings.SplitSeq(documents(text, "monitoring"), "\n---\n") {
			var object metav1.PartialObjectMetadata
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				t.Fatal(err)
			}
			found[object.Kind]++
			if object.Labels["release"] != want || object.Namespace != names.Namespace {
				t.Errorf("%s %s has labels %v, want release=%q", object.Kind, object.Name, object.Labels, want)
			}
		}
		if diff := cmp.Diff(map[string]int{"PodMonitor": 3, "PrometheusRule": 1}, found); diff != "" {
			t.Errorf("objects (-want +got):\n%s", diff)
		}
	}
}

// Grafana's sidecar finds dashboards by their label; what it gets is JSON.
func TestDashboards(t *testing.T) {
	found := 0
	for _, o := range objects(t, append(placeholders(), "monitoring.dashboards=true")...) {
		m, ok := o.(*corev1.ConfigMap)
		if !ok || m.Labels["grafana_dashboard"] != "1" {
			continue
		}
		for key, text := range m.Data {
			found++
			if !strings.HasSuffix(key, ".json") || !json.Valid([]byte(text)) {
				t.Errorf("%s in %s is no JSON", key, m.Name)
			}
		}
	}
	if found != 2 {
		t.Errorf("%d dashboards, want 2", found)
	}
}
