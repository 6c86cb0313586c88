package connectivity

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/check"
)

// await asks done after each change that a watch reports, until it is or fails.
func (r *runner) await(ctx context.Context, watches func(context.Context, metav1.ListOptions) (watch.Interface, error), o metav1.ListOptions,
	done func(context.Context) (bool, error)) error {
	for {
		w, err := watches(ctx, o)
		if err != nil {
			return err
		}
		for open := true; open; {
			if ok, err := done(ctx); ok || err != nil {
				w.Stop()
				return err
			}
			select {
			case _, open = <-w.ResultChan():
			case <-ctx.Done():
				w.Stop()
				return ctx.Err()
			}
		}
	}
}

// awaitPods waits until all pods are ready, and remembers them.
func (r *runner) awaitPods(ctx context.Context) error {
	all := func(ctx context.Context) (bool, error) {
		list, err := r.Client.CoreV1().Pods(r.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		r.clients, r.servers = nil, nil
		for i := range r.nodes {
			c, s := find(list.Items, podName(client, i)), find(list.Items, podName(server, i))
			if c == nil || s == nil {
				return false, nil
			}
			r.clients, r.servers = append(r.clients, *c), append(r.servers, *s)
		}
		return true, nil
	}
	return r.await(ctx, r.Client.CoreV1().Pods(r.namespace).Watch, metav1.ListOptions{}, all)
}

// find returns the pod with a name if it is ready.
func find(pods []corev1.Pod, name string) *corev1.Pod {
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Name == name && podReady(&p) && len(p.Status.PodIPs) > 0 })
	if i < 0 {
		return nil
	}
	return &pods[i]
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue })
}

// few is how many of many things are named.
const few = 3

// notReady says which pods do not become ready, and why, as far as it is known.
func (r *runner) notReady(ctx context.Context, reason error) check.Finding {
	f := check.Finding{Check: "pods run, and nodes reach them", State: check.Fail, Detail: reason.Error(), Next: "kubectl ovn status; with --keep: kubectl -n " + r.namespace + " describe pods"}
	list, err := r.Client.CoreV1().Pods(r.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return f
	}
	var bad []string
	for i := range list.Items {
		if p := &list.Items[i]; !podReady(p) {
			bad = append(bad, fmt.Sprintf("%s on %s is %s", p.Name, p.Spec.NodeName, r.why(ctx, p)))
		}
	}
	f.Detail = fmt.Sprintf("%d of %d pods are not ready: %s", len(bad), len(list.Items), strings.Join(bad[:min(few, len(bad))], "; "))
	return f
}

// why is the last that was said about a pod.
func (r *runner) why(ctx context.Context, p *corev1.Pod) string {
	text := string(p.Status.Phase)
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Waiting != nil {
			text += ", " + strings.TrimSpace(c.State.Waiting.Reason+" "+c.State.Waiting.Message)
		}
	}
	events, err := r.Client.CoreV1().Events(r.namespace).List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("involvedObject.name", p.Name).String()})
	if err != nil {
		return text
	}
	for _, e := range slices.Backward(events.Items) {
		if e.Type == corev1.EventTypeWarning && e.InvolvedObject.Name == p.Name {
			return text + ", " + e.Reason + ": " + e.Message
		}
	}
	return text
}
