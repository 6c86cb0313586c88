package load

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Watcher records when objects appeared and when they got an annotation.
type Watcher struct {
	annotation string
	open       opener
	stop       context.CancelFunc

	mu      sync.Mutex
	objects map[string]*Seen
	// annotated counts objects with the annotation; changes counts events after an object had it.
	annotated, changes int
	// reached are closed when annotated reaches their key.
	reached map[int]chan struct{}
	last    time.Time
	// interrupted counts watches that the server ended.
	interrupted int
	err         error
	done        chan struct{}
}

// opener opens a watch that starts after a resource version.
type opener func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)

// Seen is what is known of one object.
type Seen struct {
	// Created and Annotated are when the events arrived here.
	Created, Annotated time.Time
	// Value is the annotation's.
	Value string
}

// WatchNodes follows the nodes' subnets.
func WatchNodes(ctx context.Context, config *rest.Config) (*Watcher, error) {
	clients, err := separate(config, 1)
	if err != nil {
		return nil, err
	}
	client := clients[0]
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	return newWatcher(ctx, client.CoreV1().Nodes().Watch, list.ResourceVersion, names.NodeSubnetsAnnotation)
}

// WatchPods follows the pods' networks.
func WatchPods(ctx context.Context, config *rest.Config) (*Watcher, error) {
	clients, err := separate(config, 1)
	if err != nil {
		return nil, err
	}
	client := clients[0]
	list, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	return newWatcher(ctx, client.CoreV1().Pods("").Watch, list.ResourceVersion, names.PodNetworksAnnotation)
}

func newWatcher(ctx context.Context, open opener, version, annotation string) (*Watcher, error) {
	ctx, stop := context.WithCancel(ctx)
	w := &Watcher{
		annotation: annotation, open: open, stop: stop,
		objects: map[string]*Seen{}, reached: map[int]chan struct{}{}, done: make(chan struct{}),
	}
	events, err := w.watch(ctx, version)
	if err != nil {
		stop()
		return nil, err
	}
	go func() {
		defer close(w.done)
		w.fail(w.run(ctx, events, version))
	}()
	return w, nil
}

func (w *Watcher) watch(ctx context.Context, version string) (watch.Interface, error) {
	day := int64((24 * time.Hour).Seconds())
	events, err := w.open(ctx, metav1.ListOptions{ResourceVersion: version, TimeoutSeconds: &day})
	if err != nil {
		return nil, fmt.Errorf("watch from version %s: %w", version, err)
	}
	return events, nil
}

// run handles events. A busy API server ends watches that it cannot serve in time; the next one goes on after the
// last event, so that nothing is lost but time.
func (w *Watcher) run(ctx context.Context, events watch.Interface, version string) error {
	for {
		for event := range events.ResultChan() {
			now := time.Now()
			object, ok := event.Object.(metav1.Object)
			if !ok {
				return fmt.Errorf("watch: unexpected event %s: %+v", event.Type, event.Object)
			}
			version = object.GetResourceVersion()
			w.handle(event.Type, object, now)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		w.mu.Lock()
		w.interrupted++
		w.mu.Unlock()
		var err error
		if events, err = w.watch(ctx, version); err != nil {
			return err
		}
	}
}

func (w *Watcher) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

func (w *Watcher) handle(kind watch.EventType, object metav1.Object, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := names.ObjectName(object.GetNamespace(), object.GetName())
	if kind == watch.Deleted {
		delete(w.objects, key)
		return
	}
	seen := w.objects[key]
	if seen == nil {
		seen = &Seen{Created: now}
		w.objects[key] = seen
	}
	value, ok := object.GetAnnotations()[w.annotation]
	switch {
	case !ok:
	case seen.Value != "":
		w.changes++
		seen.Value = value
	default:
		seen.Annotated, seen.Value = now, value
		w.annotated++
		w.last = now
		if reached := w.reached[w.annotated]; reached != nil {
			close(reached)
			delete(w.reached, w.annotated)
		}
	}
}

// Wait returns when n objects have the annotation; the time is that of the last event.
func (w *Watcher) Wait(ctx context.Context, n int) (time.Time, error) {
	w.mu.Lock()
	reached := w.reached[n]
	if reached == nil {
		reached = make(chan struct{})
		if w.annotated >= n {
			close(reached)
		} else {
			w.reached[n] = reached
		}
	}
	w.mu.Unlock()
	select {
	case <-reached:
	case <-w.done:
	case <-ctx.Done():
		w.fail(context.Cause(ctx))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.annotated < n {
		return w.last, fmt.Errorf("%d of %d objects have the annotation %s: %w", w.annotated, n, w.annotation, w.err)
	}
	return w.last, nil
}

// Changes returns how many events changed an object after it had its annotation.
func (w *Watcher) Changes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changes
}

// Interrupted returns how often the server ended the watch; the times of some events were late then.
func (w *Watcher) Interrupted() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.interrupted
}

// Objects returns a copy of what is known, by "namespace/name".
func (w *Watcher) Objects() map[string]Seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make(map[string]Seen, len(w.objects))
	for key, seen := range w.objects {
		out[key] = *seen
	}
	return out
}

// Latencies returns for each annotated object the time from the event of its creation to that of its
// annotation.
func (w *Watcher) Latencies() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]time.Duration, 0, w.annotated)
	for _, seen := range w.objects {
		if seen.Value != "" {
			out = append(out, seen.Annotated.Sub(seen.Created))
		}
	}
	return out
}

// Stop ends the watch.
func (w *Watcher) Stop() {
	w.stop()
	<-w.done
}
