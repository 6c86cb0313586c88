package artifact

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// policyCase is a state of policy-rc.d before an installation.
type policyCase struct {
	name    string
	prepare func(t *testing.T, policy string)
}

func policyCases() []policyCase {
	return []policyCase{
		{"none", func(*testing.T, string) {}},
		{"file", func(t *testing.T, policy string) {
			write(t, policy, "#!/bin/sh\nexit 104\n")
			if err := os.Chmod(policy, 0o751); err != nil {
				t.Fatal(err)
			}
		}},
		{"link", func(t *testing.T, policy string) {
			if err := os.Symlink("/nowhere/policy", policy); err != nil {
				t.Fatal(err)
			}
		}},
	}
}

// snapshot describes the folder of the policy: names, modes, times, targets, contents.
func snapshot(t *testing.T, policy string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", "cd \"$1\" && find . -mindepth 1 -printf '%p %m %T@ %l %i\\n' -type f -exec cat {} +", "sh", filepath.Dir(policy)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestPolicyIsRestored(t *testing.T) {
	for _, c := range policyCases() {
		t.Run(c.name, func(t *testing.T) {
			policy := filepath.Join(t.TempDir(), "policy-rc.d")
			c.prepare(t, policy)
			before := snapshot(t, policy)
			restore, err := forbidServices(policy)
			if err != nil {
				t.Fatal(err)
			}
			err = exec.CommandContext(t.Context(), policy, "ovn-central", "start").Run()
			if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 101 { //nolint:errorlint // exactly this
				t.Errorf("the policy answers %v, want exit status 101", err)
			}
			if err := restore(); err != nil {
				t.Fatal(err)
			}
			if after := snapshot(t, policy); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// TestPolicyAfterAKilledRun: a run that never restored is made good by the next one.
func TestPolicyAfterAKilledRun(t *testing.T) {
	for _, c := range policyCases() {
		t.Run(c.name, func(t *testing.T) {
			policy := filepath.Join(t.TempDir(), "policy-rc.d")
			c.prepare(t, policy)
			before := snapshot(t, policy)
			if _, err := forbidServices(policy); err != nil {
				t.Fatal(err)
			}
			restore, err := forbidServices(policy)
			if err != nil {
				t.Fatal(err)
			}
			if err := restore(); err != nil {
				t.Fatal(err)
			}
			if after := snapshot(t, policy); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// TestPolicyReplacedMeanwhile: what somebody else put there is never overwritten.
func TestPolicyReplacedMeanwhile(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy-rc.d")
	write(t, policy, "old")
	restore, err := forbidServices(policy)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(policy); err != nil {
		t.Fatal(err)
	}
	write(t, policy, "theirs")
	if err := restore(); err == nil || !strings.Contains(err.Error(), policy+savedSuffix) {
		t.Errorf("got %v", err)
	}
	if data, err := os.ReadFile(policy); err != nil || string(data) != "theirs" {
		t.Errorf("%q, %v", data, err)
	}
}
