package load

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Stub stands for the master in a run that measures the API server alone: it gives every pod an annotation of
// the usual size and does nothing else. No master can annotate faster on the same machine.
type Stub struct {
	pods metadata.Getter
	todo chan *metav1.PartialObjectMetadata
	done sync.WaitGroup
	stop context.CancelFunc

	mu  sync.Mutex
	err error
}

// StartStub follows the pods and annotates them until ctx ends.
func StartStub(ctx context.Context, config *rest.Config) (*Stub, error) {
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of the stub: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	s := &Stub{pods: client.Resource(podsResource), stop: stop, todo: make(chan *metav1.PartialObjectMetadata, 1<<16)}
	pods, err := s.pods.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		stop()
		return nil, fmt.Errorf("watch of the stub: %w", err)
	}
	s.done.Go(func() {
		defer close(s.todo)
		for event := range pods.ResultChan() {
			pod, ok := event.Object.(*metav1.PartialObjectMetadata)
			if ok && pod.Annotations[names.PodNetworksAnnotation] == "" {
				s.todo <- pod
			}
		}
	})
	for range connections * inFlight {
		s.done.Go(func() { s.annotate(ctx, client) })
	}
	return s, nil
}

func (s *Stub) annotate(ctx context.Context, client metadata.Interface) {
	address := netip.MustParsePrefix("10.128.0.5/23")
	value := annotations.FormatPodNetwork(annotations.PodNetwork{
		Addresses: []netip.Prefix{address}, MAC: addr.MAC(address.Addr()), Gateways: []netip.Addr{netip.MustParseAddr("10.128.0.1")},
	})
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, names.PodNetworksAnnotation, value)
	for pod := range s.todo {
		_, err := client.Resource(podsResource).Namespace(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
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
