package access

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// ErrNoPod is the error when no pod that runs is at a place.
var ErrNoPod = errors.New("no pod")

// Pods runs commands in the project's pods, by the API server.
type Pods struct {
	Config *rest.Config
	Client corev1client.CoreV1Interface
	// Namespace is names.Namespace unless the network was installed elsewhere.
	Namespace string
}

// Run runs a command in a pod that is at the place and ready, if there is one that is.
func (p *Pods) Run(ctx context.Context, at Place, streams Streams, argv ...string) error {
	pod, container, err := p.find(ctx, at)
	if err != nil {
		return err
	}
	e := Exec{Config: p.Config, Client: p.Client}
	return e.Run(ctx, Container{Namespace: p.Namespace, Pod: pod, Name: container}, streams, argv...)
}

// find returns a pod at a place, and the container in it.
func (p *Pods) find(ctx context.Context, at Place) (pod, container string, err error) {
	if at == (Place{}) {
		return "", "", errors.New(`which node? Name it before "--", as in: kubectl ovn vsctl NODE -- show`)
	}
	component, container := at.component()
	selector := labels.Set(names.PodLabels(component)).String()
	o := metav1.ListOptions{LabelSelector: selector}
	if at.Node != "" {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", at.Node).String()
	}
	list, err := p.Client.Pods(p.Namespace).List(ctx, o)
	if err != nil {
		return "", "", fmt.Errorf("list pods %s in namespace %s: %w", selector, p.Namespace, err)
	}
	pods := slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool {
		elsewhere := at.Node != "" && pod.Spec.NodeName != at.Node
		return elsewhere || pod.Status.Phase != corev1.PodRunning || !slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == container })
	})
	if len(pods) == 0 {
		return "", "", fmt.Errorf("%w with %s and container %s runs for %s in namespace %s: see kubectl -n %s get pods; "+
			"where the components are processes, give --access local or a command", ErrNoPod, selector, container, at, p.Namespace, p.Namespace)
	}
	best := max(0, slices.IndexFunc(pods, ready))
	return pods[best].Name, container, nil
}

func ready(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
