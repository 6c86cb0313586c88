package scenario

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/test/scale/harness"
)

// policyRows follows the ACLs and the pods' ports of the northbound database.
type policyRows struct {
	client *ovsdb.Client

	mu sync.Mutex
	// acls counts those of each policy, all those of anybody, in last when they were changed last.
	acls map[string]int
	all  int
	last time.Time
	// ports are those of pods.
	ports   int
	changed chan struct{}
}

func watchPolicies(ctx context.Context, nb *harness.Database) (*policyRows, error) {
	full, err := nbdb.FullDatabaseModel()
	if err != nil {
		return nil, err
	}
	p := &policyRows{acls: map[string]int{}, changed: make(chan struct{})}
	p.client, err = ovsdb.Connect(ctx, ovsdb.Options{
		Database: full.Name(), Model: full, Endpoints: []string{nb.Remote},
		Monitors: []ovsdb.Monitor{
			{Table: nbdb.ACLTable, Columns: []string{"external_ids"}},
			{Table: nbdb.LogicalSwitchPortTable, Columns: []string{"external_ids"}},
		},
		Handlers: []cache.EventHandler{&cache.EventHandlerFuncs{
			AddFunc:    func(_ string, m model.Model) { p.count(m, 1) },
			DeleteFunc: func(_ string, m model.Model) { p.count(m, -1) },
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("follow the ACLs: %w", err)
	}
	return p, nil
}

func (p *policyRows) count(m model.Model, by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() {
		close(p.changed)
		p.changed = make(chan struct{})
	}()
	if port, ok := m.(*nbdb.LogicalSwitchPort); ok && port.ExternalIDs[names.OwnerTypeKey] == names.OwnerPod {
		p.ports += by
	}
	acl, ok := m.(*nbdb.ACL)
	if !ok {
		return
	}
	p.all += by
	p.last = time.Now()
	if acl.ExternalIDs[names.OwnerTypeKey] == names.OwnerNetworkPolicy {
		key := acl.ExternalIDs[names.OwnerNameKey]
		if p.acls[key] += by; p.acls[key] == 0 {
			delete(p.acls, key)
		}
	}
}

// total is how many ACLs there are.
func (p *policyRows) total() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

// wait returns when n policies have ACLs, and since when.
func (p *policyRows) wait(ctx context.Context, n int) (time.Time, error) {
	for {
		p.mu.Lock()
		have, last, changed := len(p.acls), p.last, p.changed
		p.mu.Unlock()
		if have == n {
			return last, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("%d policies have ACLs, want %d: %w", have, n, context.Cause(ctx))
		}
	}
}

// waitPods waits until n pods have ports. What they are members of comes with them.
func (p *policyRows) waitPods(ctx context.Context, n int) error {
	for {
		p.mu.Lock()
		have, changed := p.ports, p.changed
		p.mu.Unlock()
		if have == n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d pods have ports, want %d: %w", have, n, context.Cause(ctx))
		}
	}
}
