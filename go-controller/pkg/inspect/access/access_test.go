package access

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
)

func TestMachinesCommand(t *testing.T) {
	argv := []string{"ovs-vsctl", "get", "it's"}
	for _, c := range []struct {
		name string
		m    Machines
		at   Place
		want []string
	}{
		{"here", Machines{Here: "cp"}, Beside(ovndb.NB()), argv},
		{"this node", Machines{Here: "node1"}, On("node1"), argv},
		{"this node, not named", Machines{Here: "node1"}, On(""), argv},
		{"another node", Machines{Here: "cp"}, On("node1"), nil},
		{"through a command", Machines{Through: []string{"lab", "exec", "{host}", "--"}}, On("node1"), append([]string{"lab", "exec", "node1", "--"}, argv...)},
		{"the databases", Machines{Through: []string{"lab", "exec", "{host}", "--"}, ControlPlane: "cp"}, Beside(ovndb.SB()), append([]string{"lab", "exec", "cp", "--"}, argv...)},
		{"one of the databases", Machines{Through: []string{"lab", "exec", "{host}", "--"}, ControlPlane: "cp"}, Member(ovndb.SB(), "cp2"), append([]string{"lab", "exec", "cp2", "--"}, argv...)},
		{"one of the databases, here", Machines{Here: "cp"}, Member(ovndb.SB(), "cp"), argv},
		{"one of the databases, elsewhere", Machines{Here: "cp"}, Member(ovndb.SB(), "cp2"), nil},
		{"the databases, machine unknown", Machines{Through: []string{"lab", "exec", "{host}", "--"}}, Beside(ovndb.SB()), nil},
		{"ssh gives the words to a shell", Machines{Through: []string{"/usr/bin/ssh", "root@{host}"}}, On("node1"),
			[]string{"/usr/bin/ssh", "root@node1", "'ovs-vsctl'", "'get'", `'it'\''s'`}},
	} {
		got, err := c.m.command(c.at, argv)
		if (err != nil) != (c.want == nil) {
			t.Errorf("%s: error %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// The end of a command is told as it was.
func TestMachinesRun(t *testing.T) {
	m := &Machines{}
	out, err := Output(context.Background(), m, On(""), "sh", "-c", "echo out")
	if err != nil || out != "out\n" {
		t.Errorf("output %q, error %v", out, err)
	}
	_, err = Output(context.Background(), m, On(""), "sh", "-c", "echo wrong >&2; exit 3")
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 3 || !strings.Contains(err.Error(), "wrong") {
		t.Errorf("error %v, want exit code 3 and what the command said", err)
	}
}

func TestFindPod(t *testing.T) {
	pod := func(name, component, node, container string, ready corev1.ConditionStatus, phase corev1.PodPhase) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: names.Namespace, Name: name, Labels: names.PodLabels(component)},
			Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: container}}},
			Status:     corev1.PodStatus{Phase: phase, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
		}
	}
	client := fake.NewClientset(
		pod("db-a", names.DatabasePods, "cp1", names.NorthboundContainer, corev1.ConditionFalse, corev1.PodRunning),
		pod("db-b", names.DatabasePods, "cp2", names.NorthboundContainer, corev1.ConditionTrue, corev1.PodRunning),
		pod("db-c", names.DatabasePods, "cp3", names.NorthboundContainer, corev1.ConditionFalse, corev1.PodPending),
		pod("node-a", names.NodePods, "node1", names.ControllerContainer, corev1.ConditionFalse, corev1.PodRunning),
	)
	p := &Pods{Client: client.CoreV1(), Namespace: names.Namespace}
	for at, want := range map[Place]string{Beside(ovndb.NB()): "db-b", Member(ovndb.NB(), "cp1"): "db-a", Member(ovndb.NB(), "cp3"): "", On("node1"): "node-a", Beside(ovndb.SB()): "", On(""): ""} {
		got, _, err := p.find(context.Background(), at)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: pod %q (%v), want %q", at, got, err, want)
		}
		if want == "" && at != (Place{}) && !errors.Is(err, ErrNoPod) {
			t.Errorf("%s: error %v, want ErrNoPod", at, err)
		}
	}
}
