package inspect

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/inspecttest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
)

var update = flag.Bool("update", false, "write the golden files")

func testView(t *testing.T) *View {
	t.Helper()
	nb, err := database.Northbound(context.Background(), &inspecttest.Access{})
	if err != nil {
		t.Fatal(err)
	}
	v := &View{Objects: &Objects{}, NB: nb}
	inspecttest.Objects(t, v.Objects)
	return v
}

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update to write it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func show(t *testing.T, r output.Result, f output.Format) string {
	t.Helper()
	var b bytes.Buffer
	if err := output.NewPrinter(&b, f).Print(r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLists(t *testing.T) {
	v := testView(t)
	for name, of := range map[string]func() output.Result{
		"endpoints": v.Endpoints, "services": v.Services, "policies": v.Policies, "nodes": v.Nodes, "addresses": v.Addresses,
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, "list-"+name, show(t, of(), output.Wide))
		})
	}
	golden(t, "list-policies-yaml", show(t, v.Policies(), output.YAML))
}

// What Kubernetes wants and OVN has not, and the other way round, is what lists are looked at for.
func TestListsTellWhatIsMissing(t *testing.T) {
	v := testView(t)
	v.Namespace = "shop"
	for i := range v.Objects.Pods {
		if p := &v.Objects.Pods[i]; p.Name == "db" {
			p.Name = "new"
		}
	}
	for i := range v.Objects.Policies {
		if p := &v.Objects.Policies[i]; p.Namespace == "shop" {
			p.Spec.PodSelector.MatchLabels["app"] = "other"
		}
	}
	delete(v.Objects.Nodes[0].Annotations, "k8s.ovn.org/node-subnets")
	delete(v.Objects.Nodes[1].Annotations, "k8s.ovn.org/l3-gateway-config")
	v.Objects.Services = slices.Clone(v.Objects.Services[:0])
	golden(t, "missing", show(t, v.Endpoints(), output.Table)+show(t, v.Services(), output.Table)+show(t, v.Policies(), output.Table)+show(t, v.Nodes(), output.Table))
}
