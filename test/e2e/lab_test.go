//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/ovnkube/ovnkube/test/e2e/places"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

// env is what a scenario works with.
type env struct {
	*testing.T
	*lab
	ctx context.Context
	// ns is the scenario's own namespace.
	ns string
	// errorsExpected says that errors in the logs of master and agents are no fault: the scenario
	// takes away what they need.
	errorsExpected bool
}

// lab is a running lab with what the tests keep about it.
type lab struct {
	*cluster.Lab
	client kubernetes.Interface
	seen   *mirror
	// expected counts the ends of components that the tests have caused, by machine/component.
	expected map[string]int
	failures *failures
}

// labOptions differ from the usual lab.
type labOptions struct {
	ovnRoot string
	suffix  string
	agent   plan.Agent
	// databases and nodes are the lab's defaults when zero.
	databases, nodes int
	// install is that of the run when empty.
	install plan.Install
}

// bringUp returns a lab of the family with three nodes, and takes it down when t ends.
func bringUp(t *testing.T, family plan.Family, o labOptions) *lab {
	t.Helper()
	ctx := run.context(t)
	name := run.prefix + map[plan.Family]string{plan.IPv4: "4", plan.IPv6: "6", plan.Dual: "d"}[family] + o.suffix
	failures := &failures{}
	t.Cleanup(func() { failures.print(t) }) // The last of all: the log of a lab is long.
	began := time.Now()
	l, reused, err := openOrUp(ctx, name, family, o)
	if !run.keep {
		t.Cleanup(func() { takeDown(t, name) })
	}
	if err != nil {
		t.Fatalf("bring up lab %s: %v", name, err)
	}
	if !reused {
		measured(t, "lab %s (%s, %d nodes) up in %.1f s", name, family, len(l.Nodes()), time.Since(began).Seconds())
	}
	client, err := l.Client()
	if err != nil {
		t.Fatal(err)
	}
	seen, err := newMirror(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(seen.stop)
	return &lab{Lab: l, client: client, seen: seen, expected: map[string]int{}, failures: failures}
}

func openOrUp(ctx context.Context, name string, family plan.Family, o labOptions) (l *cluster.Lab, reused bool, err error) {
	l, err = cluster.Open(name)
	if err == nil && run.keep && l.Running() {
		return l, true, nil
	}
	if err == nil {
		if err := downLab(ctx, name); err != nil {
			return nil, false, fmt.Errorf("take down what an earlier run left: %w", err)
		}
	} else if !errors.Is(err, cluster.ErrNoLab) {
		return nil, false, err
	}
	binaries, err := productBinaries(ctx, family)
	if err != nil {
		return nil, false, err
	}
	l, err = upLab(ctx, name, family, o, binaries)
	return l, false, err
}

func takeDown(t *testing.T, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), reserve)
	defer cancel()
	began := time.Now()
	if err := downLab(ctx, name); err != nil {
		t.Errorf("take down lab %s: %v", name, err)
		return
	}
	measured(t, "lab %s down in %.1f s", name, time.Since(began).Seconds())
}

// measured prints a figure for people to compare between runs.
func measured(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf("MEASURED: "+format, args...)
}

// scenarioTime ends a scenario that hangs.
const scenarioTime = 15 * time.Minute

// runScenario runs a scenario, and looks for crashes and errors afterwards.
func (l *lab) runScenario(t *testing.T, s scenario) {
	if s.lengthy && !run.full || s.processes && l.Install() == plan.InstallHelm {
		return
	}
	t.Run(s.name, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(run.context(t), scenarioTime)
		t.Cleanup(cancel)
		if ctx.Err() != nil {
			t.Fatal("the run was interrupted or is out of time")
		}
		e := &env{T: t, lab: l, ctx: ctx}
		watch := l.startWatch(e)
		e.makeNamespace(strings.ToLower(s.name))
		// Before the namespace goes: its pods are evidence.
		t.Cleanup(func() {
			watch.check(e)
			if t.Failed() {
				l.collect(t)
			}
		})
		// A panic must not keep the lab from being taken down.
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		s.run(e)
	})
}

// part runs a part of a scenario as a test of its own, in the same namespace. Crashes and errors in it are its own.
func (e *env) part(name string, run func(e *env)) {
	e.Run(name, func(t *testing.T) {
		child := &env{T: t, lab: e.lab, ctx: e.ctx, ns: e.ns}
		watch := e.startWatch(child)
		t.Cleanup(func() {
			watch.check(child)
			if t.Failed() {
				e.collect(t)
			}
		})
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		run(child)
	})
}

// measured prints a figure.
func (e *env) measured(format string, args ...any) {
	e.Helper()
	measured(e.T, "[%s] "+format, append([]any{e.Family()}, args...)...)
}

// must ends the scenario when err is not nil.
func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// on runs a command inside a machine and returns its output; a failure ends the scenario.
func (e *env) on(machine string, argv ...string) string {
	e.Helper()
	out, err := e.Exec(e.ctx, machine, argv...)
	e.must(err)
	return strings.TrimSpace(out)
}

// nb runs ovn-nbctl.
func (e *env) nb(args ...string) string {
	e.Helper()
	return e.on(plan.ControlPlane, append([]string{"ovn-nbctl"}, args...)...)
}

// kill ends a component with SIGKILL, waits until a new process of it runs and returns how long that took.
func (e *env) kill(component, machine string) time.Duration {
	e.Helper()
	old := e.component(component, machine)
	e.expected[machine+"/"+component]++
	e.must(e.Kill(e.ctx, component, machine))
	return e.eventually(func() error {
		now := e.component(component, machine)
		if now.State != supervise.StateRunning || now.PID == old.PID {
			return fmt.Errorf("%s on %s is %s (%s)", component, machine, now.State, now.Detail)
		}
		return nil
	})
}

// component returns the state of a component.
func (e *env) component(component, machine string) supervise.Status {
	e.Helper()
	list, err := e.Components(e.ctx, machine)
	e.must(err)
	for _, c := range list {
		if c.Name == component {
			return c
		}
	}
	e.Fatalf("%s has no component %s", machine, component)
	return supervise.Status{}
}

// restart ends a component in the way it prefers and starts it.
func (e *env) restart(component, machine string) {
	e.Helper()
	e.expected[machine+"/"+component]++
	e.must(e.Restart(e.ctx, component, machine))
}

// stopped stops a component and returns the function that starts it again. It is started at the
// latest when the scenario ends.
func (e *env) stopped(component, machine string) (start func()) {
	e.Helper()
	e.expected[machine+"/"+component]++
	e.must(e.StopComponent(e.ctx, component, machine))
	started := false
	start = func() {
		if started {
			return
		}
		started = true
		// The scenario's own time may be up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), 10*time.Second)
		defer cancel()
		if err := e.StartComponent(ctx, component, machine); err != nil {
			e.Errorf("start %s on %s: %v", component, machine, err)
		}
	}
	e.Cleanup(start)
	return start
}

// machine returns the network of a machine.
func (e *env) machine(name string) traffic.Place {
	e.Helper()
	p, err := places.Machine(e.Lab, name)
	e.must(err)
	return p
}

// path returns the path of a machine's file.
func (e *env) path(machine, file string) string {
	e.Helper()
	p, err := e.Path(machine, file)
	e.must(err)
	return p
}

// families tells for each family of the lab whether it is IPv4.
func (l *lab) families() []bool {
	var out []bool
	if l.Family().V4() {
		out = append(out, true)
	}
	if l.Family().V6() {
		out = append(out, false)
	}
	return out
}

// port joins an address and a port.
func port(a netip.Addr, n uint16) netip.AddrPort { return netip.AddrPortFrom(a, n) }

// patience ends a wait for what does not come. How long it took is printed where users care; a slow machine is no fault.
const patience = 2 * time.Minute

// eventually tries until fn says nothing is wrong. It is for what sends no event; Kubernetes objects
// are waited for with until.
func (e *env) eventually(fn func() error) time.Duration {
	e.Helper()
	began := time.Now()
	for {
		err := fn()
		if err == nil {
			return time.Since(began)
		}
		if e.ctx.Err() != nil || time.Since(began) > patience {
			e.Fatalf("still wrong after %v: %v", time.Since(began).Round(time.Millisecond), err)
		}
		select {
		case <-e.ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// productBinaries returns the folder with the product's executables, "" for the one that make build fills. It
// builds them with the race detector when OVNKUBE_E2E_RACE asks for that.
func productBinaries(ctx context.Context, family plan.Family) (string, error) {
	want := os.Getenv("OVNKUBE_E2E_RACE")
	if want != "all" && want != string(family) {
		return run.bin, nil
	}
	return buildWithRace(ctx)
}

// tail returns the last n lines of a file.
func tail(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimRight(b, "\n"), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}

// evidence is where a failed scenario leaves what it found.
func evidence(t *testing.T) (string, error) {
	dir := filepath.Join("..", "..", "_output", "e2e", strings.ReplaceAll(t.Name(), "/", "-"))
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// upLab brings a lab up; its steps are shown in the test's output when it fails.
func upLab(ctx context.Context, name string, family plan.Family, o labOptions, binaries string) (*cluster.Lab, error) {
	var steps bytes.Buffer
	if o.install == "" {
		o.install = plan.Install(run.install)
	}
	l, err := cluster.Up(ctx, cluster.Options{Name: name, Family: family, OVNRoot: o.ovnRoot, Agent: o.agent, BinDir: binaries,
		Databases: o.databases, Nodes: o.nodes, Install: o.install, Out: &steps})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, steps.String())
	}
	return l, nil
}

func downLab(ctx context.Context, name string) error { return cluster.Down(ctx, name, nil) }

// readyz asks the health server of master or agent.
func (e *env) readyz(machine string, at uint16) error {
	ctx, cancel := context.WithTimeout(e.ctx, time.Second)
	defer cancel()
	_, err := httpGet(ctx, e.machine(machine), netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at), "/readyz")
	return err
}

// masterMachine is the machine with the first of the masters.
func (l *lab) masterMachine() string {
	if l.Install() == plan.InstallHelm {
		return l.ControlPlaneNodes()[0]
	}
	return plan.ControlPlane
}

// masterReady waits until the master leads and is in step with the databases.
func (e *env) masterReady() time.Duration {
	e.Helper()
	return e.eventually(func() error { return e.readyz(e.masterMachine(), plan.MasterHealth) })
}

// agentReady waits until a node's agent says that the node is ready for pods.
func (e *env) agentReady(node string) time.Duration {
	e.Helper()
	return e.eventually(func() error { return e.readyz(node, plan.AgentHealth) })
}
