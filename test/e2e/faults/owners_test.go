//go:build e2e

package faults

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
)

// owners watches all the time which pod has which address.
type owners struct {
	client kubernetes.Interface
	stop   func()

	mu      sync.Mutex
	of      map[netip.Addr]*corev1.Pod
	twice   []string
	changed sync.WaitGroup
}

func watchOwners(ctx context.Context, client kubernetes.Interface) (*owners, error) {
	ctx, cancel := context.WithCancel(ctx)
	o := &owners{client: client, of: map[netip.Addr]*corev1.Pod{}}
	factory := informers.NewSharedInformerFactory(client, 0)
	_, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { o.see(ctx, obj.(*corev1.Pod)) },
		UpdateFunc: func(_, obj any) { o.see(ctx, obj.(*corev1.Pod)) },
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			o.free(obj.(*corev1.Pod))
		},
	})
	o.stop = func() { cancel(); factory.Shutdown(); o.changed.Wait() }
	factory.Start(ctx.Done())
	return o, err
}

func (o *owners) see(ctx context.Context, p *corev1.Pod) {
	if !has(p) {
		o.free(p)
		return
	}
	network, err := annotations.ParsePodNetwork(p.Annotations)
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range network.Addresses {
		other := o.of[a.Addr()]
		o.of[a.Addr()] = p
		if other != nil && other.UID != p.UID {
			// After a watch was interrupted, what came is told before what has gone.
			o.changed.Go(func() { o.suspect(ctx, a.Addr(), other, p) })
		}
	}
}

// has tells whether a pod keeps its address.
func has(p *corev1.Pod) bool {
	return !p.Spec.HostNetwork && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

func (o *owners) free(p *corev1.Pod) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for a, owner := range o.of {
		if owner.UID == p.UID {
			delete(o.of, a)
		}
	}
}

// suspect asks the API server whether two pods have an address at the same time.
func (o *owners) suspect(ctx context.Context, a netip.Addr, pods ...*corev1.Pod) {
	for _, p := range pods {
		var now *corev1.Pod
		err := eventually(ctx, patience, func() (err error) {
			if now, err = o.client.CoreV1().Pods(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{}); apierrors.IsNotFound(err) {
				now, err = nil, nil
			}
			return err
		})
		if err != nil || now == nil || now.UID != p.UID || !has(now) {
			return
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.twice = append(o.twice, fmt.Sprintf("%s/%s and %s/%s both have %s", pods[0].Namespace, pods[0].Name, pods[1].Namespace, pods[1].Name, a))
}

// end stops watching and returns which addresses two pods had.
func (o *owners) end() []string {
	o.stop()
	return o.twice
}
