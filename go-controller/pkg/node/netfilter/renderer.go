package netfilter

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
)

// Renderer writes rules into the kernel of this network namespace. Sync and Remove are called from one goroutine.
type Renderer interface {
	// Name is that of the setting that chooses the renderer.
	Name() string
	// Sync makes the kernel hold the rules of the ledger, and those that follow from facts. touched are the keys that may
	// have changed since the last call. It returns what it has changed.
	Sync(ctx context.Context, f Facts, l *Ledger, touched []Key) ([]Change, error)
	// Remove leaves nothing of what Sync has ever made.
	Remove(ctx context.Context) error
	// Watch calls notify when it begins and whenever others may have changed what Sync keeps, until ctx ends.
	Watch(ctx context.Context, notify func()) error
}

// Choose returns the renderer for a setting (names.NetfilterAuto and so on), the other ones, and why it is that one.
func Choose(ctx context.Context, setting string) (chosen Renderer, others []Renderer, reason string, err error) {
	tables, chains := NewNFTables(nft.Kernel()), NewIPTables()
	switch setting {
	case names.NetfilterNFTables:
		return tables, []Renderer{chains}, "as configured", tables.Check(ctx)
	case names.NetfilterIPTables:
		return chains, []Renderer{tables}, "as configured", chains.Check()
	}
	errTables := tables.Check(ctx)
	if errTables == nil {
		return tables, []Renderer{chains}, "the kernel and nft take the rules of nftables", nil
	}
	if err := chains.Check(); err != nil {
		return nil, nil, "", fmt.Errorf("neither nftables (%w) nor iptables (%w) can be used: install nft or iptables", errTables, err)
	}
	return chains, []Renderer{tables}, "nftables cannot be used: " + errTables.Error(), nil
}

// Cleanup removes the rules of both renderers, and the routing rules.
func Cleanup(ctx context.Context) error {
	for _, r := range []Renderer{NewNFTables(nft.Kernel()), NewIPTables()} {
		if err := r.Remove(ctx); err != nil {
			return fmt.Errorf("remove rules of %s: %w", r.Name(), err)
		}
	}
	if err := removeMarkRules(); err != nil {
		return err
	}
	klog.InfoS("Removed the rules for services", "from", "netfilter")
	return nil
}
