package certs

import (
	"context"
	"time"

	"k8s.io/klog/v2"
)

// untilDone tries again until it works, or ctx ends, which is the only error.
func untilDone(ctx context.Context, what string, try func() error) error {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && wait > time.Second { // the first tries may come before what they need
			klog.ErrorS(err, "Cannot yet "+what, "tryingAgainAfter", wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
