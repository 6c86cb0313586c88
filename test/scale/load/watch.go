package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Watcher records when objects appeared and when they got an annotation. It sees only their metadata.
type Watcher struct {
	annotation string
	watch      watch.Interface

	mu      sync.Mutex
	objects map[string]*Seen
	// annotated counts objects with the annotation; changes counts events after an object had it.
	annotated, changes int
	// reached are closed when annotated reaches their key.
	reached map[int]chan struct{}
	last    time.Time
	err     error
	done    chan struct{}
}

// Seen is what is known of one object.
type Seen struct {
	// Created and Annotated are when the events arrived here.
	Created, Annotated time.Time
	// Value is the annotation's.
	Value string
}

// WatchNodes follows the nodes' subnets.
func WatchNodes(ctx context.Context, config *rest.Config) (*Watcher, error) {
	return newWatcher(ctx, config, nodesResource, names.NodeSubnetsAnnotation)
}

// WatchPods follows the pods' networks.
func WatchPods(ctx context.Context, config *rest.Config) (*Watcher, error) {
	return newWatcher(ctx, config, podsResource, names.PodNetworksAnnotation)
}

func newWatcher(ctx context.Context, config *rest.Config, resource schema.GroupVersionResource, annotation string) (*Watcher, error) {
	own := rest.CopyConfig(config)
	own.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext // a connection of its own
	client, err := metadata.NewForConfig(own)
	if err != nil {
		return nil, fmt.Errorf("client for watch: %w", err)
	}
	day := int64((24 * time.Hour).Seconds()) // the server must not end the watch
	w := &Watcher{annotation: annotation, objects: map[string]*Seen{}, reached: map[int]chan struct{}{}, done: make(chan struct{})}
	w.watch, err = client.Resource(resource).Watch(ctx, metav1.ListOptions{TimeoutSeconds: &day})
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", resource.Resource, err)
	}
	go w.run()
	return w, nil
}

func (w *Watcher) run() {
	defer close(w.done)
	for event := range w.watch.ResultChan() {
		now := time.Now()
		object, ok := event.Object.(*metav1.PartialObjectMetadata)
		if !ok {
			w.fail(fmt.Errorf("watch: unexpected event %s: %+v", event.Type, event.Object))
			return
		}
		w.handle(event.Type, object, now)
	}
	w.fail(errors.New("the watch has ended"))
}

func (w *Watcher) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

func (w *Watcher) handle(kind watch.EventType, object *metav1.PartialObjectMetadata, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := names.ObjectName(object.Namespace, object.Name)
	if kind == watch.Deleted {
		delete(w.objects, key)
		return
	}
	seen := w.objects[key]
	if seen == nil {
		seen = &Seen{Created: now}
		w.objects[key] = seen
	}
	value, ok := object.Annotations[w.annotation]
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
	w.watch.Stop()
	<-w.done
}
