package certs

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Times of the signer's election. Certificates are renewed hours before they are needed: nothing is in a hurry. An API server that hangs may keep a signer for the deadline
// twice, the second time to give the Lease back, before it ends: that must be over when the Lease is.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 5 * time.Second
	retryPeriod   = time.Second
)

// RunElected runs a Signer whenever this replica, called identity, holds the signers' Lease, until ctx ends. The Lease is not that of
// the masters: to lead, a master needs the databases, and these need certificates.
func RunElected(ctx context.Context, client kubernetes.Interface, identity string, validity time.Duration) error {
	// The first request for the Lease must not come before the right to it: it would be repeated after a long time only.
	if err := untilDone(ctx, "see the signers' Lease", func() error {
		_, err := client.CoordinationV1().Leases(names.Namespace).Get(ctx, names.SignerLease, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}); err != nil {
		return nil //nolint:nilerr // ctx has ended
	}
	for ctx.Err() == nil {
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Name: names.SignerLease,
			Lock: &resourcelock.LeaseLock{
				LeaseMeta:  metav1.ObjectMeta{Namespace: names.Namespace, Name: names.SignerLease},
				Client:     client.CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
			},
			LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod, ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) { _ = NewSigner(client, validity).Run(ctx) }, // it ends with ctx only
				OnStoppedLeading: func() {},
			},
		})
		if err != nil {
			return fmt.Errorf("election of the signer: %w", err)
		}
		elector.Run(ctx)
	}
	return nil
}
