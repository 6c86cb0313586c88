package cni

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Annotations with which kubelet marks the mirrors of static pods. Their value is the UID that
// the runtime knows the pod by, while the API server gives the mirror a UID of its own.
const (
	mirrorAnnotation     = "kubernetes.io/config.mirror"
	configHashAnnotation = "kubernetes.io/config.hash"
)

// podInfo is what is known of a pod.
type podInfo struct {
	UID string
	// RuntimeUID is the UID that CNI_ARGS have.
	RuntimeUID  string
	Terminating bool
	Annotations map[string]string
}

// is tells whether the runtime means this pod.
func (p podInfo) is(ref podRef) bool {
	return ref.UID == "" || ref.UID == p.RuntimeUID || ref.UID == p.UID
}

// podSource tells about the pods of this node.
type podSource interface {
	// get returns the pod as last seen by the watch.
	get(namespace, name string) (podInfo, bool)
	// watch returns a channel that gets a value after changes of the pod.
	watch(namespace, name string) (wake <-chan struct{}, stop func())
	// lookup asks the API server.
	lookup(ctx context.Context, namespace, name string) (podInfo, bool, error)
	synced() bool
}

// podWatch is the podSource on the API server's watch.
type podWatch struct {
	client   kubernetes.Interface
	informer cache.SharedIndexInformer

	mu      sync.Mutex
	waiters map[string]map[chan struct{}]struct{}
}

func newPodWatch(client kubernetes.Interface, node string) (*podWatch, error) {
	lw := kube.Selected(client, client.CoreV1().Pods(metav1.NamespaceAll), fields.OneTermEqualSelector("spec.nodeName", node).String())
	w := &podWatch{
		client:   client,
		informer: cache.NewSharedIndexInformer(lw, &corev1.Pod{}, 0, cache.Indexers{}),
		waiters:  map[string]map[chan struct{}]struct{}{},
	}
	if err := w.informer.SetTransform(trimPod); err != nil {
		return nil, fmt.Errorf("pod informer: %w", err)
	}
	_, err := w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    w.changed,
		UpdateFunc: func(_, pod any) { w.changed(pod) },
		DeleteFunc: w.changed,
	})
	if err != nil {
		return nil, fmt.Errorf("pod informer: %w", err)
	}
	return w, nil
}

// trimPod keeps of a pod what is read here.
func trimPod(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	kept := map[string]string{}
	for _, key := range []string{names.PodNetworksAnnotation, mirrorAnnotation, configHashAnnotation} {
		if v, ok := pod.Annotations[key]; ok {
			kept[key] = v
		}
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace:         pod.Namespace,
		Name:              pod.Name,
		UID:               pod.UID,
		ResourceVersion:   pod.ResourceVersion,
		DeletionTimestamp: pod.DeletionTimestamp,
		Annotations:       kept,
	}}, nil
}

// run watches until ctx ends.
func (w *podWatch) run(ctx context.Context) { w.informer.RunWithContext(ctx) }

func (w *podWatch) synced() bool { return w.informer.HasSynced() }

func (w *podWatch) get(namespace, name string) (podInfo, bool) {
	o, ok, err := w.informer.GetStore().GetByKey(namespace + "/" + name)
	if err != nil || !ok {
		return podInfo{}, false
	}
	return infoOf(o.(*corev1.Pod)), true
}

func (w *podWatch) lookup(ctx context.Context, namespace, name string) (podInfo, bool, error) {
	pod, err := w.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return podInfo{}, false, nil
	}
	if err != nil {
		return podInfo{}, false, fmt.Errorf("get pod %s/%s: %w", namespace, name, err)
	}
	return infoOf(pod), true, nil
}

func infoOf(pod *corev1.Pod) podInfo {
	info := podInfo{
		UID:         string(pod.UID),
		RuntimeUID:  string(pod.UID),
		Terminating: pod.DeletionTimestamp != nil,
		Annotations: pod.Annotations,
	}
	if hash, ok := pod.Annotations[mirrorAnnotation]; ok {
		info.RuntimeUID = hash
	} else if hash, ok := pod.Annotations[configHashAnnotation]; ok {
		info.RuntimeUID = hash
	}
	return info
}

func (w *podWatch) watch(namespace, name string) (<-chan struct{}, func()) {
	key, ch := namespace+"/"+name, make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiters[key] == nil {
		w.waiters[key] = map[chan struct{}]struct{}{}
	}
	w.waiters[key][ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiters[key], ch)
		if len(w.waiters[key]) == 0 {
			delete(w.waiters, key)
		}
	}
}

func (w *podWatch) changed(o any) {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(o)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.waiters[key] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
