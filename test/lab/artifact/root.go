package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/dist/images"
)

// rootPackages are what a root folder has beyond Debian's minimum: what the product's image has, which is made from it.
func rootPackages() []string { return images.Packages() }

// debianMirror is where root folders come from.
const debianMirror = "http://deb.debian.org/debian"

// rootDate is the day that programs in the root are told, so that the same packages give the same files: the accounts' file has
// the day on which each was made.
const rootDate = "SOURCE_DATE_EPOCH=86400"

// EnsureRoot returns a folder with a minimal Debian of the given release ("trixie")
// that has Open vSwitch and OVN, for use through chroot: another version of both
// next to the machine's own. It is made once, by root, and takes about a minute.
// Delete the folder to get newer packages. Debian packages of GroupRoot must be there.
func EnsureRoot(ctx context.Context, o Options, suite string) (string, error) {
	o, err := o.complete()
	if err != nil {
		return "", err
	}
	roots := filepath.Join(o.Cache, "roots")
	root := filepath.Join(roots, suite+"-"+rootKey(suite))
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	release, err := lock(ctx, filepath.Join(roots, ".lock"), func(holder string) {
		o.Progress(Event{Name: "waiting for process " + holder + ", which makes a root folder"})
	})
	if err != nil {
		return "", fmt.Errorf("root folder %s: %w", suite, err)
	}
	defer release()
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("root folder %s: only root can make it", suite)
	}
	e, start := Event{Name: "root folder " + suite}, time.Now()
	o.Progress(e)
	if err := makeRoot(ctx, o.Cache, suite, root); err != nil {
		return "", err
	}
	e.Done, e.Elapsed = true, time.Since(start)
	o.Progress(e)
	return root, nil
}

// rootKey identifies what is asked of debootstrap.
func rootKey(suite string) string {
	sum := sha256.Sum256([]byte(strings.Join(append(rootPackages(), suite, debianMirror, rootDate), "\x00")))
	return hex.EncodeToString(sum[:])[:keyLength]
}

// makeRoot makes the folder under a temporary name, tries it and moves it to its place.
func makeRoot(ctx context.Context, cache, suite, root string) error {
	if err := removeUnfinished(filepath.Dir(root)); err != nil {
		return fmt.Errorf("root folder %s: %w", suite, err)
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return fmt.Errorf("root folder %s (install the Debian package debootstrap): %w", suite, err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(root), tmpPrefix+suite+"-")
	if err != nil {
		return fmt.Errorf("root folder %s: %w", suite, err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("root folder %s: %w", suite, err)
	}
	steps := []Step{
		// Its own mount namespace: debootstrap mounts /proc and /sys below the folder, and a
		// killed run must not leave these behind.
		{Name: "debootstrap " + suite, Env: []string{rootDate}, Log: filepath.Join(cache, "log", "debootstrap-"+suite+".log"),
			Args: []string{"unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase",
				"--include=" + strings.Join(rootPackages(), ","), suite, tmp, debianMirror}},
		{Name: "try the root folder " + suite, Log: filepath.Join(cache, "log", "try-root-"+suite+".log"),
			Args: []string{"chroot", tmp, "sh", "-ec", "ovs-vswitchd --version; ovn-controller --version; ovn-northd --version; apt-get clean"}},
	}
	for _, step := range steps {
		if err := step.Run(ctx); err != nil {
			return err
		}
	}
	if err := os.Rename(tmp, root); err != nil {
		return fmt.Errorf("root folder %s: %w", suite, err)
	}
	return nil
}
