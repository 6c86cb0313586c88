package manifests

import (
	"testing"

	"github.com/ovnkube/ovnkube/test/lab/plan"
)

func TestManifestsParse(t *testing.T) {
	for _, f := range []plan.Family{plan.IPv4, plan.IPv6, plan.Dual} {
		objs, err := CoreDNS(&plan.Config{Family: f, CoreDNSImage: "registry.k8s.io/coredns/coredns:v1"})
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[string]bool{}
		for _, o := range objs {
			kinds[o.GetKind()] = true
			if ips, ok, _ := unstructuredIPs(o.Object); ok && len(ips) != len(f.DNS()) {
				t.Errorf("%s: service has addresses %v, want as many as %v", f, ips, f.DNS())
			}
		}
		if !kinds["Deployment"] || !kinds["Service"] || !kinds["ConfigMap"] {
			t.Errorf("%s: kinds %v", f, kinds)
		}
	}
	objs, err := Product()
	if err != nil || len(objs) == 0 {
		t.Errorf("%d objects of the product, %v", len(objs), err)
	}
	for _, o := range objs {
		if o.GetKind() == "" || o.GetName() == "" {
			t.Errorf("an object without kind or name: %v", o.Object)
		}
	}
}

func unstructuredIPs(o map[string]any) ([]any, bool, error) {
	spec, ok := o["spec"].(map[string]any)
	if !ok {
		return nil, false, nil
	}
	ips, ok := spec["clusterIPs"].([]any)
	return ips, ok, nil
}
