package kube

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

// Back-off of a key whose work fails: from fast to at most slowest, for ever.
const (
	firstRetry   = 20 * time.Millisecond
	slowestRetry = 30 * time.Second
)

// Worker works on keys, level-triggered: a key says that something about an object changed, and the work
// looks at how things are now. A key that is added while it waits is worked on once; one that
// is added while it is worked on is worked on again. Failures are retried for ever with capped back-off.
type Worker[K comparable] struct {
	name  string
	queue workqueue.TypedRateLimitingInterface[K]
	do    func(context.Context, K) error
}

// NewWorker returns a worker; metrics may be nil.
func NewWorker[K comparable](name string, metrics workqueue.MetricsProvider, do func(context.Context, K) error) *Worker[K] {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[K](firstRetry, slowestRetry)
	cfg := workqueue.TypedRateLimitingQueueConfig[K]{}
	if metrics != nil {
		cfg.Name, cfg.MetricsProvider = name, metrics
	}
	return &Worker[K]{name: name, queue: workqueue.NewTypedRateLimitingQueueWithConfig(limiter, cfg), do: do}
}

// Add says that there may be something to do for key. It never blocks.
func (w *Worker[K]) Add(key K) { w.queue.Add(key) }

// AddAfter is Add in that time from now. It never blocks.
func (w *Worker[K]) AddAfter(key K, after time.Duration) { w.queue.AddAfter(key, after) }

// Len is how many keys wait.
func (w *Worker[K]) Len() int { return w.queue.Len() }

// Run works with n goroutines until ctx ends and all of them are back.
func (w *Worker[K]) Run(ctx context.Context, n int) {
	stop := context.AfterFunc(ctx, w.queue.ShutDown)
	defer stop()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for w.next(ctx) {
			}
		})
	}
	wg.Wait()
}

// RunUntilIdle works on all keys that wait, in the caller's goroutine, and returns how many there were. It lets tests
// decide in which order things happen.
func (w *Worker[K]) RunUntilIdle(ctx context.Context) int {
	n := 0
	for w.queue.Len() > 0 {
		w.next(ctx)
		n++
	}
	return n
}

// RunOne works on the key that waits longest. It waits for one when there is none.
func (w *Worker[K]) RunOne(ctx context.Context) { w.next(ctx) }

func (w *Worker[K]) next(ctx context.Context) bool {
	key, stopped := w.queue.Get()
	if stopped || ctx.Err() != nil {
		return false
	}
	defer w.queue.Done(key)
	if err := w.do(ctx, key); err != nil {
		if ctx.Err() == nil {
			klog.ErrorS(err, "Will be tried again", "worker", w.name, "key", key)
			w.queue.AddRateLimited(key)
		}
		return true
	}
	w.queue.Forget(key)
	return true
}
