//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

const (
	members  = 3
	majority = members/2 + 1
	// beside is the member whose socket leads ovn-northd to the leader: without it nothing new is computed. The lab has one
	// ovn-northd; a control plane of three hosts has one beside each member.
	beside = 1
)

// TestClusters is TestFaults for databases of three members each.
func TestClusters(t *testing.T) {
	ctx := run.context(t)
	h := newHarness(ctx, t, bringUp(ctx, t, cluster.Options{Databases: members}))
	h.clustered = true
	report(t, "Databases of three members", h.tryAll(t, clusterTable()))
}

// clusterTable lists the faults of databases of three members. None of them may cost anything.
func clusterTable() []fault {
	out := []fault{{name: "none, databases of three", inject: wait(3 * time.Second), fromHeal: true, noise: true}}
	for _, d := range rafts() {
		for n := 1; n <= members; n++ {
			out = append(out,
				fault{name: fmt.Sprintf("%s: member %d killed", d.name, n), inject: d.killed(d.member(n))},
				fault{name: fmt.Sprintf("%s: member %d stopped", d.name, n), inject: d.stopped(d.member(n)), hold: 3 * time.Second, fromHeal: n == beside})
		}
		out = append(out,
			fault{name: d.name + ": leader killed", inject: d.killed(d.leader)},
			fault{name: d.name + ": leader stopped", inject: d.stopped(d.distantLeader), hold: 3 * time.Second},
			fault{name: d.name + ": all members killed", inject: d.killed(d.first(members))},
			// Without a majority nothing is written: what is new waits until the members are back.
			fault{name: d.name + ": two members stopped", inject: d.stopped(d.first(majority)), hold: 4 * time.Second, fromHeal: true},
			fault{name: d.name + ": all members stopped", inject: d.stopped(d.first(members)), hold: 4 * time.Second, fromHeal: true})
	}
	return append(out, fault{name: "southbound: relay killed", inject: kills(at(plan.ControlPlane, plan.SBRelay))})
}

// raft is a database with several members.
type raft struct{ name, kind, component string }

func rafts() []raft {
	return []raft{{"northbound", "nb", plan.NBDB}, {"southbound", "sb", plan.SBDB}}
}

// choice finds the members that a fault is about.
type choice func(context.Context, *harness) ([]victim, error)

func (c raft) at(n int) victim { return at(plan.ControlPlane, plan.DatabaseMember(c.component, n)) }

func (c raft) member(n int) choice {
	return func(context.Context, *harness) ([]victim, error) { return []victim{c.at(n)}, nil }
}

// first are the first n members.
func (c raft) first(n int) choice {
	return func(context.Context, *harness) (out []victim, err error) {
		for i := 1; i <= n; i++ {
			out = append(out, c.at(i))
		}
		return out, nil
	}
}

func (c raft) leader(ctx context.Context, h *harness) (out []victim, err error) {
	err = eventually(ctx, patience, func() error {
		for n := 1; n <= members; n++ {
			if s, err := h.DatabaseStatus(ctx, c.kind, n); err == nil && s.Leads() {
				out = []victim{c.at(n)}
				return nil
			}
		}
		return fmt.Errorf("no member of the %s database leads", c.name)
	})
	return out, err
}

// distantLeader is a leader that is not beside ovn-northd. One that is hands its leadership over when it is restarted.
func (c raft) distantLeader(ctx context.Context, h *harness) (out []victim, err error) {
	err = eventually(ctx, patience, func() error {
		if out, err = c.leader(ctx, h); err != nil {
			return err
		}
		if out[0] != c.at(beside) {
			return nil
		}
		return errors.Join(h.Restart(ctx, out[0].component, out[0].machine), fmt.Errorf("%s leads", out[0].component))
	})
	return out, err
}

// healthy wants each member to know its leader. A process that runs is not yet a member: it may still be joining.
func (c raft) healthy(ctx context.Context, h *harness) error {
	var errs []error
	for n := 1; n <= members; n++ {
		s, err := h.DatabaseStatus(ctx, c.kind, n)
		if err == nil && (s.Status != "cluster member" || s.Leader == "" || len(s.Servers) != members) {
			err = fmt.Errorf("member %d of the %s database is %q, %s of %q among %d", n, c.name, s.Status, s.Role, s.Leader, len(s.Servers))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c raft) killed(choose choice) injection {
	return func(ctx context.Context, h *harness) (func(context.Context) error, error) {
		victims, err := choose(ctx, h)
		if err != nil {
			return nil, err
		}
		return nil, h.kill(ctx, victims...)
	}
}

// stopped ends members in order and starts them again.
func (c raft) stopped(choose choice) injection {
	return func(ctx context.Context, h *harness) (func(context.Context) error, error) {
		victims, err := choose(ctx, h)
		if err != nil {
			return nil, err
		}
		heal := func(ctx context.Context) error {
			var errs []error
			for _, v := range victims {
				errs = append(errs, h.StartComponent(ctx, v.component, v.machine))
			}
			return errors.Join(errs...)
		}
		for _, v := range victims {
			if err := h.StopComponent(ctx, v.component, v.machine); err != nil {
				return nil, errors.Join(err, heal(ctx))
			}
		}
		return heal, nil
	}
}
