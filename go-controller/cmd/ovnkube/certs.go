package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/ovnkube/ovnkube/go-controller/pkg/certs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
)

// withCertificates runs, beside the master's work, what signs certificates for the cluster and keeps this host's own. Work that needs the
// latter waits for it.
func withCertificates(ctx context.Context, cfg *config.Master, client kubernetes.Interface, wait bool, work func(context.Context) error) error {
	if cfg.CertificateDir == "" {
		return work(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("the host's name, for its certificate: %w", err)
	}
	requester := certs.NewRequester(client, certs.ForMaster(cfg.CertificateDir, host), nil)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return certs.RunElected(ctx, client, cfg.Identity, cfg.CertificateDuration) })
	group.Go(func() error { requester.Run(ctx); return nil })
	group.Go(func() error {
		defer cancel() // the end of the work is the end of all
		if wait {
			select {
			case <-requester.Ready():
			case <-ctx.Done():
				return nil
			}
		}
		return work(ctx)
	})
	return group.Wait()
}
