package artifact

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// machine is a machine whose commands are only noted.
type machine struct {
	installer
	have map[string]bool
	ran  []string
	// fail has how often a command still fails, by its first words.
	fail map[string]int
}

func newMachine(t *testing.T, have ...string) *machine {
	dir := t.TempDir()
	m := &machine{have: map[string]bool{}, fail: map[string]int{}}
	for _, name := range have {
		m.have[name] = true
	}
	m.installer = installer{root: true, policy: filepath.Join(dir, "policy-rc.d"), lock: filepath.Join(dir, "lock"),
		systemd: filepath.Join(dir, "systemd"), logs: dir, progress: func(Event) {},
		installed: func(context.Context) (map[string]bool, error) { return m.have, nil }, run: m.note}
	return m
}

// note notes a command, and whether services could start meanwhile.
func (m *machine) note(_ context.Context, s Step) (string, error) {
	line := strings.TrimPrefix(strings.Join(s.Args, " "), "apt-get -o DPkg::Lock::Timeout=300 ")
	if policy, err := os.ReadFile(m.policy); err != nil || string(policy) != forbidding {
		line += " (services may start)"
	}
	m.ran = append(m.ran, line)
	for prefix, n := range m.fail {
		if strings.HasPrefix(line, prefix) && n > 0 {
			m.fail[prefix]--
			return "", errors.New("it failed: " + prefix)
		}
	}
	if s.Args[0] == "dpkg" {
		return "/.\n/lib/systemd/system/ovn-host.service\n/usr/lib/systemd/system/getty@.service\n/usr/share/doc/a.service\n", nil
	}
	return "", nil
}

func TestPackagesInstallsWhatIsMissing(t *testing.T) {
	m := newMachine(t, "gcc")
	if err := m.ensure(t.Context(), []string{"gcc", "ovn-host", "curl"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"install -y --no-install-recommends ovn-host curl"}, m.ran); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(m.policy); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the policy is still there: %v", err)
	}
}

func TestPackagesAllThere(t *testing.T) {
	m := newMachine(t, "gcc", "curl")
	m.root = false
	if err := m.ensure(t.Context(), []string{"gcc", "curl"}); err != nil || len(m.ran) > 0 {
		t.Errorf("%v, ran %q", err, m.ran)
	}
}

func TestPackagesNotRoot(t *testing.T) {
	m := newMachine(t)
	m.root = false
	if err := m.ensure(t.Context(), []string{"gcc"}); err == nil || !strings.Contains(err.Error(), "sudo apt-get install --no-install-recommends gcc") {
		t.Errorf("got %v", err)
	}
}

func TestPackagesUpdatesOnlyAfterAFailure(t *testing.T) {
	m := newMachine(t)
	m.fail["install"] = 1
	if err := m.ensure(t.Context(), []string{"gcc"}); err != nil {
		t.Fatal(err)
	}
	install := "install -y --no-install-recommends gcc"
	if diff := cmp.Diff([]string{install, "update", install}, m.ran); diff != "" {
		t.Error(diff)
	}
}

func TestPackagesFailureRestoresThePolicy(t *testing.T) {
	for name, fail := range map[string]map[string]int{"install": {"install": 2}, "update": {"install": 1, "update": 1}} {
		m := newMachine(t)
		m.fail = fail
		write(t, m.policy, "mine")
		if err := m.ensure(t.Context(), []string{"gcc"}); err == nil || !strings.Contains(err.Error(), "it failed: "+name) {
			t.Errorf("%s: got %v", name, err)
		}
		if data, err := os.ReadFile(m.policy); err != nil || string(data) != "mine" {
			t.Errorf("%s: the policy is now %q, %v", name, data, err)
		}
	}
}

func TestPackagesServicesStayOffAtTheNextBoot(t *testing.T) {
	m := newMachine(t, "gcc")
	if err := os.Mkdir(m.systemd, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := m.ensure(t.Context(), []string{"gcc", "ovn-host"}); err != nil {
		t.Fatal(err)
	}
	want := []string{"install -y --no-install-recommends ovn-host", "dpkg -L ovn-host", "systemctl disable --quiet ovn-host.service"}
	if diff := cmp.Diff(want, m.ran); diff != "" {
		t.Error(diff)
	}
}

func TestMakeRoot(t *testing.T) {
	// Stand-ins for the programs that need root and the network.
	bin := t.TempDir()
	for name, script := range map[string]string{
		"unshare":     "shift 3; exec \"$@\"",
		"debootstrap": "eval dir=\\${$(($#-1))}; test -z \"$BROKEN\" || { echo no such suite; exit 1; }; mkdir $dir/etc; echo \"$*\" > $dir/etc/how",
		"chroot":      "test -e $1/etc/how",
	} {
		write(t, filepath.Join(bin, name), "#!/bin/sh\n"+script+"\n")
		if err := os.Chmod(filepath.Join(bin, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	cache := t.TempDir()
	root := filepath.Join(cache, "roots", "trixie-1")
	if err := os.Mkdir(filepath.Dir(root), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BROKEN", "1")
	if err := makeRoot(t.Context(), cache, "trixie", root); err == nil || !strings.Contains(err.Error(), "no such suite") {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(root)); err != nil || len(left) > 0 {
		t.Errorf("a failure left %v, %v", left, err)
	}
	t.Setenv("BROKEN", "")
	if err := makeRoot(t.Context(), cache, "trixie", root); err != nil {
		t.Fatal(err)
	}
	how, err := os.ReadFile(filepath.Join(root, "etc", "how"))
	if err != nil || !strings.Contains(string(how), "--variant=minbase --include="+strings.Join(rootPackages(), ",")+" trixie") {
		t.Errorf("%q, %v", how, err)
	}
}

// Groups without packages (lint, say) must not install another group's.
func TestNoPackagesAreNeeded(t *testing.T) {
	if names := Packages(GroupLint); len(names) > 0 {
		t.Fatalf("group %s needs %v: choose another one for this test", GroupLint, names)
	}
	t.Setenv("PATH", t.TempDir()) // neither dpkg nor apt-get can be asked
	if err := EnsurePackages(t.Context(), Options{Root: t.TempDir()}, Packages(GroupLint)...); err != nil {
		t.Error(err)
	}
}
