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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/inspecttest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Unix(1e9, 0)

const standalone = `[{"rows":[{"model":"standalone","connected":true,"leader":true}]}]`

// world is the cluster of inspecttest, with a master that leads.
type world struct {
	// secret: the lease may not be read.
	secret bool
	// refused is why no command can be run at all.
	refused error
	// verbose: each node is looked into.
	verbose bool
	objects inspect.Objects
	lease   *coordinationv1.Lease
	access  *inspecttest.Access
	reader  *Reader
}

func newWorld(t *testing.T) *world {
	t.Helper()
	holder, seconds, renewed := "cp", int32(5), metav1.NewMicroTime(now.Add(-time.Second))
	w := &world{access: &inspecttest.Access{Answers: map[string]string{`["_Server"`: standalone, "--wait=hv sync": ""}}}
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
	client := fake.NewClientset(all...)
	if w.secret {
		client.PrependReactor("get", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(coordinationv1.Resource("leases"), names.MasterLease, nil)
		})
	}
	if w.reader == nil {
		w.reader = &Reader{Client: client, Access: w.access, Now: func() time.Time { return now }, Verbose: w.verbose}
		if w.refused != nil {
			w.reader.Access = refusing{w.refused}
		}
	}
	r, err := w.reader.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWell(t *testing.T) {
	w := newWorld(t)
	w.verbose = true
	w.access.Answers["node node1: sh -c"] = looked("172.18.0.12", `"up"`, `["set",[]]`)
	w.access.Answers["node node2: sh -c"] = looked("172.18.0.11", `"up"`, `["set",[]]`)
	w.access.Answers[`["_Server"`] = strings.ReplaceAll(standalone, "standalone", "clustered")
	w.access.Answers["database nb: ovs-appctl"] = one.asked("leader", "self", well, two.at(6))
	w.access.Answers["database sb: ovs-appctl"] = two.asked("leader", "self", well, one)
	r := w.read(t)
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
		{"the lease may not be read", func(w *world) { w.secret = true }, "master", Unknown, "forbidden"},
		{"the northbound content cannot be read", func(w *world) { w.access.Unreadable = "nb" }, "nb database contents", Unknown, "unexpected EOF"},
		{"the southbound content cannot be read", func(w *world) { w.access.Unreadable = "sb" }, "sb database contents", Unknown, "unexpected EOF"},
		{"nobody can be asked", func(w *world) { delete(w.access.Answers, "--wait=hv sync") }, "northd", Unknown, "could not be asked to confirm: database nb: sh: exit code 127"},
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
			parts := map[string]int{}
			for _, f := range r.Findings {
				if parts[f.Part]++; parts[f.Part] > 1 {
					t.Errorf("%s is told of twice: %+v", f.Part, r.Findings)
				}
			}
			for _, f := range r.Findings {
				if f.Part == c.part && f.State == c.state && strings.Contains(f.Detail, c.detail) && f.Next != "" {
					if r.State != c.state {
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

// Nobody is asked again before all have confirmed: whoever waits for a node that is away does not raise the number at each look.
func TestAskedOnce(t *testing.T) {
	w := newWorld(t)
	asked := func() int {
		w.read(t)
		return strings.Count(strings.Join(w.access.Ran, "\n"), "--wait=hv sync")
	}
	w.access.Change("NB_Global", "nb_cfg", 3)
	w.access.Change("NB_Global", "sb_cfg", 3)
	if n := asked(); n != 1 {
		t.Errorf("asked %d times at the first look, want once, though somebody else has asked before", n)
	}
	if n := asked(); n != 1 {
		t.Errorf("asked %d times, want once as long as nodes have not confirmed", n)
	}
	w.access.Change("NB_Global", "hv_cfg", 3)
	if n := asked(); n != 2 {
		t.Errorf("asked %d times, want again when all have confirmed", n)
	}
	w = newWorld(t)
	w.access.Change("NB_Global", "nb_cfg", 3)
	delete(w.access.Answers, "--wait=hv sync")
	asked()
	if n := asked(); n != 2 {
		t.Errorf("asked %d times, want again after it could not be done", n)
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

// A server that hangs does not hang the status.
func TestClusterDeadline(t *testing.T) {
	w := newWorld(t)
	w.access.Answers[`["_Server"`] = strings.ReplaceAll(standalone, "standalone", "clustered")
	w.read(t)
	asked := slices.DeleteFunc(slices.Clone(w.access.Ran), func(line string) bool { return !strings.Contains(line, "cluster/status") })
	if len(asked) != 2 || !strings.Contains(asked[0], "ovs-appctl --timeout=") || !strings.Contains(asked[1], "ovs-appctl --timeout=") {
		t.Errorf("asked %q, want both databases' servers, with a deadline", asked)
	}
}
