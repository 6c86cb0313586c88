package status

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// agent is the pod of a node's agent.
func agent(name, node string, state corev1.ContainerState) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: names.Namespace, Name: name, Labels: names.PodLabels(names.NodePods)},
		Spec:       corev1.PodSpec{NodeName: node, HostNetwork: true},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{
			{Name: names.ControllerContainer, Ready: true},
			{Name: names.AgentContainer, Ready: state.Running != nil, State: state},
		}},
	}
}

// A node says for good that it has had an agent: whether it has one now its pod tells.
func TestAgents(t *testing.T) {
	up := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	crashes := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137}}
	hangs := agent("a", "node1", corev1.ContainerState{})
	other := agent("o", "node1", up)
	other.Namespace = "shop"
	starting := agent("a", "node1", up)
	starting.Status.ContainerStatuses = nil
	starting.Status.Phase = corev1.PodPending
	for _, c := range []struct {
		name string
		pods []corev1.Pod
		want string
	}{
		{"they are processes", nil, ""},
		{"well", []corev1.Pod{agent("a", "node1", up), agent("b", "node2", up)}, ""},
		{"crashes", []corev1.Pod{agent("a", "node1", crashes), agent("b", "node2", up)}, "1 of 2 well; node1: the agent is not ready (pod a: CrashLoopBackOff)"},
		{"has ended", []corev1.Pod{agent("a", "node1", ended), agent("b", "node2", up)}, "1 of 2 well; node1: the agent is not ready (pod a: ended with exit code 137)"},
		{"hangs", []corev1.Pod{hangs, agent("b", "node2", up)}, "1 of 2 well; node1: the agent is not ready (pod a)"},
		{"starts", []corev1.Pod{starting, agent("b", "node2", up)}, "1 of 2 well; node1: the agent does not run (pod a is Pending)"},
		{"is not there", []corev1.Pod{other, agent("b", "node2", up)}, "1 of 2 well; node1: no pod of the agent"},
		{"is being replaced", []corev1.Pod{agent("a", "node1", up), agent("a2", "node1", crashes), agent("b", "node2", up)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.objects.Pods = append(w.objects.Pods, c.pods...)
			for _, f := range w.read(t).Findings {
				want := Finding{Part: "nodes", State: OK, Detail: "2 of 2 well"}
				if c.want != "" {
					want.State, want.Detail, want.Next = Degraded, c.want, f.Next
				}
				if f.Part == "nodes" && (f != want || (f.Next == "") != (f.State == OK)) {
					t.Errorf("%+v, want %+v", f, want)
				}
			}
		})
	}
}
