// Command bench measures the product and shows the figures beside what is promised and what OVN-Kubernetes
// needs: a table on standard output, JSON lines in a file, and the tables in docs/performance.md.
//
//	bench                  every scenario
//	bench -list            what there is
//	bench master-50-2000   some scenarios
//
// It needs root, for namespaces; see packages harness and scenario.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/scale/growth"
	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/report"
	"github.com/ovnkube/ovnkube/test/scale/scenario"
)

// options are the command line.
type options struct {
	root, document, figures, json, logs, master string
	masterArgs, masterEnv                       listFlag
	list, check                                 bool
	scenarios                                   []string
}

// listFlag is a flag that may be given several times.
type listFlag []string

func (l *listFlag) String() string     { return strings.Join(*l, " ") }
func (l *listFlag) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	if err := start(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func start() error {
	if harness.Inside() {
		return inside()
	}
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer cancel()
	o, err := parse()
	if err != nil {
		return err
	}
	if o.list {
		for _, s := range jobs() {
			fmt.Printf("%-26s %s\n", s.id, s.title)
		}
		return nil
	}
	return run(ctx, o)
}

func parse() (options, error) {
	root, err := artifact.FindRoot()
	if err != nil {
		return options{}, err
	}
	o := options{root: root}
	flag.StringVar(&o.document, "doc", filepath.Join(root, "docs", "performance.md"), "document whose tables are brought up to date; empty: none")
	flag.StringVar(&o.figures, "figures", filepath.Join(root, "docs", "figures"), "folder for pictures of how whole clusters grow, drawn from the last figures of each size; empty: none")
	flag.StringVar(&o.json, "json", filepath.Join(root, "_output", "bench.jsonl"), "file that the figures are appended to; empty: none")
	flag.StringVar(&o.logs, "logs", "", "folder for the logs of all processes of the master's scenarios; empty: they are not kept")
	flag.StringVar(&o.master, "master", filepath.Join(root, "_output", "bin", "ovnkube"), "executable of the master")
	flag.Var(&o.masterArgs, "master-arg", "further argument of the master; may be repeated")
	flag.Var(&o.masterEnv, "master-env", "NAME=VALUE in the master's environment; may be repeated")
	flag.BoolVar(&o.list, "list", false, "list the scenarios")
	flag.BoolVar(&o.check, "check", false, "fail when a figure misses its target")
	flag.Parse()
	o.scenarios = flag.Args()
	return o, o.validate()
}

func (o options) validate() error {
	for _, id := range o.scenarios {
		if !slices.ContainsFunc(jobs(), func(j job) bool { return j.id == id }) {
			return fmt.Errorf("there is no scenario %q; bench -list shows what there is", id)
		}
	}
	return nil
}

func (o options) env(ctx context.Context) (scenario.Env, error) {
	progress := func(e artifact.Event) { fmt.Fprintln(os.Stderr, e) }
	set, err := artifact.Ensure(ctx, artifact.Options{Root: o.root, Progress: progress}, "kube-apiserver", "etcd")
	if err != nil {
		return scenario.Env{}, err
	}
	if _, err := os.Stat(o.master); err != nil {
		return scenario.Env{}, fmt.Errorf("the master is not built (make build): %w", err)
	}
	return scenario.Env{
		Root: o.root, Master: o.master, MasterArgs: o.masterArgs, MasterEnv: o.masterEnv,
		Control: harness.ControlBinaries{Etcd: set.Path("etcd"), APIServer: set.Path("kube-apiserver")},
	}, nil
}

// run measures all wanted scenarios. One that fails does not keep the others from being measured.
func run(ctx context.Context, o options) error {
	env, err := o.env(ctx)
	if err != nil {
		return err
	}
	var failed, missed []error
	for _, j := range jobs() {
		if len(o.scenarios) > 0 && !slices.Contains(o.scenarios, j.id) {
			continue
		}
		if o.logs != "" {
			env.KeepLogs = filepath.Join(o.logs, j.id+"-"+time.Now().Format("150405"))
		}
		result, err := j.run(ctx, env)
		if err != nil {
			failed = append(failed, err)
			fmt.Fprintln(os.Stderr, "bench:", err)
			if ctx.Err() != nil {
				break
			}
			continue
		}
		if err := o.publish(result); err != nil {
			return err
		}
		for _, f := range result.Missed() {
			missed = append(missed, fmt.Errorf("%s: %s is %s, the target %s", j.id, f.Name, f.Text(), f.TargetText()))
		}
	}
	for _, err := range missed {
		fmt.Println("missed:", err)
	}
	if o.check {
		failed = append(failed, missed...)
	}
	return errors.Join(failed...)
}

// publish shows a result and keeps it.
func (o options) publish(r *report.Result) error {
	if err := r.WriteTable(os.Stdout); err != nil {
		return err
	}
	if o.json != "" {
		if err := appendJSON(o.json, r); err != nil {
			return err
		}
	}
	if o.document != "" {
		if err := report.UpdateFile(o.document, r); err != nil {
			return err
		}
	}
	if w, whole := scenario.WholeScale(r.ID); whole && o.json != "" && o.figures != "" {
		return drawGrowth(o.json, o.figures, w.Debian)
	}
	return nil
}

// drawGrowth draws the last results that are kept of whole clusters with the OVN of a release.
func drawGrowth(kept, dir, debian string) error {
	f, err := os.Open(kept)
	if err != nil {
		return fmt.Errorf("kept figures: %w", err)
	}
	defer f.Close()
	all, err := report.ReadJSON(f)
	if err != nil {
		return fmt.Errorf("kept figures in %s: %w", kept, err)
	}
	last := map[int]*report.Result{}
	for _, r := range all {
		if w, ok := scenario.WholeScale(r.ID); ok && w.Debian == debian {
			last[w.Nodes] = r
		}
	}
	return growth.Draw(filepath.Join(dir, debian), last)
}

func appendJSON(path string, r *report.Result) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("keep figures: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("keep figures: %w", err)
	}
	return errors.Join(r.WriteJSON(f), f.Close())
}
