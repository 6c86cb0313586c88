//go:build e2e

package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/ovnkube/ovnkube/test/e2e/census"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

const (
	// calm is the longest time between two faults.
	calm = 3 * time.Second
	// settle is how long the cluster may take, after the last fault, to be as Kubernetes says.
	settle = 2 * time.Minute
)

// randomly brings faults about at random while pods, services and policies come and go, and looks at what is left.
func (h *harness) randomly(t *testing.T) {
	t.Logf("seed: %d; -seed repeats the faults", run.seed)
	random := rand.New(rand.NewPCG(run.seed, run.seed)) //nolint:gosec // to be repeated, not to be secret
	must(t, h.healthy(h.ctx))
	before, err := h.counted()
	must(t, err)
	owners, err := watchOwners(h.ctx, h.client)
	must(t, err)
	stop, err := h.probe()
	must(t, err)
	churn := newChurn(h, rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))) //nolint:gosec // as above
	faults := h.disturb(t, random, churn)
	must(t, h.healthy(h.ctx))
	r := row{name: "at random"}
	r.add(stop())
	t.Logf("MEASURED: %d faults in %v, %d changes of pods, services and policies (%d refused)\n%s%s", faults, run.random, churn.done, churn.refused, heading, r)

	began := time.Now()
	must(t, eventually(h.ctx, settle, func() error { return h.consistent(h.ctx) }))
	t.Logf("MEASURED: Kubernetes, northbound database and packets agree %v after the last fault", time.Since(began).Round(time.Millisecond))
	churn.clear(t)
	began = time.Now()
	var last string
	must(t, eventually(h.ctx, settle, func() error {
		now, err := h.count()
		if err != nil {
			return err
		}
		if d := now.Diff(before); d != "" {
			last = d
			return errors.New(d)
		}
		return nil
	}))
	t.Logf("MEASURED: nothing is left %v after the last deletion; what was last:\n%s", time.Since(began).Round(time.Millisecond), last)
	for _, twice := range owners.end() {
		t.Error(twice)
	}
}

// counted is the census once it stays the same for a second.
func (h *harness) counted() (census.Census, error) {
	var last census.Census
	err := eventually(h.ctx, settle, func() error {
		now, err := h.count()
		if err != nil {
			return err
		}
		d := now.Diff(last)
		last = now
		if d != "" {
			time.Sleep(time.Second)
			return errors.New(d)
		}
		return nil
	})
	return last, err
}

// count takes the census after ovn-controller has looked at everything: it may keep what concerns other nodes' routers from its
// start on until it does.
func (h *harness) count() (census.Census, error) {
	for _, n := range h.Nodes() {
		if _, err := h.Exec(h.ctx, n, "ovn-appctl", "-t", "ovn-controller", "inc-engine/recompute"); err != nil {
			return nil, err
		}
	}
	return census.TakeAll(h.ctx, h.Lab)
}

// disturb breaks something every few seconds, for as long as the flag says.
func (h *harness) disturb(t *testing.T, random *rand.Rand, churn *churn) int {
	t.Helper()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithTimeout(h.ctx, run.random)
	defer cancel()
	churn.run(ctx, &wg)
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return n
		case <-time.After(time.Duration(random.Int64N(int64(calm)))):
		}
		v := h.victims()[random.IntN(len(h.victims()))]
		t.Logf("%s: %s on %s", time.Now().Format("15:04:05.000"), v.component, v.machine)
		if err := h.kill(h.ctx, v); err != nil { // it may have ended with what it needs
			t.Log(err)
		}
	}
}

// victims are all whose end may come at any time.
func (h *harness) victims() []victim {
	var out []victim
	for _, c := range []string{plan.Master, plan.StandbyMaster, plan.Northd, plan.NBDB, plan.SBDB, plan.APIServer, plan.Etcd} {
		out = append(out, at(plan.ControlPlane, c))
	}
	for _, n := range h.Nodes() {
		for _, c := range []string{plan.NodeAgent, plan.OVNController, plan.VSwitchd, plan.OVSDB, plan.Kubelet, plan.Containerd} {
			out = append(out, at(n, c))
		}
	}
	return out
}

// clear removes what churn has left.
func (c *churn) clear(t *testing.T) {
	t.Helper()
	for name := range c.exists { // what failed may have been carried out
		_, remove := c.calls(name)
		if err := remove(c.ctx); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	}
}
