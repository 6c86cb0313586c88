//go:build e2e

package faults

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// options are the flags of the test binary.
type options struct {
	keep           bool
	prefix, bin    string
	ovnRoot, table string
	// previous is a folder with an earlier version of the product's executables.
	previous string
	family   plan.Family
	rate     int
	random   time.Duration
	seed     uint64
	ctx      context.Context
}

// run is set once by TestMain.
var run options

func TestMain(m *testing.M) {
	flag.BoolVar(&run.keep, "keep", false, "leave the lab up")
	flag.StringVar(&run.prefix, "prefix", "faults", "the lab's name")
	flag.StringVar(&run.bin, "bin", "", "folder with the product's executables (default: _output/bin)")
	flag.StringVar(&run.ovnRoot, "ovn-root", "", "root file system to run Open vSwitch and OVN from, instead of the host's")
	flag.StringVar(&run.previous, "previous", "", "folder with the executables of an earlier version, to upgrade from")
	flag.StringVar(&run.table, "table", "", "file for the table, as Markdown")
	flag.Func("family", "ipv4 (default), ipv6 or dual", func(s string) (err error) { run.family, err = plan.ParseFamily(s); return err })
	flag.IntVar(&run.rate, "rate", 100, "requests a second of each probe")
	flag.DurationVar(&run.random, "random", 3*time.Minute, "how long faults come at random")
	flag.Uint64Var(&run.seed, "seed", 0, "seed of the random faults; 0 is a new one")
	flag.Parse()
	run.complete()
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e tests make network namespaces and need root")
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run.ctx = ctx
	if run.table != "" {
		_ = os.Remove(run.table) // each test adds its own
	}
	os.Exit(m.Run())
}

func (o *options) complete() {
	if o.family == "" {
		o.family = plan.IPv4
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
}

// executables is the folder with the product's executables.
func (o *options) executables() (string, error) {
	if o.bin != "" {
		return o.bin, nil
	}
	root, err := artifact.FindRoot()
	return filepath.Join(root, "_output", "bin"), err
}

// reserve is kept of the test binary's time limit for taking the lab down.
const reserve = 45 * time.Second

func (o *options) context(t *testing.T) context.Context {
	ctx := o.ctx
	if d, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, d.Add(-reserve))
		t.Cleanup(cancel)
	}
	return ctx
}

// bringUp returns a lab with two nodes and two masters, and what o says besides.
func bringUp(ctx context.Context, t *testing.T, o cluster.Options) *cluster.Lab {
	t.Helper()
	down := func() {
		ctx, cancel := context.WithTimeout(context.Background(), reserve)
		defer cancel()
		if err := cluster.Down(ctx, run.prefix, nil); err != nil {
			t.Errorf("take down lab %s: %v", run.prefix, err)
		}
	}
	if _, err := cluster.Open(run.prefix); err == nil {
		down() // what an earlier run left
	}
	if !run.keep {
		t.Cleanup(down)
	}
	var steps bytes.Buffer
	o.Name, o.Nodes, o.Family, o.Standby, o.OVNRoot, o.Out = run.prefix, 2, run.family, true, run.ovnRoot, &steps
	if o.BinDir == "" {
		o.BinDir = run.bin
	}
	l, err := cluster.Up(ctx, o)
	if err != nil {
		t.Fatalf("bring up lab %s: %v\n%s", run.prefix, err, steps.String())
	}
	return l
}

// TestFaults brings each fault about while probes run, then faults at random while the cluster changes.
func TestFaults(t *testing.T) {
	ctx := run.context(t)
	h := newHarness(ctx, t, bringUp(ctx, t, cluster.Options{}))
	report(t, "One fault at a time", h.tryAll(t, table()))
	if run.random > 0 { // What comes at random is for those who look at it afterwards.
		t.Run("Random", h.randomly)
	}
}
