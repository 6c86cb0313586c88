package chart

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/strvals"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"sigs.k8s.io/yaml"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// cluster answers lookups of templates.
type cluster struct{ dynamic.Interface }

// resources are those that the chart looks up; the value tells whether they have namespaces.
var resources = map[string]struct {
	plural     string
	namespaced bool
}{
	"ConfigMap": {"configmaps", true}, "Node": {"nodes", false}, "ServiceCIDR": {"servicecidrs", false}, "EndpointSlice": {"endpointslices", true},
}

func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	r, ok := resources[kind]
	if !ok {
		return nil, false, fmt.Errorf("nobody has thought of a lookup of %s", kind)
	}
	return c.Resource(schema.FromAPIVersionAndKind(apiVersion, kind).GroupVersion().WithResource(r.plural)), r.namespaced, nil
}

func newCluster(t *testing.T, text string) cluster {
	t.Helper()
	var objects []runtime.Object
	for document := range strings.SplitSeq(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
	lists := map[schema.GroupVersionResource]string{}
	for _, apiVersion := range []string{"v1", "networking.k8s.io/v1", "discovery.k8s.io/v1"} {
		for kind, r := range resources {
			lists[schema.FromAPIVersionAndKind(apiVersion, kind).GroupVersion().WithResource(r.plural)] = kind + "List"
		}
	}
	return cluster{dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, objects...)}
}

const (
	controlPlane = `
apiVersion: v1
kind: Node
metadata: {name: NAME, labels: {node-role.kubernetes.io/control-plane: ""}}
status: {addresses: [{type: Hostname, address: NAME}, {type: InternalIP, address: ADDRESS}, {type: InternalIP, address: "fd00::9"}]}
---`
	worker = `
apiVersion: v1
kind: Node
metadata: {name: worker, labels: {}}
status: {addresses: [{type: InternalIP, address: 10.0.0.9}]}
---`
	clusterInfo = `
apiVersion: v1
kind: ConfigMap
metadata: {name: cluster-info, namespace: kube-public}
data: {kubeconfig: '{"clusters": [{"name": "", "cluster": {"server": "https://api.example.net:6443"}}]}'}
---`
	endpoints = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kubernetes, namespace: default}
endpoints: [{addresses: ["fd00::7"]}]
ports: [{name: https, port: 6443}]
---`
	serviceCIDR = `
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: kubernetes}
spec: {cidrs: [10.96.0.0/12, "fd02::/112"]}
---`
	kubeadmConfig = `
apiVersion: v1
kind: ConfigMap
metadata: {name: kubeadm-config, namespace: kube-system}
data: {ClusterConfiguration: '{"networking": {"serviceSubnet": "10.97.0.0/16"}}'}
---`
	kept = `
apiVersion: v1
kind: ConfigMap
metadata: {name: ovnkube-settings, namespace: ovn-kubernetes}
data: {apiServer: "https://kept:6443", serviceCIDRs: 10.98.0.0/16, databaseAddresses: 10.0.0.1}
---`
)

func node(name, address string) string {
	return strings.NewReplacer("NAME", name, "ADDRESS", address).Replace(controlPlane)
}

// The cluster knows where its API server is, its service networks and its control-plane nodes. An upgrade takes what the installation
// has found, whatever has become of the nodes.
func TestDiscovery(t *testing.T) {
	three := node("c", "10.0.0.3") + node("a", "10.0.0.1") + node("b", "10.0.0.2")
	for _, c := range []struct {
		name, objects string
		set           []string
		want          map[string]string // nil: refused
		refusal       string
	}{
		{name: "kubeadm", objects: clusterInfo + serviceCIDR + endpoints + worker + node("a", "10.0.0.1"),
			want: map[string]string{"apiServer": "https://api.example.net:6443", "serviceCIDRs": "10.96.0.0/12,fd02::/112", "databaseAddresses": "10.0.0.1"}},
		{name: "without kubeadm, three", objects: endpoints + serviceCIDR + three,
			want: map[string]string{"apiServer": "https://[fd00::7]:6443", "serviceCIDRs": "10.96.0.0/12,fd02::/112", "databaseAddresses": "10.0.0.1,10.0.0.2,10.0.0.3"}},
		{name: "before ServiceCIDRs", objects: clusterInfo + kubeadmConfig + node("a", "10.0.0.1"),
			want: map[string]string{"apiServer": "https://api.example.net:6443", "serviceCIDRs": "10.97.0.0/16", "databaseAddresses": "10.0.0.1"}},
		{name: "an upgrade", objects: kept + clusterInfo + serviceCIDR + three,
			want: map[string]string{"apiServer": "https://kept:6443", "serviceCIDRs": "10.98.0.0/16", "databaseAddresses": "10.0.0.1"}},
		{name: "one grows to three", objects: kept + three, set: []string{"databases.addresses={10.0.0.1,10.0.0.3,10.0.0.2}"},
			want: map[string]string{"apiServer": "https://kept:6443", "serviceCIDRs": "10.98.0.0/16", "databaseAddresses": "10.0.0.1,10.0.0.3,10.0.0.2"}},
		{name: "one grows, but is not the first", objects: kept + three, set: []string{"databases.addresses={10.0.0.2,10.0.0.1,10.0.0.3}"}, refusal: "begin with 10.0.0.1"},
		{name: "one grows without itself", objects: kept + three, set: []string{"databases.addresses={10.0.0.2,10.0.0.3,10.0.0.4}"}, refusal: "begin with 10.0.0.1"},
		{name: "one is made anew elsewhere", objects: kept + three, set: []string{"databases.addresses={10.0.0.2}"},
			want: map[string]string{"apiServer": "https://kept:6443", "serviceCIDRs": "10.98.0.0/16", "databaseAddresses": "10.0.0.2"}},
		{name: "two control planes", objects: clusterInfo + serviceCIDR + node("a", "10.0.0.1") + node("b", "10.0.0.2"), refusal: "2 nodes (a, b)"},
		{name: "a hidden control plane", objects: clusterInfo + serviceCIDR + worker, refusal: "databases.addresses"},
		{name: "no networks", objects: clusterInfo + node("a", "10.0.0.1"), refusal: "network.serviceCIDRs"},
		{name: "nothing", refusal: "k8s.apiServer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := settings(newCluster(t, c.objects), c.set...)
			if c.refusal != "" {
				if err == nil || !strings.Contains(err.Error(), c.refusal) {
					t.Errorf("%v, want %q", err, c.refusal)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

// Nobody waits, at a growth, for what must not come about: a new pod that is ready has found a cluster of before on its node.
func TestNotesOfGrowth(t *testing.T) {
	const warning = "an old cluster's files"
	three := node("a", "10.0.0.1") + node("b", "10.0.0.2") + node("c", "10.0.0.3")
	for name, c := range map[string]struct {
		set  []string
		want bool
	}{
		"one grows":    {[]string{"databases.addresses={10.0.0.1,10.0.0.2,10.0.0.3}"}, true},
		"one stays so": {nil, false},
	} {
		files, err := rendered(newCluster(t, kept+three), c.set...)
		if err != nil {
			t.Fatal(err)
		}
		if notes := files["ovnkube/templates/NOTES.txt"]; strings.Contains(notes, warning) != c.want {
			t.Errorf("%s: the notes are\n%s", name, notes)
		}
	}
}

// settings are what the chart keeps of a cluster that it is installed in, with values as those of --set.
func settings(c cluster, set ...string) (map[string]string, error) {
	files, err := rendered(c, set...)
	if err != nil {
		return nil, err
	}
	var object struct{ Data map[string]string }
	err = yaml.Unmarshal([]byte(files["ovnkube/templates/settings.yaml"]), &object)
	return object.Data, err
}

// rendered are the chart's templates, by their names, for a cluster and with values as those of --set.
func rendered(c cluster, set ...string) (map[string]string, error) {
	loaded, err := loader.Load(source)
	if err != nil {
		return nil, err
	}
	given := map[string]any{}
	for _, s := range set {
		if err := strvals.ParseInto(s, given); err != nil {
			return nil, err
		}
	}
	values, err := chartutil.ToRenderValues(loaded, given, chartutil.ReleaseOptions{Name: "ovnkube", Namespace: names.Namespace, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	return engine.RenderWithClientProvider(loaded, values, c)
}
