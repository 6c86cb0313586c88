package master

import (
	"context"
	"maps"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

// annotationWorkers is how many patches are under way at once. A patch costs the server more than the creation of the
// pod did, so with few in flight those who create pods would outrun those who annotate them on a busy
// server; with more, each only waits longer.
const annotationWorkers = 64

// annotator keeps annotations as wanted. The engine says what it wants; the patches are made by
// workers of its own, so that allocation never waits for the network.
type annotator struct {
	patcher kube.Patcher
	worker  *kube.Worker[key]
	// current returns the annotations that an object has now, nil when the object is not there or is
	// another incarnation; never nil otherwise.
	current func(key, kube.Ref) map[string]string
	// patched is called after each successful patch.
	patched func(key)
	// whileHeld allows patches.
	whileHeld permission
	// refused is called after each patch that the API server does not allow; it is tried again all the same.
	refused func(kube.Ref, error)

	mu     sync.Mutex
	wanted map[key]wantedAnnotations
}

type wantedAnnotations struct {
	ref         kube.Ref
	annotations map[string]string
}

func newAnnotator(patcher kube.Patcher, metrics workqueue.MetricsProvider,
	current func(key, kube.Ref) map[string]string, patched func(key),
) *annotator {
	a := &annotator{patcher: patcher, current: current, patched: patched, wanted: map[key]wantedAnnotations{}}
	a.worker = kube.NewWorker("annotations", metrics, a.annotate)
	return a
}

// want sees to it that the object gets these annotations, and keeps on trying until it has them, is gone, or
// something else is wanted. Annotations that the object has already cost nothing.
func (a *annotator) want(k key, ref kube.Ref, annotations map[string]string) {
	a.mu.Lock()
	a.wanted[k] = wantedAnnotations{ref, annotations}
	a.mu.Unlock()
	a.worker.Add(k)
}

// forget stops wanting anything of an object.
func (a *annotator) forget(k key) {
	a.mu.Lock()
	delete(a.wanted, k)
	a.mu.Unlock()
}

func (a *annotator) take(k key) (wantedAnnotations, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, ok := a.wanted[k]
	return w, ok
}

// annotate looks at what is wanted and what is there when it may patch, not before it has waited for that.
func (a *annotator) annotate(ctx context.Context, k key) error {
	ctx, done, err := a.whileHeld(ctx)
	if err != nil {
		return err
	}
	defer done()
	w, ok := a.take(k)
	if !ok {
		return nil
	}
	missing := map[string]string{}
	has := a.current(k, w.ref)
	for name, value := range w.annotations {
		if has == nil || has[name] != value {
			missing[name] = value
		}
	}
	if len(missing) == 0 {
		a.drop(k, w)
		return nil
	}
	if k.kind == nodeKey {
		err = a.patcher.PatchNode(ctx, w.ref, missing)
	} else {
		err = a.patcher.PatchPod(ctx, w.ref, missing)
	}
	switch {
	case err == nil:
		a.patched(k)
	case apierrors.IsNotFound(err):
		// Gone: its own event follows.
	case a.current(k, w.ref) == nil:
		// Another of the same name refuses the former one's patch; its own event leads to what it needs.
	default:
		if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
			a.refused(w.ref, err)
		}
		return err
	}
	a.drop(k, w)
	return nil
}

// drop forgets what was wanted unless something else is wanted by now. Later edits by others are noticed by the
// engine, which then wants it again.
func (a *annotator) drop(k key, w wantedAnnotations) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now, ok := a.wanted[k]; ok && now.ref == w.ref && maps.Equal(now.annotations, w.annotations) {
		delete(a.wanted, k)
	}
}
