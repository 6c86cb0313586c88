// Package machine is one machine of a lab: a process in network, mount, pid,
// uts, ipc and cgroup namespaces of its own, with a file tree in which every
// path is the usual one, and a supervisor as PID 1.
package machine

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

// Bind makes something of the host visible inside the machine.
type Bind struct {
	// Source is a file or directory of the host.
	Source string `json:"source"`
	// Target is the absolute path inside; it is created.
	Target string `json:"target"`
	// Writable allows changes; they are changes of the host's file.
	Writable bool `json:"writable,omitempty"`
}

// Network is what the machine finds wired when it starts.
type Network struct {
	// Bridge, when set, makes the machine hold the underlay: a bridge of this
	// name with the addresses. The others have eth0, plugged into it.
	Bridge string `json:"bridge,omitempty"`
	// MAC is the hardware address of the device that holds the addresses.
	MAC string `json:"mac"`
	// MTU of that device in bytes.
	MTU int `json:"mtu"`
	// Addresses with the prefix length of the underlay.
	Addresses []netip.Prefix `json:"addresses"`
	// Services are further addresses, for servers: connections do not start from
	// them.
	Services []netip.Prefix `json:"services,omitempty"`
	// Gateways are next hops of default routes, one a family at most.
	Gateways []netip.Addr `json:"gateways,omitempty"`
}

// Spec describes a machine completely. The lab writes it, the machine's init
// reads it.
type Spec struct {
	Lab  string `json:"lab"`
	Name string `json:"name"`
	// Dir is the machine's directory on the host; see the Path methods.
	Dir     string  `json:"dir"`
	Cgroup  string  `json:"cgroup"`
	Network Network `json:"network"`
	// Binds are made after the standard tree.
	Binds []Bind `json:"binds,omitempty"`
	// OVNRoot is a root file system of the host with Open vSwitch and OVN; it
	// appears at OVNRootInside and is never written to.
	OVNRoot string `json:"ovnRoot,omitempty"`
	// Folders below /usr are there even if the host has none; they are empty then.
	Folders []string `json:"folders,omitempty"`
	// Sysctls are written to /proc/sys/net.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// Pinned are kernel-wide settings that a component wants to write: it gets a
	// file of its own with this content instead.
	Pinned map[string]string `json:"pinned,omitempty"`
	// Env is the environment of components and of commands run inside.
	Env []string `json:"env"`
	// Setup is run in order before the components.
	Setup []supervise.Command `json:"setup,omitempty"`
	// Components are started all at once, each behind its gates.
	Components []supervise.Component `json:"components,omitempty"`
}

// OVNRootInside is where a machine sees Spec.OVNRoot.
const OVNRootInside = "/opt/ovnlab/ovn-root"

// Parts of a machine's directory on the host.
const (
	specFile     = "machine.json"
	identityFile = "init.json"
	socketFile   = "init.sock"
	// EtcDir holds what differs from the host's /etc.
	EtcDir = "etc"
	// VarDir is the machine's /var.
	VarDir = "var"
	// OptDir is the machine's /opt.
	OptDir = "opt"
	// RootHomeDir is the machine's /root.
	RootHomeDir = "root"
	// runDir holds the socket on which the machine's init answers.
	runDir       = "run"
	runDirInside = "/opt/ovnlab/run"
	// LogDir holds NAME.log of each component and init.log.
	LogDir = "log"
)

// Path joins the machine's directory with elements.
func (s *Spec) Path(elem ...string) string {
	return filepath.Join(append([]string{s.Dir}, elem...)...)
}

// SocketPath is where the machine's init answers.
func SocketPath(dir string) string { return filepath.Join(dir, runDir, socketFile) }

// IdentityPath is where the machine's init says who it is.
func IdentityPath(dir string) string { return filepath.Join(dir, identityFile) }

// Write stores the spec in its machine's directory.
func (s *Spec) Write() error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(s.Path(specFile), b, 0o600)
}

// ReadSpec reads the spec of the machine in dir.
func ReadSpec(dir string) (*Spec, error) {
	b, err := os.ReadFile(filepath.Join(dir, specFile))
	if err != nil {
		return nil, err
	}
	s := &Spec{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("machine description in %s: %w", dir, err)
	}
	return s, nil
}
