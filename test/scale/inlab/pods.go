package inlab

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/test/e2e/places"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/image"
)

// Namespace is where scenarios put their objects.
const Namespace = "bench"

// podPoll is between two looks at what is not told by an event here.
const podPoll = 100 * time.Millisecond

// MakeNamespace makes the namespace and waits until pods can be made in it.
func (b *Bench) MakeNamespace(ctx context.Context) error {
	_, err := b.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("namespace of the benchmark: %w", err)
	}
	for {
		_, err := b.Client.CoreV1().ServiceAccounts(Namespace).Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			return nil
		}
		if err := pause(ctx, podPoll); err != nil {
			return fmt.Errorf("service account of namespace %s: %w", Namespace, err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// StartPod makes a pod that does nothing, with a label "app" of its name, on a node and returns its network once it is ready.
func (b *Bench) StartPod(ctx context.Context, name, node string) (traffic.Place, error) {
	second, none := int64(1), false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			NodeName: node, TerminationGracePeriodSeconds: &second, AutomountServiceAccountToken: &none,
			Containers: []corev1.Container{{Name: "pause", Image: image.Pause, ImagePullPolicy: corev1.PullNever}},
		},
	}
	pods := b.Client.CoreV1().Pods(Namespace)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return traffic.Place{}, fmt.Errorf("create pod %s: %w", name, err)
	}
	for {
		pod, err := pods.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return traffic.Place{}, fmt.Errorf("pod %s: %w", name, err)
		}
		if ready(pod) {
			return b.place(pod)
		}
		if err := pause(ctx, podPoll); err != nil {
			return traffic.Place{}, fmt.Errorf("pod %s on %s is %s: %w", name, node, pod.Status.Phase, err)
		}
	}
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (b *Bench) place(pod *corev1.Pod) (traffic.Place, error) {
	found, err := places.Pods(b.Lab, pod)
	if err != nil {
		return traffic.Place{}, err
	}
	return found[0], nil
}

// Machine returns the network of a machine of the lab.
func (b *Bench) Machine(name string) (traffic.Place, error) { return places.Machine(b.Lab, name) }
