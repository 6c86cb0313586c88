package status

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/inspecttest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Unix(1e9, 0)

const standalone = `[{"rows":[{"model":"standalone","connected":true,"leader":true}]}]`

// world is the cluster of inspecttest, with a master that leads.
type world struct {
	objects inspect.Objects
	lease   *coordinationv1.Lease
	access  *inspecttest.Access
}

func newWorld(t *testing.T) *world {
	t.Helper()
	holder, seconds, renewed := "cp", int32(5), metav1.NewMicroTime(now.Add(-time.Second))
	w := &world{access: &inspecttest.Access{Answers: map[string]string{`["_Server"`: standalone}}}
	w.lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: names.MasterLeaseNamespace, Name: names.MasterLease},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &renewed}}
	inspecttest.Objects(t, &w.objects)
	return w
}

func (w *world) read(t *testing.T) *Report {
	t.Helper()
	var all []runtime.Object
	for i := range w.objects.Nodes {
		all = append(all, &w.objects.Nodes[i])
	}
	for i := range w.objects.Pods {
		all = append(all, &w.objects.Pods[i])
	}
	for i := range w.objects.Policies {
		all = append(all, &w.objects.Policies[i])
	}
	if w.lease != nil {
		all = append(all, w.lease)
	}
	r, err := (&Reader{Client: fake.NewClientset(all...), Access: w.access, Now: func() time.Time { return now }}).Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWell(t *testing.T) {
	r := newWorld(t).read(t)
	if r.State != OK {
		t.Errorf("state %s", r.State)
	}
	var b bytes.Buffer
	if err := r.Write(output.NewPrinter(&b, output.Table), true); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "well.txt")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnwell(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world)
		part   string
		state  State
		detail string
	}{
		{"no master leads", func(w *world) { w.lease = nil }, "master", Failed, "none leads"},
		{"the leader is gone", func(w *world) { w.lease.Spec.RenewTime.Time = now.Add(-time.Minute) }, "master", Failed, "cp led until 55s ago"},
		{"another one writes", func(w *world) { *w.lease.Spec.HolderIdentity = "other" }, "master", Degraded, "lets cp write"},
		{"no database", func(w *world) { w.access.Answers = nil }, "nb database", Failed, "exit code 127"},
		{"a node without an agent", func(w *world) { delete(w.objects.Nodes[0].Annotations, names.NodeChassisIDAnnotation) }, "nodes", Degraded, "node1: no agent"},
		{"a node whose controller is gone", func(w *world) { w.objects.Nodes[0].Annotations[names.NodeChassisIDAnnotation] = "other" }, "nodes", Degraded,
			"1 of 2 well; node1: ovn-controller is not registered"},
		{"a node is not ready", func(w *world) { w.objects.Nodes[1].Status.Conditions = nil }, "nodes", Degraded, "node2: not Ready"},
		{"a pod that is not connected", func(w *world) {
			w.objects.Pods[0].Name, w.objects.Pods[0].CreationTimestamp = "new", metav1.NewTime(now.Add(-time.Minute))
		}, "pods", Degraded, "/new: no port"},
		{"a policy that is not there", func(w *world) { w.objects.Policies[0].Spec.PodSelector.MatchLabels = map[string]string{"app": "new"} }, "policies", Degraded,
			"not in the northbound database"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.change(w)
			r := w.read(t)
			for _, f := range r.Findings {
				if f.Part == c.part && f.State == c.state && strings.Contains(f.Detail, c.detail) && f.Next != "" {
					if r.State.rank() < c.state.rank() {
						t.Errorf("the whole is %s", r.State)
					}
					return
				}
			}
			t.Errorf("no finding %s %s %q with a next step: %+v", c.part, c.state, c.detail, r.Findings)
		})
	}
}

// What hangs shows by the numbers: the databases of inspecttest are changed for that.
func TestHangs(t *testing.T) {
	for part, c := range map[string]struct{ table, column, detail string }{
		"northd": {"NB_Global", "nb_cfg", "1 requests behind"},
		"nodes":  {"NB_Global", "nb_cfg sb_cfg", "node1: ovn-controller is 1 behind; node2: ovn-controller is 1 behind"},
	} {
		w := newWorld(t)
		for column := range strings.FieldsSeq(c.column) {
			w.access.Change(c.table, column, 1)
		}
		r := w.read(t)
		found := slices.ContainsFunc(r.Findings, func(f Finding) bool {
			return f.Part == part && f.State == Failed && strings.Contains(f.Detail, c.detail) && f.Next != ""
		})
		if !found {
			t.Errorf("%s: no finding %q: %+v", part, c.detail, r.Findings)
		}
		if asked := strings.Join(w.access.Ran, "\n"); !strings.Contains(asked, "--wait=hv sync") {
			t.Errorf("nobody was asked to confirm: %s", asked)
		}
	}
}

// A pod that was made just now is no reason for alarm.
func TestNewPod(t *testing.T) {
	w := newWorld(t)
	w.objects.Pods[0].Name, w.objects.Pods[0].CreationTimestamp = "new", metav1.NewTime(now.Add(-time.Second))
	if r := w.read(t); r.State != OK {
		t.Errorf("%+v", r.Findings)
	}
}

func TestCluster(t *testing.T) {
	member := func(id string, heard time.Duration, self bool) ovndb.Server {
		return ovndb.Server{ID: id, LastMessage: heard, Self: self}
	}
	for _, c := range []struct {
		name  string
		s     ovndb.Status
		state State
	}{
		{"well, asked the leader", ovndb.Status{Role: "leader", Leader: "self", Servers: []ovndb.Server{member("a", 0, true), member("b", time.Second, false), member("c", 0, false)}}, OK},
		{"well, asked a follower", ovndb.Status{Role: "follower", Leader: "b", Servers: []ovndb.Server{member("a", 0, true), member("b", time.Second, false), member("c", -1, false)}}, OK},
		{"a member is silent", ovndb.Status{Role: "leader", Leader: "self", Servers: []ovndb.Server{member("a", 0, true), member("b", time.Hour, false), member("c", 0, false)}}, Degraded},
		{"a member was never heard of", ovndb.Status{Role: "leader", Leader: "self", Servers: []ovndb.Server{member("a", 0, true), member("b", -1, false)}}, Degraded},
		{"no leader", ovndb.Status{Role: "candidate", Servers: []ovndb.Server{member("a", 0, true)}}, Failed},
	} {
		c.s.Status, c.s.ElectionTimer = "cluster member", ovndb.DefaultElectionTimer
		if f := clusterFinding(Finding{State: OK}, &c.s); f.State != c.state {
			t.Errorf("%s: %+v, want %s", c.name, f, c.state)
		}
	}
}
