package status

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// agents tells for each node what is wrong with its agent, by the agent's pod. It knows nothing of agents that are processes: asPods is
// false then.
func (f *facts) agents() (wrong map[string]string, asPods bool) {
	selector := labels.SelectorFromSet(names.PodLabels(names.NodePods))
	pods := map[string][]*corev1.Pod{}
	for i := range f.view.Objects.Pods {
		if p := &f.view.Objects.Pods[i]; p.Namespace == f.namespace && selector.Matches(labels.Set(p.Labels)) {
			pods[p.Spec.NodeName] = append(pods[p.Spec.NodeName], p)
		}
	}
	if len(pods) == 0 {
		return nil, false
	}
	wrong = map[string]string{}
	for i := range f.view.Objects.Nodes {
		node := f.view.Objects.Nodes[i].Name
		if w := agentOf(pods[node]); w != "" {
			wrong[node] = w
		}
	}
	return wrong, true
}

// agentOf is what is wrong with the agent in a node's pods; one that is ready is enough, as while one takes another's place.
func agentOf(pods []*corev1.Pod) string {
	out := "no pod of the agent"
	for _, p := range pods {
		at := slices.IndexFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == names.AgentContainer })
		switch {
		case at < 0:
			out = fmt.Sprintf("the agent does not run (pod %s is %s)", p.Name, cmp.Or(p.Status.Phase, corev1.PodPending))
		case p.Status.ContainerStatuses[at].Ready:
			return ""
		default:
			out = fmt.Sprintf("the agent is not ready (pod %s%s)", p.Name, why(p.Status.ContainerStatuses[at].State))
		}
	}
	return out
}

func why(s corev1.ContainerState) string {
	switch {
	case s.Waiting != nil:
		return ": " + s.Waiting.Reason
	case s.Terminated != nil:
		return fmt.Sprintf(": ended with exit code %d", s.Terminated.ExitCode)
	}
	return ""
}
