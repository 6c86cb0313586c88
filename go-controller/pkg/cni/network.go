package cni

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// doubtAfter is how long the watch may lag behind the runtime before the API server is asked whether
// the pod exists at all.
const doubtAfter = time.Second

// errOtherPod says that the watch shows another pod of that name, or none: it lags, or the request is stale.
var errOtherPod = errors.New("the pod has not been seen yet")

// awaitNetwork waits for the master's annotation on the pod.
func (s *Server) awaitNetwork(ctx context.Context, ref podRef) (podInfo, annotations.PodNetwork, error) {
	wake, stop := s.pods.watch(ref.Namespace, ref.Name)
	defer stop()
	doubt := time.NewTimer(doubtAfter)
	defer doubt.Stop()
	seen := false
	for {
		info, network, err := s.networkOf(ref)
		if err == nil {
			return info, network, nil
		}
		if seen && errors.Is(err, errOtherPod) {
			err = fmt.Errorf("%w: %s was deleted or replaced", errPodGone, ref)
		}
		seen = seen || errors.Is(err, annotations.ErrMissing)
		if !errors.Is(err, annotations.ErrMissing) && !errors.Is(err, errOtherPod) {
			return info, network, failed(stageAnnotation, err, "see: kubectl -n "+ref.Namespace+" get pod "+ref.Name+" -o yaml")
		}
		select {
		case <-wake:
		case <-doubt.C:
			if err := s.confirm(ctx, ref); err != nil {
				return info, network, failed(stageAnnotation, err, "")
			}
		case <-ctx.Done():
			err = fmt.Errorf("waiting for %s on pod %s: %w (%w)", names.PodNetworksAnnotation, ref, context.Cause(ctx), err)
			return info, network, failed(stageAnnotation, err, "is the master running? see its log, and the pod's events: kubectl -n "+
				ref.Namespace+" describe pod "+ref.Name)
		}
	}
}

// networkOf reads the pod's network from the watch. The error is errPodGone when the pod needs no network any more, and
// errOtherPod or annotations.ErrMissing when waiting may help.
func (s *Server) networkOf(ref podRef) (podInfo, annotations.PodNetwork, error) {
	info, ok := s.pods.get(ref.Namespace, ref.Name)
	if !ok || !info.is(ref) {
		return info, annotations.PodNetwork{}, errOtherPod
	}
	if info.Terminating {
		return info, annotations.PodNetwork{}, fmt.Errorf("%w: %s is being deleted", errPodGone, ref)
	}
	network, err := annotations.ParsePodNetwork(info.Annotations)
	return info, network, err
}

// confirm asks the API server whether the pod that the runtime means exists. Not to know is no error.
func (s *Server) confirm(ctx context.Context, ref podRef) error {
	if info, ok := s.pods.get(ref.Namespace, ref.Name); ok && info.is(ref) {
		return nil
	}
	info, found, err := s.pods.lookup(ctx, ref.Namespace, ref.Name)
	switch {
	case err != nil:
		return nil
	case !found:
		return fmt.Errorf("%w: there is no pod %s", errPodGone, ref)
	case !info.is(ref):
		return fmt.Errorf("%w: pod %s now has UID %s and not %s", errPodGone, ref, info.UID, ref.UID)
	}
	return nil
}

// supervise calls cancel when the pod is deleted, replaced, or given another network.
func (s *Server) supervise(ctx context.Context, ref podRef, network annotations.PodNetwork, cancel context.CancelCauseFunc) {
	wake, stop := s.pods.watch(ref.Namespace, ref.Name)
	defer stop()
	want := annotations.FormatPodNetwork(network)
	for {
		_, now, err := s.networkOf(ref)
		switch {
		case errors.Is(err, errPodGone):
			cancel(err)
		case errors.Is(err, errOtherPod):
			// It was there before, so this is not a watch that lags.
			cancel(fmt.Errorf("%w: %s was deleted or replaced", errPodGone, ref))
		case err == nil && annotations.FormatPodNetwork(now) != want:
			cancel(errReassigned)
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		}
	}
}
