package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/load"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

const masterGrace = 15 * time.Second

// cluster is everything a scenario runs.
type cluster struct {
	control   *harness.ControlPlane
	ovn       harness.OVN
	nb, sb    *harness.Database
	northd    *harness.Process
	master    *harness.Master
	options   harness.MasterOptions
	generator *load.Generator
	logs      string
}

func startCluster(ctx context.Context, id string, northd bool, env Env) (*cluster, error) {
	c := &cluster{logs: env.KeepLogs, ovn: env.OVN}
	progress("%s: starting control plane and databases", id)
	if err := c.start(ctx, northd, env); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

func (c *cluster) start(ctx context.Context, northd bool, env Env) (err error) {
	if err := c.ovn.Mount(); err != nil {
		return err
	}
	if c.control, err = harness.StartControlPlane(ctx, env.Control); err != nil {
		return err
	}
	if c.nb, err = c.ovn.StartDatabase(ctx, "nb"); err != nil {
		return err
	}
	if c.sb, err = c.ovn.StartDatabase(ctx, "sb"); err != nil {
		return err
	}
	if northd {
		if c.northd, err = c.ovn.StartNorthd(c.nb, c.sb); err != nil {
			return err
		}
	}
	if c.generator, err = load.NewGenerator(c.control.LoadConfig()); err != nil {
		return err
	}
	if err := c.generator.Prepare(ctx); err != nil {
		return err
	}
	kubeconfig, err := c.control.MasterKubeconfig()
	if err != nil {
		return err
	}
	c.options = harness.MasterOptions{
		Binary: env.Master, Kubeconfig: kubeconfig, NB: c.nb, SB: c.sb, Subnets: env.Subnets, Args: env.MasterArgs, Env: env.MasterEnv,
	}
	return c.startMaster(ctx)
}

func (c *cluster) startMaster(ctx context.Context) (err error) {
	c.master, err = harness.StartMaster(ctx, c.options)
	return err
}

// alive says which process has ended that should not have.
func (c *cluster) alive() error {
	if err := c.master.Failed(); err != nil {
		return err
	}
	if c.northd != nil {
		return c.northd.Failed()
	}
	return nil
}

func (c *cluster) stop() {
	if c.master != nil {
		c.master.Stop(masterGrace)
	}
	c.northd.Stop(time.Second)
	for _, d := range []*harness.Database{c.nb, c.sb} {
		if d != nil {
			d.Stop(time.Second)
		}
	}
	c.control.Stop()
	if c.logs != "" {
		if err := os.CopyFS(c.logs, os.DirFS(filepath.Join(harness.WorkDir, "log"))); err != nil {
			fmt.Fprintln(os.Stderr, "keep logs:", err)
		}
	}
}

// restartMaster starts the master again over an unchanged cluster, which it must leave as it is.
func (c *cluster) restartMaster(ctx context.Context, result *report.Result) error {
	before, err := c.settled(ctx)
	if err != nil {
		return err
	}
	c.master.Stop(masterGrace)
	if err := c.startMaster(ctx); err != nil {
		return err
	}
	after, err := c.settled(ctx)
	if err != nil {
		return err
	}
	result.Add("restart: northbound transactions", float64(after.Sub(before).Master), report.Count).AtMost(0)
	result.Add("restart: started → ready", c.master.TimeToReady.Seconds(), report.Seconds)
	return nil
}

// settled waits until the northbound database is still and returns its transactions.
func (c *cluster) settled(ctx context.Context) (harness.Transactions, error) {
	if err := c.nb.Quiet(ctx, still); err != nil {
		return harness.Transactions{}, fmt.Errorf("the northbound database does not come to rest: %w", err)
	}
	return c.nb.Transactions()
}
