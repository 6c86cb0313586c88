package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/test/lab/image"
	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/pki"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// preparePKI issues what the control plane needs.
func (l *Lab) preparePKI() (*pki.Authority, error) {
	ca, err := pki.Open(l.cfg.PKIDir())
	if err != nil {
		return nil, err
	}
	for _, r := range l.cfg.ControlPlaneCertificates() {
		if err := ca.Issue(r); err != nil {
			return nil, err
		}
	}
	if err := ca.KeyPair("sa"); err != nil {
		return nil, err
	}
	admin, err := ca.Kubeconfig("admin", l.cfg.Family.APIServer())
	if err != nil {
		return nil, err
	}
	return ca, os.WriteFile(l.Kubeconfig(), admin, 0o600)
}

// prepare makes the directory of a machine.
func (l *Lab) prepare(name string, store image.Store) error {
	dir := l.cfg.MachineDir(name)
	id, err := randomID()
	if err != nil {
		return err
	}
	spec, err := l.spec(name, id)
	if err != nil {
		return err
	}
	if err := makeTree(dir, l.cfg.Links()); err != nil {
		return err
	}
	for _, f := range l.cfg.Files(name, id) {
		if err := writeFile(filepath.Join(dir, f.Path), []byte(f.Content), fs.FileMode(f.Mode)); err != nil {
			return err
		}
	}
	if err := l.installCredentials(name); err != nil {
		return err
	}
	if _, err := plan.NodeNumber(name); err == nil {
		if err := l.prepareNode(dir, store); err != nil {
			return err
		}
	}
	return spec.Write()
}

func (l *Lab) prepareNode(dir string, store image.Store) error {
	if err := store.Clone(filepath.Join(dir, machine.VarDir, "lib/containerd")); err != nil {
		return err
	}
	for name, src := range l.cfg.CNIPlugins {
		if err := copyFile(src, filepath.Join(dir, machine.OptDir, "cni/bin", name), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) spec(name, id string) (*machine.Spec, error) {
	switch name {
	case plan.ControlPlane:
		return l.cfg.ControlPlaneMachine()
	case plan.Outside:
		return l.cfg.OutsideMachine(), nil
	}
	n, err := plan.NodeNumber(name)
	if err != nil {
		return nil, err
	}
	return l.cfg.NodeMachine(n, id)
}

// installCredentials issues a machine's own certificates and copies what it may
// have into its /etc/kubernetes.
func (l *Lab) installCredentials(name string) error {
	ca, err := pki.Open(l.cfg.PKIDir())
	if err != nil {
		return err
	}
	for _, r := range l.cfg.MachineCertificates(name) {
		if err := ca.Issue(r); err != nil {
			return err
		}
	}
	dir := filepath.Join(l.cfg.MachineDir(name), "etc/kubernetes")
	for to, from := range l.cfg.PKIFiles(name) {
		if err := copyFile(filepath.Join(l.cfg.PKIDir(), from), filepath.Join(dir, "pki", to), 0o600); err != nil {
			return err
		}
	}
	for file, client := range l.cfg.Kubeconfigs(name) {
		b, err := ca.Kubeconfig(client, l.cfg.Family.APIServer())
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, file), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// makeTree makes the directories of a machine that must be there, and hides what
// the host has in some of them.
func makeTree(dir string, links []plan.Link) error {
	for _, d := range []string{"etc/cni/net.d", "etc/openvswitch", "opt/cni/bin", "var/lib/kubelet", "var/tmp", "var/cache",
		"var/log", "var/spool", "root", machine.LogDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, l := range links {
		path := filepath.Join(dir, l.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(l.To, path); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, d := range plan.OpaqueDirs() {
		p := filepath.Join(dir, d)
		if err := os.MkdirAll(p, 0o755); err != nil {
			return err
		}
		// The overlay file system's mark for "nothing from below shows here".
		if err := unix.Setxattr(p, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
			return fmt.Errorf("mark %s opaque: %w", p, err)
		}
	}
	return nil
}

func writeFile(path string, content []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, content, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

func copyFile(from, to string, mode fs.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeFile(to, b, mode)
}

// randomID returns 32 hexadecimal digits in the form of a UUID.
func randomID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], nil
}
