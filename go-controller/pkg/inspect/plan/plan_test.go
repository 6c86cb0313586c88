package plan

import (
	"bytes"
	"context"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/inspecttest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/service"
)

var update = flag.Bool("update", false, "write the golden files")

func cluster(t *testing.T) Options {
	t.Helper()
	nb, err := database.Northbound(context.Background(), &inspecttest.Access{})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Objects: &inspect.Objects{}, NB: nb, Namespace: "shop"}
	inspecttest.Objects(t, o.Objects)
	return o
}

// What the planner makes of the cluster is what the master has written for it.
func TestAsTheMaster(t *testing.T) {
	o := cluster(t)
	w := newWorld(&o)
	w.concerned.policies = true
	for i := range o.Objects.Services {
		w.concerned.services[serviceKey(&o.Objects.Services[i])] = true
	}
	s, err := w.desired()
	if err != nil {
		t.Fatal(err)
	}
	kinds := []string{names.OwnerNetworkPolicy, names.OwnerPolicyGroup, names.OwnerPolicyPeers, names.OwnerIsolation, names.OwnerService}
	var wrote, planned []string
	for _, r := range o.NB.All(func(r *database.Row) bool { return slices.Contains(kinds, r.Owner.Kind) }) {
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
	if diff := cmp.Diff(members(o.NB, s), membersOf(s)); diff != "" {
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
			o := cluster(t)
			var before inspect.Objects
			inspecttest.Objects(t, &before)
			o.Remove = strings.HasPrefix(filepath.Base(file), "delete")
			r, err := Make(o, documents)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(before, *o.Objects) {
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
	o := cluster(t)
	r, err := Make(o, []byte(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: no-egress, namespace: guests}, spec: {podSelector: {matchLabels: {app: quiet}}, policyTypes: [Egress]}}
---
{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {type: NodePort, selector: {app: db}, ports: [{name: tcp, port: 80, targetPort: 81}]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Changes)+len(r.Notes) > 0 {
		t.Errorf("%+v", r)
	}
}

func TestRefused(t *testing.T) {
	o := cluster(t)
	for manifest, want := range map[string]string{
		"{kind: Deployment, metadata: {name: x}}":                             `kind "Deployment"`,
		"{kind: NetworkPolicy, metadata: {name: x}, spec: {podSelektor: {}}}": "podSelektor",
		"{kind: Service}": "without a name",
		"}":               "document 1",
	} {
		if _, err := Make(o, []byte(manifest)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", manifest, err, want)
		}
	}
}

// Of the pods that a service selects only those that are ready are endpoints; what is being deleted is none as long as there are others.
func TestEndpointsOfPods(t *testing.T) {
	ready := []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	for _, c := range []struct {
		name       string
		deleted    bool
		conditions []corev1.PodCondition
		publish    bool
		want       kube.Endpoint
	}{
		{"ready", false, ready, false, kube.Endpoint{Ready: true, Serving: true}},
		{"is not ready", false, []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}, {Type: corev1.PodInitialized, Status: corev1.ConditionTrue}}, false, kube.Endpoint{}},
		{"runs, nothing is said", false, nil, false, kube.Endpoint{}},
		{"is being deleted", true, ready, false, kube.Endpoint{Serving: true, Terminating: true}},
		{"not ready, published", false, nil, true, kube.Endpoint{Ready: true}},
	} {
		p := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: c.conditions, PodIPs: []corev1.PodIP{{IP: "10.128.0.4"}, {IP: "fd01::4"}}}}
		if c.deleted {
			p.DeletionTimestamp = &metav1.Time{}
		}
		c.want.Address = netip.MustParseAddr("fd01::4")
		got := endpoints(&corev1.Service{Spec: corev1.ServiceSpec{PublishNotReadyAddresses: c.publish}}, p, false)
		if !reflect.DeepEqual(got, []kube.Endpoint{c.want}) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Sessions of IPv6 clients are planned as the master makes them: by what the database's schema takes.
func TestSessionsByIPv6(t *testing.T) {
	const schema = `{"name": "OVN_Northbound", "version": "7.3.0", "tables": {"Load_Balancer": {"columns": {"selection_fields":
		{"type": {"key": {"type": "string", "enum": ["set", ["ip_src", "ipv6_src"]]}, "min": 0, "max": "unlimited"}}}}}}`
	a := &inspecttest.Access{Answers: map[string]string{"get-schema": schema}}
	features, err := database.Features(context.Background(), a, ovndb.NB())
	if err != nil {
		t.Fatal(err)
	}
	for able, f := range map[bool]ovsdb.Features{true: features, false: {}} {
		o := cluster(t)
		o.Features = f
		manifest, err := read([]byte("{kind: Service, metadata: {name: web}, spec: {selector: {app: web}, sessionAffinity: ClientIP, ipFamilies: [IPv6], ports: [{port: 80}]}}"), o.Namespace)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(&o)
		if _, err := w.apply(manifest[0], false); err != nil {
			t.Fatal(err)
		}
		s, err := w.desired()
		if err != nil {
			t.Fatal(err)
		}
		balancers := 0
		for _, r := range s.rows {
			lb, ok := r.model.(*nbdb.LoadBalancer)
			if !ok {
				continue
			}
			balancers++
			if got := slices.Contains(lb.SelectionFields, service.SelectsByIPv6); got != able {
				t.Errorf("%s among %v: %v, want %v", service.SelectsByIPv6, lb.SelectionFields, got, able)
			}
		}
		if balancers != 1 {
			t.Errorf("%d load balancers, want 1", balancers)
		}
	}
}
