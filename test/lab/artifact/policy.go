package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// forbidding is a policy-rc.d that forbids every service action: exit code 101.
// The interface is in Debian's README.policy-rc.d.gz of the package init-system-helpers.
const forbidding = "#!/bin/sh\n# Temporary: ovnkube's lab installs packages without starting their services.\nexit 101\n"

// savedSuffix marks the file that was there before.
const savedSuffix = ".before-ovnkube-lab"

// forbidServices puts a policy in place that keeps package scripts from starting
// services. The returned function restores what was there before: the very same
// file, or none. What a killed run left is restored first.
func forbidServices(policy string) (restore func() error, err error) {
	saved := policy + savedSuffix
	if err := restorePolicy(policy); err != nil {
		return nil, err
	}
	// Renaming keeps owner, mode, times and symbolic links.
	if err := os.Rename(policy, saved); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("save %s: %w", policy, err)
	}
	if err := os.WriteFile(policy, []byte(forbidding), 0o755); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", policy, err), restorePolicy(policy))
	}
	return func() error { return restorePolicy(policy) }, nil
}

// restorePolicy removes our policy, if it is ours, and brings back the saved one.
func restorePolicy(policy string) error {
	saved := policy + savedSuffix
	if data, err := os.ReadFile(policy); err == nil && string(data) == forbidding {
		if err := os.Remove(policy); err != nil {
			return fmt.Errorf("restore %s: %w", policy, err)
		}
	}
	if _, err := os.Lstat(saved); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Lstat(policy); err == nil {
		return fmt.Errorf("restore %s: it was replaced meanwhile; %s has what was there before: remove one of them", policy, saved)
	}
	if err := os.Rename(saved, policy); err != nil {
		return fmt.Errorf("restore %s: %w", policy, err)
	}
	return nil
}
