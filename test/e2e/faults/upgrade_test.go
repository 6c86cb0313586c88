//go:build e2e

package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// The product's executables.
const (
	product   = "ovnkube"
	cniPlugin = "ovn-k8s-cni-overlay"
	// installPlugin is what a node does before its agent starts.
	installPlugin = `install -m 0755 -t /opt/cni/bin "$(command -v ` + cniPlugin + `)"`
)

// TestUpgrades replaces an earlier version of the product by this one, and this one by the earlier one, a part at a time.
func TestUpgrades(t *testing.T) {
	if run.previous == "" {
		t.Skip("needs the executables of an earlier version (-previous)")
	}
	ctx := run.context(t)
	after, err := run.executables()
	must(t, err)
	u := upgrade{before: run.previous, after: after, folder: t.TempDir()}
	must(t, u.differ())
	must(t, u.install(u.before))
	h := newHarness(ctx, t, bringUp(ctx, t, cluster.Options{BinDir: u.folder}))
	report(t, "Upgrades", h.tryAll(t, u.table(h)))
}

// upgrade is a change between two versions.
type upgrade struct {
	// before and after are folders with executables, folder is the one that the lab runs.
	before, after, folder string
}

// table lists what is upgraded, and set back after a while. None of it may cost anything.
func (u upgrade) table(h *harness) []fault {
	masters := []victim{at(plan.ControlPlane, plan.StandbyMaster), at(plan.ControlPlane, plan.Master)}
	var agents []victim
	for _, n := range h.Nodes() {
		agents = append(agents, at(n, plan.NodeAgent))
	}
	hold := 3 * time.Second
	return []fault{
		{name: "none, earlier version", inject: wait(hold), fromHeal: true, noise: true},
		{name: "CNI plugin: other version, and back", inject: u.plugin, hold: hold},
		{name: "node agents: other version, and back", inject: u.of(agents...), hold: hold},
		{name: "masters: other version, and back", inject: u.of(masters...), hold: hold},
		{name: "masters, then node agents: other version, and back", inject: u.of(append(masters, agents...)...), hold: hold},
	}
}

// of upgrades components one after the other, and sets them back in the other direction.
func (u upgrade) of(components ...victim) injection {
	return func(ctx context.Context, h *harness) (func(context.Context) error, error) {
		heal := func(ctx context.Context) error {
			if err := u.install(u.before); err != nil {
				return err
			}
			for i := len(components) - 1; i >= 0; i-- {
				if err := h.restart(ctx, components[i]); err != nil {
					return err
				}
			}
			return nil
		}
		if err := u.install(u.after); err != nil {
			return nil, err
		}
		for _, v := range components {
			if err := h.restart(ctx, v); err != nil {
				return nil, err
			}
		}
		return heal, nil
	}
}

// plugin replaces the CNI plugin alone: the agents are of the other version.
func (u upgrade) plugin(ctx context.Context, h *harness) (func(context.Context) error, error) {
	put := func(ctx context.Context, from string) error {
		if err := u.install(from); err != nil {
			return err
		}
		for _, n := range h.Nodes() {
			if _, err := h.Exec(ctx, n, "sh", "-ec", installPlugin); err != nil {
				return err
			}
		}
		return nil
	}
	return func(ctx context.Context) error { return put(ctx, u.before) }, put(ctx, u.after)
}

// differ wants two versions: else nothing would be tried.
func (u upgrade) differ() error {
	before, err := os.ReadFile(filepath.Join(u.before, product))
	if err != nil {
		return err
	}
	after, err := os.ReadFile(filepath.Join(u.after, product))
	if err == nil && bytes.Equal(before, after) {
		err = fmt.Errorf("%s and %s have the same version", u.before, u.after)
	}
	return err
}

// install puts a version into the folder that the lab runs. What runs keeps its own file.
func (u upgrade) install(from string) error {
	return errors.Join(replace(u.folder, from, product), replace(u.folder, from, cniPlugin))
}

func replace(folder, from, name string) error {
	in, err := os.Open(filepath.Join(from, name))
	if err != nil {
		return err
	}
	defer in.Close()
	fresh := filepath.Join(folder, name+".new")
	out, err := os.OpenFile(fresh, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copy %s from %s: %w", name, from, err)
	}
	return os.Rename(fresh, filepath.Join(folder, name))
}

// restart ends a component in order and waits until it is ready again, as a rollout does.
func (h *harness) restart(ctx context.Context, v victim) error {
	c, err := h.component(ctx, v)
	if err != nil {
		return err
	}
	if err := h.Restart(ctx, v.component, v.machine); err != nil {
		return err
	}
	if err := h.renewed(ctx, []victim{v}, []int{c.PID}); err != nil {
		return err
	}
	if err := h.runsInstalled(ctx, v); err != nil {
		return err
	}
	port := map[string]uint16{plan.Master: plan.MasterHealth, plan.StandbyMaster: plan.StandbyHealth, plan.NodeAgent: plan.AgentHealth}[v.component]
	return eventually(ctx, patience, func() error { return h.readyz(ctx, v.machine, port) })
}

// runsInstalled wants a component to run the file that is installed, not one that was there before.
func (h *harness) runsInstalled(ctx context.Context, v victim) error {
	c, err := h.component(ctx, v)
	if err != nil {
		return err
	}
	const script = `[ "$(readlink /proc/$0/exe)" = "$(command -v ` + product + `)" ]`
	if _, err := h.Exec(ctx, v.machine, "sh", "-c", script, fmt.Sprint(c.PID)); err != nil {
		return fmt.Errorf("%s on %s does not run what is installed: %w", v.component, v.machine, err)
	}
	return nil
}
