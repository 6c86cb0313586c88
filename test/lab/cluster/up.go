package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/lab/hypervisor"
	"github.com/ovnkube/ovnkube/test/lab/image"
	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

// Options say what lab to bring up. The zero value is three IPv4 nodes with the
// project's components.
type Options struct {
	// Name of the lab; empty is DefaultName.
	Name string
	// Nodes is their number; 0 is 3.
	Nodes int
	// Family of nodes and pods; empty is IPv4.
	Family plan.Family
	// Install says how the project's components get in; empty is InstallProcess.
	Install plan.Install
	// Databases is how many members OVN's databases have: 1 (or 0), 3 or 5.
	Databases int
	// OVNRoot is a root file system to take Open vSwitch and OVN from; empty is
	// the host's own.
	OVNRoot string
	// Agent has settings of the nodes' agents.
	Agent plan.Agent
	// BinDir has the project's executables; empty is _output/bin of the repository.
	BinDir string
	// Helm is used with plan.InstallHelm.
	Helm Helm
	// Self is the path of the ovnlab executable, which is every machine's init;
	// empty finds it, see FindSelf.
	Self string
	// Standby adds a second replica of the master.
	Standby bool
	// Conformance adds the images that Kubernetes' own tests use.
	Conformance bool
	// Artifacts say where executables and images come from.
	Artifacts artifact.Options
	// Out gets a line for each step; nil for none.
	Out io.Writer
}

// SelfVariable is the environment variable with the path of the ovnlab
// executable, for programs that are not it.
const SelfVariable = "OVNLAB"

// FindSelf returns the path of the ovnlab executable: the running program if it
// is that, $OVNLAB, or bin/ovnlab of the repository's output folder.
func FindSelf(root string) (string, error) {
	if exe, err := os.Executable(); err == nil && filepath.Base(exe) == "ovnlab" {
		return exe, nil
	}
	if p := os.Getenv(SelfVariable); p != "" {
		return filepath.Abs(p)
	}
	p := filepath.Join(root, "_output", "bin", "ovnlab")
	if _, err := os.Stat(p); err != nil {
		return "", fmt.Errorf("the ovnlab executable: %w (make build makes it; %s may name another one)", err, SelfVariable)
	}
	return p, nil
}

// findRoot returns the repository's top folder: the one around the working
// directory, or the one in which the ovnlab executable was built.
func findRoot() (string, error) {
	root, err := artifact.FindRoot()
	if err == nil {
		return root, nil
	}
	exe, exeErr := os.Executable()
	if exeErr != nil {
		return "", err
	}
	up := filepath.Dir(filepath.Dir(filepath.Dir(exe))) // ROOT/_output/bin/ovnlab
	if _, statErr := os.Stat(filepath.Join(up, "test", "tools", "kubernetes", "go.mod")); statErr != nil {
		return "", err
	}
	return up, nil
}

func (o *Options) complete() error {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Family == "" {
		o.Family = plan.IPv4
	}
	if o.Install == "" {
		o.Install = plan.InstallProcess
	}
	var err error
	if o.Artifacts.Root == "" {
		if o.Artifacts.Root, err = findRoot(); err != nil {
			return err
		}
	}
	if o.Self == "" {
		if o.Self, err = FindSelf(o.Artifacts.Root); err != nil {
			return err
		}
	}
	if o.BinDir == "" {
		o.BinDir = filepath.Join(o.Artifacts.Root, "_output", "bin")
	}
	if o.Install == plan.InstallHelm && o.Helm.Chart == "" {
		o.Helm.Chart = filepath.Join(o.Artifacts.Root, "dist", "helm", "ovnkube")
	}
	for _, p := range []*string{&o.BinDir, &o.OVNRoot, &o.Self, &o.Helm.Chart, &o.Helm.Image} {
		if *p == "" {
			continue
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	return o.check()
}

// check finds what would fail later, and less clearly.
func (o *Options) check() error {
	if os.Geteuid() != 0 {
		return errors.New("a lab makes namespaces and mounts: it needs root")
	}
	if o.Nodes < 0 {
		return fmt.Errorf("%d nodes: want 1 or more", o.Nodes)
	}
	if o.Install == plan.InstallProcess {
		for _, b := range []string{"ovnkube", "ovn-k8s-cni-overlay"} {
			if _, err := os.Stat(filepath.Join(o.BinDir, b)); err != nil {
				return fmt.Errorf("the project's executables: %w (make build makes them; --install none leaves them out)", err)
			}
		}
	}
	if o.OVNRoot != "" {
		for _, b := range []string{"usr/sbin/ovs-vswitchd", "usr/bin/ovn-northd", "usr/bin/ovn-controller"} {
			if _, err := os.Stat(filepath.Join(o.OVNRoot, b)); err != nil {
				return fmt.Errorf("--ovn-root: %w", err)
			}
		}
	}
	return o.checkHelm()
}

// Up brings a lab up and returns it when it is ready for use: with the project's
// components when CoreDNS is Ready, without them when all nodes are registered.
// After a failure what is there is left for inspection; Down removes it.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	l := &Lab{cfg: plan.Config{Name: o.Name, Family: o.Family, Install: o.Install, Dir: Dir(o.Name), OVNRoot: o.OVNRoot, Agent: o.Agent, BinDir: o.BinDir,
		Standby: o.Standby, Databases: o.Databases, Helm: plan.Helm{Chart: o.Helm.Chart, Set: o.Helm.Set}}}
	for n := 1; n <= o.Nodes; n++ {
		l.cfg.Nodes = append(l.cfg.Nodes, n)
	}
	if err := l.cfg.Validate(); err != nil {
		return nil, err
	}
	unlock, err := lock(o.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if old, err := Open(o.Name); err == nil && old.Running() {
		return nil, fmt.Errorf("lab %q is up already: ovnlab down --name %s takes it down", o.Name, o.Name)
	}
	p := newProgress(o.Out)
	// What a lab of this name left when the machine went down, or was killed.
	if err := p.step(ctx, "remove what was left of an earlier lab", func(ctx context.Context) error {
		return destroy(ctx, o.Name, p)
	}); err != nil {
		return nil, err
	}
	if err := l.boot(ctx, o, p); err != nil {
		return nil, fmt.Errorf("lab %q: %w", o.Name, err)
	}
	p.note("lab %q is up", o.Name)
	return l, nil
}

// boot runs the steps in order.
func (l *Lab) boot(ctx context.Context, o Options, p *progress) error {
	var store image.Store
	steps := []step{
		{"executables and images", func(ctx context.Context) (err error) {
			store, err = l.artifacts(ctx, o, p)
			return err
		}},
		{"certificates and machine directories", func(context.Context) error { return l.prepareAll(store) }},
		{"start the lab", func(ctx context.Context) error { return l.startHypervisor(ctx, o.Self) }},
		{"start control plane, outside host and nodes", l.startMachines},
		{"API server ready", l.waitAPI},
	}
	registered := step{fmt.Sprintf("%d nodes registered", len(l.cfg.Nodes)), l.waitRegistered}
	ready := []step{{"deploy CoreDNS", l.applyCoreDNS}, {"all nodes Ready", l.waitNodesReady}, {"CoreDNS Ready", l.waitCoreDNS}}
	product := step{"rights, policies and authorities of the components", l.applyProduct}
	switch l.cfg.Install {
	case plan.InstallHelm:
		steps = append(steps, registered, step{"install the chart", l.installChart}, step{"all pods of the chart Ready", l.WaitRelease})
		steps = append(steps, ready...)
	case plan.InstallProcess:
		steps = append(append(steps, product, registered), ready...)
	default:
		steps = append(steps, product, registered)
	}
	for _, s := range steps {
		if err := p.step(ctx, s.name, s.run); err != nil {
			return err
		}
	}
	return nil
}

// step is a part of bringing a lab up.
type step struct {
	name string
	run  func(context.Context) error
}

// artifacts builds or finds everything that the machines run.
func (l *Lab) artifacts(ctx context.Context, o Options, p *progress) (image.Store, error) {
	ao := o.Artifacts
	if ao.Progress == nil {
		ao.Progress = func(e artifact.Event) { p.note("  %s", e) }
	}
	packages := []string{artifact.GroupLab}
	if l.cfg.Install == plan.InstallHelm {
		packages = append(packages, artifact.GroupRoot)
	}
	if err := artifact.EnsurePackages(ctx, ao, artifact.Packages(packages...)...); err != nil {
		return image.Store{}, err
	}
	groups := []string{artifact.GroupLab, artifact.GroupCNI}
	if o.Conformance {
		groups = append(groups, artifact.GroupConformance)
	}
	names := artifact.Names(groups...)
	set, err := artifact.Ensure(ctx, ao, names...)
	if err != nil {
		return image.Store{}, err
	}
	l.cfg.Binaries, l.cfg.CNIPlugins = map[string]string{}, map[string]string{}
	for _, n := range artifact.Names(artifact.GroupCNI) {
		l.cfg.CNIPlugins[n] = set.Path(n)
	}
	for _, n := range names {
		l.cfg.Binaries[n] = set.Path(n)
	}
	l.cfg.PauseImage, l.cfg.CoreDNSImage = image.Pause, image.CoreDNS(set)
	base, err := image.Base(ctx, ao, set)
	if err != nil {
		return image.Store{}, err
	}
	archives := []string{base}
	if o.Conformance {
		conf, err := image.Conformance(ctx, ao, set)
		if err != nil {
			return image.Store{}, err
		}
		archives = append(archives, conf)
	}
	if l.cfg.Install == plan.InstallHelm {
		product, err := l.productImage(ctx, ao, o)
		if err != nil {
			return image.Store{}, err
		}
		archives = append(archives, product)
	}
	store, err := image.EnsureStore(ctx, ao, set, archives...)
	if err != nil {
		return image.Store{}, err
	}
	l.cfg.ImageStore = store.Dir
	if err := PruneImages(ao); err != nil { // All that the lab needs is there.
		p.note("  images of earlier builds stay in the cache: %v", err)
	}
	return store, nil
}

func (l *Lab) prepareAll(store image.Store) error {
	if err := os.MkdirAll(l.cfg.Dir, 0o755); err != nil {
		return err
	}
	// From here on Down finds the lab.
	if err := l.save(); err != nil {
		return err
	}
	if _, err := l.preparePKI(); err != nil {
		return err
	}
	var g errgroup.Group
	for _, name := range l.cfg.Machines() {
		g.Go(func() error { return l.prepare(name, store) })
	}
	return g.Wait()
}

// startHypervisor starts the process that holds the lab and waits until it
// listens.
func (l *Lab) startHypervisor(ctx context.Context, self string) error {
	logPath := filepath.Join(l.cfg.Dir, "lab-init.log")
	log, err := os.Create(logPath)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(self, "lab-init", "--dir", l.cfg.Dir, "--cgroup", l.cfg.Cgroup()+"/lab-init") //nolint:gosec,noctx // it outlives this program
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: hypervisor.CloneFlags}
	fail := func(err error) error {
		return &StepError{Command: strings.Join(cmd.Args, " "), LogFile: logPath, Err: err}
	}
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- (supervise.Gate{Unix: hypervisor.SocketPath(l.cfg.Dir)}).Wait(ctx) }()
	select {
	case err := <-ended:
		return fail(fmt.Errorf("it ended at once: %w", errOr(err, "exit status 0")))
	case err := <-ready:
		if err != nil {
			return fail(err)
		}
	}
	return nil
}

func errOr(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

// startMachines starts the machine that the others plug into, then the others.
func (l *Lab) startMachines(ctx context.Context) error {
	if err := l.startMachine(ctx, plan.ControlPlane); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range l.cfg.Machines() {
		if name != plan.ControlPlane {
			g.Go(func() error { return l.startMachine(ctx, name) })
		}
	}
	return g.Wait()
}

// startMachine switches a machine on and waits until it is set up and starts its
// components.
func (l *Lab) startMachine(ctx context.Context, name string) error {
	fail := func(err error) error {
		return &StepError{Step: "start " + name, Err: err, LogFile: l.LogFile(name, "init")}
	}
	_ = os.Remove(machine.SocketPath(l.cfg.MachineDir(name)))
	if err := l.hypervisor().Do(ctx, "POST", "/machines/"+name+"/start", nil); err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for {
		if _, err := l.init(name).Components(ctx); err == nil {
			return nil
		}
		if _, err := l.PID(name); err != nil {
			return fail(errors.New("its init ended while it set the machine up"))
		}
		select {
		case <-ctx.Done():
			return fail(fmt.Errorf("its init does not answer: %w", context.Cause(ctx)))
		case <-time.After(waitInterval / 5):
		}
	}
}
