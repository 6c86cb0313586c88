package load

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

const (
	// stubConnections and stubInFlight, on all of them together, have been found by trial. A patch costs the API
	// server twice what a creation costs, so there must be more in flight than the load's own. With many on
	// one connection the server is slow to serve them and to send events.
	stubConnections = 4
	stubInFlight    = 64
	// onlyMetadata asks for the smallest answer there is.
	onlyMetadata = mimeType + ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
)

// Stub stands for the master in a run that measures the API server alone: it gives every pod an annotation of
// the usual size and does nothing else. No master can annotate faster on the same machine.
type Stub struct {
	todo chan *corev1.Pod
	done sync.WaitGroup
	stop context.CancelFunc

	mu  sync.Mutex
	err error
}

// StartStub follows the pods and annotates them until it is stopped. It returns when it has seen the pods that
// exist.
func StartStub(ctx context.Context, config *rest.Config) (*Stub, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of the stub: %w", err)
	}
	patches, err := separate(config, stubConnections)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	s := &Stub{stop: stop, todo: make(chan *corev1.Pod, 1<<16)}
	lw := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, fields.Everything())
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: lw, ObjectType: &corev1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{AddFunc: func(object any) {
			if pod, ok := object.(*corev1.Pod); ok && pod.Annotations[names.PodNetworksAnnotation] == "" {
				s.todo <- pod
			}
		}},
	})
	s.done.Go(func() {
		defer close(s.todo)
		informer.RunWithContext(ctx)
	})
	for i := range stubInFlight {
		s.done.Go(func() { s.annotate(ctx, patches[i%stubConnections].CoreV1().RESTClient()) })
	}
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		stop()
		return nil, fmt.Errorf("the stub cannot list pods: %w", context.Cause(ctx))
	}
	return s, nil
}

func (s *Stub) annotate(ctx context.Context, client rest.Interface) {
	address := netip.MustParsePrefix("10.128.0.5/23")
	value := annotations.FormatPodNetwork(annotations.PodNetwork{
		Addresses: []netip.Prefix{address}, MAC: addr.MAC(address.Addr()), Gateways: []netip.Addr{netip.MustParseAddr("10.128.0.1")},
	})
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, names.PodNetworksAnnotation, value)
	for pod := range s.todo {
		request := client.Patch(types.StrategicMergePatchType).Namespace(pod.Namespace).Resource("pods").Name(pod.Name)
		err := request.SubResource("status").SetHeader("Accept", onlyMetadata).Body(patch).Do(ctx).Error()
		if err != nil && ctx.Err() == nil {
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
		}
	}
}

// Stop ends the stub; the error is one that a patch met.
func (s *Stub) Stop() error {
	s.stop()
	s.done.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
