// Package kube is how controllers see and touch Kubernetes: clients without a client-side throttle, mirrors of
// objects trimmed to what is used, keyed level-triggered workers, annotation patches and Events.
package kube
