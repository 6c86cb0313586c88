package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// debianPackage is a package and the purpose it is needed for.
type debianPackage struct{ group, name string }

// debianPackages returns what a Debian 12 or 13 machine needs beyond a minimal
// installation and Go.
func debianPackages() []debianPackage {
	return []debianPackage{
		// What is tested.
		{GroupLab, "openvswitch-switch"}, {GroupLab, "ovn-central"}, {GroupLab, "ovn-host"},
		// What nodes need: network set-up, netfilter, kubelet's helpers.
		{GroupLab, "iproute2"}, {GroupLab, "nftables"}, {GroupLab, "iptables"}, {GroupLab, "conntrack"},
		{GroupLab, "ethtool"}, {GroupLab, "kmod"}, {GroupLab, "procps"}, {GroupLab, "util-linux"},
		{GroupLab, "ca-certificates"},
		// What tests and people measure and look with.
		{GroupLab, "iputils-ping"}, {GroupLab, "tcpdump"}, {GroupLab, "curl"}, {GroupLab, "iperf3"},
		// The images' userland.
		{GroupLab, "busybox-static"}, {GroupLab, "wget"}, {GroupLab, "dash"},
		// runc and pause are C, the race detector needs cgo.
		{GroupLab, "gcc"}, {GroupLab, "libc6-dev"}, {GroupLab, "libseccomp-dev"}, {GroupLab, "pkg-config"}, {GroupLab, "make"},
		// The userland that upstream's test image has.
		{GroupConformance, "bash"}, {GroupConformance, "bind9-dnsutils"}, {GroupConformance, "iperf"},
		{GroupConformance, "netcat-openbsd"},
		{GroupRoot, "debootstrap"},
	}
}

// Packages returns the names of the Debian packages of the groups.
func Packages(groups ...string) []string {
	var names []string
	for _, p := range debianPackages() {
		if slices.Contains(groups, p.group) {
			names = append(names, p.name)
		}
	}
	return names
}

// EnsurePackages installs those of the Debian packages that are missing, without
// recommended ones. No service of theirs is started, now or at the next boot: the
// lab runs its own copies in its own namespaces. When all are there, or none is
// named, it changes nothing and needs no root.
func EnsurePackages(ctx context.Context, o Options, names ...string) error {
	if len(names) == 0 { // a group that needs none
		return nil
	}
	o, err := o.complete()
	if err != nil {
		return err
	}
	p := installer{run: runCommand, installed: installedPackages, root: os.Geteuid() == 0, policy: "/usr/sbin/policy-rc.d", lock: "/run/lock/ovnkube-packages.lock",
		systemd: "/run/systemd/system", logs: filepath.Join(o.Cache, "log"), progress: o.Progress}
	return p.ensure(ctx, names)
}

// installer is what installing needs of the machine; tests replace it.
type installer struct {
	// run runs a step and returns its output.
	run func(context.Context, Step) (string, error)
	// installed returns the names of completely installed packages.
	installed func(context.Context) (map[string]bool, error)
	// root tells whether we may install.
	root bool
	// policy is the file that Debian's maintainer scripts ask before they start a service.
	policy string
	// lock keeps two installers apart.
	lock string
	// systemd exists when systemd is running.
	systemd  string
	logs     string
	progress func(Event)
}

// runCommand runs a step and returns what its log has.
func runCommand(ctx context.Context, s Step) (string, error) {
	if err := s.Run(ctx); err != nil {
		return "", err
	}
	out, err := os.ReadFile(s.Log)
	return string(out), err
}

func (p installer) ensure(ctx context.Context, names []string) error {
	need, err := p.missing(ctx, names)
	if err != nil || len(need) == 0 {
		return err
	}
	if !p.root {
		return fmt.Errorf("only root can install the missing Debian packages: sudo apt-get install --no-install-recommends %s", strings.Join(need, " "))
	}
	release, err := lock(ctx, p.lock, func(holder string) {
		p.progress(Event{Name: "waiting for process " + holder + ", which installs packages"})
	})
	if err != nil {
		return fmt.Errorf("install packages: %w", err)
	}
	defer release()
	if need, err = p.missing(ctx, names); err != nil || len(need) == 0 {
		return err
	}
	e, start := Event{Name: "Debian packages", Detail: strings.Join(need, " ")}, time.Now()
	p.progress(e)
	if err := p.install(ctx, need); err != nil {
		return err
	}
	e.Done, e.Elapsed = true, time.Since(start)
	p.progress(e)
	return nil
}

// missing returns those of the packages that are not completely installed.
func (p installer) missing(ctx context.Context, names []string) ([]string, error) {
	have, err := p.installed(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return have[n] }), nil
}

// installedPackages asks dpkg.
func installedPackages(ctx context.Context) (map[string]bool, error) {
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("the lab needs Debian 12 or newer (no dpkg-query here): %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("dpkg-query: %w", err)
	}
	have := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), " installed"); ok {
			have[name] = true
		}
	}
	return have, nil
}

// install installs the packages while services are forbidden to start.
func (p installer) install(ctx context.Context, names []string) (err error) {
	allow, err := forbidServices(p.policy)
	if err != nil {
		return fmt.Errorf("install packages: %w", err)
	}
	defer func() {
		if restoreErr := allow(); err == nil {
			err = restoreErr
		}
	}()
	install := p.apt("install packages", append([]string{"install", "-y", "--no-install-recommends"}, names...)...)
	if _, err := p.run(ctx, install); err != nil {
		// The lists may be missing, or so old that the archive has other versions by now.
		if _, err := p.run(ctx, p.apt("update package lists", "update")); err != nil {
			return err
		}
		if _, err := p.run(ctx, install); err != nil {
			return err
		}
	}
	return p.disableUnits(ctx, names)
}

// apt returns an apt-get step that asks no questions.
func (p installer) apt(name string, args ...string) Step {
	return Step{Name: name, Log: filepath.Join(p.logs, "apt-get-"+args[0]+".log"),
		Env:  []string{"DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"},
		Args: append([]string{"apt-get", "-o", "DPkg::Lock::Timeout=300"}, args...)}
}

// disableUnits keeps systemd from starting the new packages' services at the next
// boot. Packages that were installed before are left as they are.
func (p installer) disableUnits(ctx context.Context, names []string) error {
	if _, err := os.Stat(p.systemd); err != nil {
		return nil
	}
	out, err := p.run(ctx, Step{Name: "list files of packages", Log: filepath.Join(p.logs, "dpkg-L.log"),
		Args: append([]string{"dpkg", "-L"}, names...)})
	if err != nil {
		return err
	}
	var units []string
	for line := range strings.Lines(out) {
		file := strings.TrimSpace(line)
		if strings.HasSuffix(filepath.Dir(file), "/systemd/system") && strings.HasSuffix(file, ".service") && !strings.Contains(file, "@") {
			units = append(units, filepath.Base(file))
		}
	}
	if len(units) == 0 {
		return nil
	}
	slices.Sort(units)
	_, err = p.run(ctx, Step{Name: "disable the new packages' services", Log: filepath.Join(p.logs, "systemctl-disable.log"),
		Args: append([]string{"systemctl", "disable", "--quiet"}, slices.Compact(units)...)})
	return err
}
