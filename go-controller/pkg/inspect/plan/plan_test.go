package plan

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/inspecttest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
)

var update = flag.Bool("update", false, "write the golden files")

func cluster(t *testing.T) (*inspect.Objects, *database.Snapshot) {
	t.Helper()
	nb, err := database.Northbound(context.Background(), &inspecttest.Access{})
	if err != nil {
		t.Fatal(err)
	}
	var o inspect.Objects
	inspecttest.Objects(t, &o)
	return &o, nb
}

// What the planner makes of the cluster is what the master has written for it.
func TestAsTheMaster(t *testing.T) {
	o, nb := cluster(t)
	w := newWorld(o, nb)
	w.concerned.policies = true
	for i := range o.Services {
		w.concerned.services[serviceKey(&o.Services[i])] = true
	}
	s, err := w.desired()
	if err != nil {
		t.Fatal(err)
	}
	kinds := []string{names.OwnerNetworkPolicy, names.OwnerPolicyGroup, names.OwnerPolicyPeers, names.OwnerIsolation, names.OwnerService}
	var wrote, planned []string
	for _, r := range nb.All(func(r *database.Row) bool { return slices.Contains(kinds, r.Owner.Kind) }) {
		wrote = append(wrote, r.Owner.String()+" "+r.Key().String()+" "+essence(r))
	}
	for key, r := range s.rows {
		planned = append(planned, r.owner+" "+key.String()+" "+essence(database.NewRow(key.Table, "", r.model)))
	}
	slices.Sort(wrote)
	slices.Sort(planned)
	if diff := cmp.Diff(wrote, planned); diff != "" {
		t.Errorf("(-master +plan):\n%s", diff)
	}
	if diff := cmp.Diff(members(nb, s), membersOf(s)); diff != "" {
		t.Errorf("members (-master +plan):\n%s", diff)
	}
}

// essence is what a row says; sizes of sets are not the row's own.
func essence(r database.Row) string {
	if r.Table == "Port_Group" || r.Table == "Address_Set" {
		return ""
	}
	return database.Says(r.Model)
}

// members are those in the database, of the columns to which s contributes something.
func members(nb *database.Snapshot, s *state) []string {
	ids := nb.IDs()
	columns := map[nbstate.Key][]string{}
	for m := range s.members {
		if !slices.Contains(columns[m.Parent], m.Column) {
			columns[m.Parent] = append(columns[m.Parent], m.Column)
		}
	}
	var out []string
	for _, r := range nb.All(func(*database.Row) bool { return true }) {
		for _, column := range columns[r.Key()] {
			v := database.Column(r.Model, column)
			for i := range v.Len() {
				value := v.Index(i).String()
				if id, isRow := ids[value]; isRow {
					value = id
				}
				out = append(out, r.Key().String()+" "+column+" "+value)
			}
		}
	}
	slices.Sort(out)
	return out
}

func membersOf(s *state) []string {
	var out []string
	for m := range s.members {
		out = append(out, m.Parent.String()+" "+m.Column+" "+m.Value)
	}
	slices.Sort(out)
	return out
}

func TestPlan(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata/*.yaml (%v)", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			documents, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			o, nb := cluster(t)
			var before inspect.Objects
			inspecttest.Objects(t, &before)
			r, err := Make(o, nb, documents, "shop", strings.HasPrefix(filepath.Base(file), "delete"))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(before, *o) {
				t.Error("the plan has changed the objects it was made from")
			}
			var b bytes.Buffer
			if err := output.NewPrinter(&b, output.Table).Print(r.Result()); err != nil {
				t.Fatal(err)
			}
			for _, n := range r.Notes {
				b.WriteString("note: " + n + "\n")
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", golden, diff)
			}
		})
	}
}

// Objects that are there already change nothing.
func TestNothingChanges(t *testing.T) {
	o, nb := cluster(t)
	r, err := Make(o, nb, []byte(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: no-egress, namespace: guests}, spec: {podSelector: {matchLabels: {app: quiet}}, policyTypes: [Egress]}}
---
{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {type: NodePort, selector: {app: db}, ports: [{name: tcp, port: 80, targetPort: 81}]}}
`), "shop", false)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Changes)+len(r.Notes) > 0 {
		t.Errorf("%+v", r)
	}
}

func TestRefused(t *testing.T) {
	o, nb := cluster(t)
	for manifest, want := range map[string]string{
		"{kind: Deployment, metadata: {name: x}}":                             `kind "Deployment"`,
		"{kind: NetworkPolicy, metadata: {name: x}, spec: {podSelektor: {}}}": "podSelektor",
		"{kind: Service}": "without a name",
		"}":               "document 1",
	} {
		if _, err := Make(o, nb, []byte(manifest), "shop", false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", manifest, err, want)
		}
	}
}
