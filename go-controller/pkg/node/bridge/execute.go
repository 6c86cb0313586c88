package bridge

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

// maxPasses bounds how often a reconciliation looks again after it did something. Each pass makes progress;
// what needs ovs-vswitchd ends in waiting.
const maxPasses = 10

// Manager observes and executes.
type Manager struct {
	OVS    *ovsdb.Client
	Tables nft.Runner
	// AfterStep, when set, is called after each step; an error ends the run there, as a crash would. For tests.
	AfterStep func(Step) error

	memory memory
}

// TakeOver brings the external bridge forward as far as possible. The returned plan is Done, or says what it
// is waiting for; then call again on the next event.
func (m *Manager) TakeOver(ctx context.Context, c Config) (Plan, error) {
	return m.converge(ctx, c, TakeOver)
}

// GiveBack undoes the take-over.
func (m *Manager) GiveBack(ctx context.Context, c Config) (Plan, error) {
	return m.converge(ctx, c, GiveBack)
}

func (m *Manager) converge(ctx context.Context, c Config, plan func(Observed, Config) Plan) (Plan, error) {
	for range maxPasses {
		o, err := m.Observe(ctx, c)
		if err != nil {
			return Plan{}, err
		}
		m.memory.note(&o)
		p := plan(o, c)
		m.memory.settle(p.followed)
		for _, step := range p.Steps {
			if err := m.execute(ctx, step, c); err != nil {
				return p, fmt.Errorf("external bridge: %s: %w", step, err)
			}
		}
		if len(p.Steps) == 0 {
			return p, nil
		}
	}
	return Plan{}, fmt.Errorf("external bridge: no end after %d passes: something else changes %s or %s", maxPasses, c.NIC, names.ExternalBridge)
}

func (m *Manager) execute(ctx context.Context, s Step, c Config) error {
	var err error
	switch {
	case s.OVS != nil:
		_, err = ovs.Ensure(ctx, m.OVS, *s.OVS)
	case s.Host != nil:
		err = s.Host.Apply(ctx)
	case s.Guard != nil && *s.Guard:
		_, err = m.Tables.Ensure(ctx, nft.Uplink(c.NIC))
	case s.Guard != nil:
		err = m.Tables.Remove(ctx, nft.Uplink(c.NIC))
	}
	if err != nil {
		return err
	}
	klog.InfoS("External bridge", "step", s)
	if m.AfterStep != nil {
		return m.AfterStep(s)
	}
	return nil
}

// Observe reads all that a plan depends on.
func (m *Manager) Observe(ctx context.Context, c Config) (Observed, error) {
	o := Observed{OVS: ovs.Observe(m.OVS), Now: time.Now(), NICSysctls: nicSysctls(c.NIC)}
	var err error
	if o.Record, o.HasRecord, err = LoadRecord(o.OVS); err != nil {
		return o, err
	}
	if o.NIC, err = hostnet.Observe(c.NIC); err != nil {
		return o, err
	}
	if o.Bridge, err = hostnet.Observe(names.ExternalBridge); err != nil {
		return o, err
	}
	if o.Bridge != nil {
		settings := hostnet.Desired{Device: names.ExternalBridge, NoTxChecksum: c.userspace(), Sysctls: bridgeSysctls(o, o.Record)}
		settings.Sysctls[v4(names.ExternalBridge, "rp_filter")] = ""
		settings.Sysctls[v4("all", "rp_filter")] = ""
		if o.BridgeSettings, err = hostnet.ObserveSettings(settings); err != nil {
			return o, err
		}
	}
	if c.userspace() && o.NIC != nil {
		if o.Guarded, err = m.Tables.Present(ctx, nft.Uplink(c.NIC)); err != nil {
			return o, err
		}
	}
	o.BootID, err = bootID()
	return o, err
}

func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot's id: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
