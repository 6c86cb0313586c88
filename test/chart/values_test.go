package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Wrong values are refused before anything is applied, with their names.
func TestRefusedValues(t *testing.T) {
	for _, c := range []struct {
		settings []string
		want     string
	}{
		{[]string{"imagee.tag=1"}, "imagee"},
		{[]string{"image.pullPolicy=Sometimes"}, "image.pullPolicy"},
		{[]string{"node.maxUnavailable=some"}, "node.maxUnavailable"},
		{[]string{"k8s.apiServer=10.0.0.1:6443"}, "k8s.apiServer"},
		{[]string{"k8s.apiServer="}, "k8s.apiServer: where is the API server"},
		{[]string{"network.serviceCIDRs=null"}, "network.serviceCIDRs"},
		{[]string{"network.serviceCIDRs={}"}, "network.serviceCIDRs"},
		{[]string{"network.serviceCIDRs={10.96.0.0}"}, "network.serviceCIDRs.0"},
		{[]string{"network.clusterSubnets={ten}"}, "network.clusterSubnets.0"},
		{[]string{"network.gatewayMode=host"}, "network.gatewayMode"},
		{[]string{"network.mtu=100"}, "network.mtu"},
		{[]string{"databases.addresses=null"}, "databases.addresses: give the addresses"},
		{[]string{"databases.addresses={10.0.0.1,10.0.0.2}"}, "2 addresses (10.0.0.1, 10.0.0.2); want one, three or five"},
		{[]string{"databases.addresses={10.0.0.1,10.0.0.2,10.0.0.1}"}, "an address twice"},
		{[]string{"databases.addresses={node1}"}, "databases.addresses.0"},
		{[]string{"databases.electionTimer=2"}, "databases.electionTimer"},
		{[]string{"node.netfilter=ipvs"}, "node.netfilter"},
		{[]string{"node.extraArgs={-v}"}, "node.extraArgs.0"},
		{[]string{"monitoring.labels.release=true"}, "monitoring.labels.release"},
		{[]string{"ovs.datapathType=dpdk"}, "ovs.datapathType"},
	} {
		_, err := render(names.Namespace, append(placeholders(), c.settings...)...)
		// Paths in messages begin and are joined in other ways with other versions of the library.
		text := strings.ReplaceAll(strings.ReplaceAll(fmt.Sprint(err), "'/", "'"), "/", ".")
		if err == nil || !strings.Contains(text, c.want) {
			t.Errorf("%v: %v, want %q", c.settings, err, c.want)
		}
	}
	if _, err := render("kube-system", placeholders()...); err == nil || !strings.Contains(err.Error(), "--namespace ovn-kubernetes") {
		t.Errorf("another namespace: %v", err)
	}
}

// keys are the paths of all values, joined by dots; maps that users fill are one value.
func keys(prefix string, value any, free func(string) bool) []string {
	fields, ok := value.(map[string]any)
	if !ok || free(prefix) {
		return []string{prefix}
	}
	var out []string
	for k, v := range fields {
		out = append(out, keys(strings.TrimPrefix(prefix+"."+k, "."), v, free)...)
	}
	slices.Sort(out)
	return out
}

// The schema knows the values that there are, and no others.
func TestSchemaKnowsValues(t *testing.T) {
	free := func(path string) bool {
		return strings.HasSuffix(path, "resources") || strings.HasSuffix(path, "odeSelector") || path == "monitoring.labels"
	}
	var values map[string]any
	read(t, "values.yaml", &values)
	type schema struct {
		Properties           map[string]*schema `json:"properties"`
		AdditionalProperties any                `json:"additionalProperties"`
	}
	var top schema
	data, err := os.ReadFile(filepath.Join(source, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &top); err != nil {
		t.Fatal(err)
	}
	var tree func(path string, s *schema) any
	tree = func(path string, s *schema) any {
		if s.Properties == nil || free(path) {
			return true
		}
		if s.AdditionalProperties != false {
			t.Errorf("the schema takes any key in %q", path)
		}
		out := map[string]any{}
		for k, v := range s.Properties {
			out[k] = tree(strings.TrimPrefix(path+"."+k, "."), v)
		}
		return out
	}
	known := slices.DeleteFunc(keys("", tree("", &top), free), func(k string) bool { return k == "global" }) // helm's own
	if diff := cmp.Diff(keys("", values, free), known); diff != "" {
		t.Errorf("values (-values.yaml +schema):\n%s", diff)
	}
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(source, file))
	if err == nil {
		err = yaml.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}
