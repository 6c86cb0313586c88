package cnibench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/ovnkube/ovnkube/test/lab/image"
	"github.com/ovnkube/ovnkube/test/scale/inlab"
)

// pods creates pods on one node and follows them.
type pods struct {
	client kubernetes.Interface
	node   string
	mu     sync.Mutex
	// running and gone are closed by name when the pod runs and has been deleted.
	running, gone map[string]chan time.Time
}

func newPods(ctx context.Context, client kubernetes.Interface, node string) (*pods, error) {
	p := &pods{client: client, node: node, running: map[string]chan time.Time{}, gone: map[string]chan time.Time{}}
	lw := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", inlab.Namespace, fields.Everything())
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: lw, ObjectType: &corev1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			UpdateFunc: func(_, object any) {
				if pod, ok := object.(*corev1.Pod); ok && pod.Status.Phase == corev1.PodRunning {
					p.tell(p.running, pod.Name)
				}
			},
			DeleteFunc: func(object any) {
				if key, err := cache.DeletionHandlingObjectToName(object); err == nil {
					p.tell(p.gone, key.Name)
				}
			},
		},
	})
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return nil, fmt.Errorf("list pods: %w", context.Cause(ctx))
	}
	return p, nil
}

// tell sends the time to who waits for the pod, once.
func (p *pods) tell(waiting map[string]chan time.Time, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := waiting[name]; c != nil {
		delete(waiting, name)
		c <- time.Now()
	}
}

func (p *pods) expect(waiting map[string]chan time.Time, name string) <-chan time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := make(chan time.Time, 1)
	waiting[name] = c
	return c
}

func (p *pods) object(name string) *corev1.Pod {
	second, none := int64(1), false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: inlab.Namespace},
		Spec: corev1.PodSpec{
			// The scheduler places it: its time is part of what a user waits for.
			NodeSelector:                  map[string]string{corev1.LabelHostname: p.node},
			TerminationGracePeriodSeconds: &second,
			// kubelet looks only every 300 ms whether a pod's volumes are mounted: without a token there is none.
			AutomountServiceAccountToken: &none,
			Containers:                   []corev1.Container{{Name: "pause", Image: image.Pause, ImagePullPolicy: corev1.PullNever}},
		},
	}
}

// span is from the request to create a pod until it was seen running.
type span struct{ start, end time.Time }

// run creates a pod and waits until it runs.
func (p *pods) run(ctx context.Context, name string) (span, error) {
	running := p.expect(p.running, name)
	s := span{start: time.Now()}
	if _, err := p.client.CoreV1().Pods(inlab.Namespace).Create(ctx, p.object(name), metav1.CreateOptions{}); err != nil {
		return s, fmt.Errorf("create pod %s: %w", name, err)
	}
	select {
	case s.end = <-running:
		return s, nil
	case <-ctx.Done():
		return s, fmt.Errorf("pod %s does not run: %w", name, context.Cause(ctx))
	}
}

// runAll creates n pods at once.
func (p *pods) runAll(ctx context.Context, prefix string, n int) ([]span, error) {
	spans := make([]span, n)
	group, ctx := errgroup.WithContext(ctx)
	for i := range n {
		group.Go(func() (err error) {
			spans[i], err = p.run(ctx, podName(prefix, i))
			return err
		})
	}
	return spans, group.Wait()
}

func podName(prefix string, i int) string { return fmt.Sprintf("%s-%03d", prefix, i) }

// remove deletes n pods at once and waits until they are gone.
func (p *pods) remove(ctx context.Context, prefix string, n int) error {
	group, ctx := errgroup.WithContext(ctx)
	for i := range n {
		group.Go(func() error {
			name := podName(prefix, i)
			gone := p.expect(p.gone, name)
			if err := p.client.CoreV1().Pods(inlab.Namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
				return fmt.Errorf("delete pod %s: %w", name, err)
			}
			select {
			case <-gone:
				return nil
			case <-ctx.Done():
				return fmt.Errorf("pod %s does not go: %w", name, context.Cause(ctx))
			}
		})
	}
	return group.Wait()
}

// latencies are the spans' lengths; all is from the first start to the last end.
func latencies(spans []span) (each []time.Duration, all time.Duration) {
	var first, last time.Time
	for i, s := range spans {
		each = append(each, s.end.Sub(s.start))
		if i == 0 || s.start.Before(first) {
			first = s.start
		}
		if s.end.After(last) {
			last = s.end
		}
	}
	return each, last.Sub(first)
}
