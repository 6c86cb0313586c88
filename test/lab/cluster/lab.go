// Package cluster is a real Kubernetes cluster on one machine, as a Go API:
// bring one up, look into it, break it, take it down. The command ovnlab is a
// thin layer over it.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ovnkube/ovnkube/test/lab/hypervisor"
	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/netns"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/lab/proc"
	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

// StateVariable is the environment variable that moves the folder with the
// state of all labs.
const StateVariable = "OVNLAB_STATE"

// DefaultTag is the tag of the project's image that is built for labs.
const DefaultTag = "dev"

// DefaultName is the name of a lab that was given none.
const DefaultName = "lab"

// StateRoot is the folder with the state of all labs, one folder a lab.
func StateRoot() string {
	if d := os.Getenv(StateVariable); d != "" {
		return d
	}
	return "/var/lib/ovnlab"
}

// Dir is the state folder of the lab of that name.
func Dir(name string) string { return filepath.Join(StateRoot(), name) }

const configFile = "lab.json"

// Lab is a lab that exists. Its methods may be used by several goroutines.
type Lab struct {
	cfg plan.Config
}

// ErrNoLab is returned for a lab that does not exist.
var ErrNoLab = errors.New("there is no such lab")

// Open returns the lab of that name.
func Open(name string) (*Lab, error) {
	if err := plan.CheckName(name); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(Dir(name), configFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("lab %q: %w (ovnlab up --name %s makes it)", name, ErrNoLab, name)
	}
	if err != nil {
		return nil, err
	}
	l := &Lab{}
	if err := json.Unmarshal(b, &l.cfg); err != nil {
		return nil, fmt.Errorf("description of lab %q: %w", name, err)
	}
	return l, nil
}

// List returns the names of all labs, in order.
func List() ([]string, error) {
	entries, err := os.ReadDir(StateRoot())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(Dir(e.Name()), configFile)); err == nil {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

func (l *Lab) save() error {
	b, err := json.MarshalIndent(l.cfg, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(l.cfg.Dir, configFile)
	if err := os.WriteFile(path+".tmp", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// Name returns the lab's name.
func (l *Lab) Name() string { return l.cfg.Name }

// Dir returns the lab's state folder.
func (l *Lab) Dir() string { return l.cfg.Dir }

// Family returns the lab's IP families.
func (l *Lab) Family() plan.Family { return l.cfg.Family }

// Southbound is where nodes reach the southbound database, as Open vSwitch writes it.
func (l *Lab) Southbound() string { return l.cfg.Southbound() }

// ControlPlaneListeners are where databases listen for the control plane alone, or would, as ADDRESS:PORT.
func (l *Lab) ControlPlaneListeners() []string { return l.cfg.ControlPlaneListeners() }

// Install says whether the project's components run in the lab.
func (l *Lab) Install() plan.Install { return l.cfg.Install }

// OVNRoot returns the root file system that Open vSwitch and OVN come from; it
// is empty when they are the host's.
func (l *Lab) OVNRoot() string { return l.cfg.OVNRoot }

// Nodes returns the names of the nodes, in order.
func (l *Lab) Nodes() []string {
	nums := slices.Clone(l.cfg.Nodes)
	slices.Sort(nums)
	out := make([]string, 0, len(nums))
	for _, n := range nums {
		out = append(out, plan.NodeName(n))
	}
	return out
}

// NodeAddrs returns the underlay addresses of a node, IPv4 first.
func (l *Lab) NodeAddrs(node string) ([]netip.Addr, error) {
	n, err := plan.NodeNumber(node)
	if err != nil {
		return nil, err
	}
	return l.cfg.Family.Node(n), nil
}

// hypervisor returns a client of the process that holds the lab.
func (l *Lab) hypervisor() supervise.Client {
	return supervise.Client{Socket: hypervisor.SocketPath(l.cfg.Dir)}
}

// init returns a client of a machine's init.
func (l *Lab) init(name string) supervise.Client {
	return supervise.Client{Socket: machine.SocketPath(l.cfg.MachineDir(name))}
}

// checkMachine refuses names of machines that the lab does not have.
func (l *Lab) checkMachine(name string) error {
	if all := l.cfg.Machines(); !slices.Contains(all, name) {
		return fmt.Errorf("lab %q has no machine %q; it has %v", l.cfg.Name, name, all)
	}
	return nil
}

// PID returns the id of a machine's init as the host sees it. /proc/PID/root
// leads to the machine's files and /proc/PID/ns to its namespaces.
func (l *Lab) PID(name string) (int, error) {
	if err := l.checkMachine(name); err != nil {
		return 0, err
	}
	id, err := proc.ReadFile(machine.IdentityPath(l.cfg.MachineDir(name)))
	if err != nil || !id.Alive() {
		return 0, fmt.Errorf("machine %s of lab %q does not run (ovnlab node start %s)", name, l.cfg.Name, name)
	}
	return id.PID, nil
}

// Path returns a path by which the host reaches a running machine's file.
func (l *Lab) Path(name, path string) (string, error) {
	pid, err := l.PID(name)
	if err != nil {
		return "", err
	}
	return filepath.Join("/proc", fmt.Sprint(pid), "root", path), nil
}

// LogFile returns the path of a component's log on the host. With plan.InstallHelm the project's containers are components, too,
// by their names.
func (l *Lab) LogFile(name, component string) string {
	file := filepath.Join(l.cfg.MachineDir(name), machine.LogDir, component+".log")
	if _, err := os.Stat(file); err != nil && l.cfg.Install == plan.InstallHelm {
		if pod := containerLog(l.cfg.MachineDir(name), component); pod != "" {
			return pod
		}
	}
	return file
}

// netnsPath returns the path of a machine's network namespace.
func (l *Lab) netnsPath(name string) (string, error) {
	pid, err := l.PID(name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("/proc/%d/ns/net", pid), nil
}

// Dial connects from the network of a machine. address must hold an IP address
// and a port.
func (l *Lab) Dial(ctx context.Context, name, network, address string) (net.Conn, error) {
	path, err := l.netnsPath(name)
	if err != nil {
		return nil, err
	}
	return netns.Dial(ctx, path, network, address)
}

// Kubeconfig returns the path of the administrator's kubeconfig. The address in
// it is reached only from the networks of the lab; see RESTConfig and Kubectl.
func (l *Lab) Kubeconfig() string { return filepath.Join(l.cfg.Dir, "admin.kubeconfig") }

// RESTConfig returns a configuration with which client-go reaches the API server
// from outside the lab, with the administrator's rights and without a rate limit.
func (l *Lab) RESTConfig() (*rest.Config, error) {
	b, err := os.ReadFile(l.Kubeconfig())
	if err != nil {
		return nil, err
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(b)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of lab %q: %w", l.cfg.Name, err)
	}
	cfg.QPS = -1
	cfg.Dial = l.dialControlPlane
	return cfg, nil
}

// dialControlPlane connects from the network of the control plane's machine.
func (l *Lab) dialControlPlane(ctx context.Context, network, address string) (net.Conn, error) {
	return l.Dial(ctx, plan.ControlPlane, network, address)
}

// Client returns a Kubernetes client with the administrator's rights.
func (l *Lab) Client() (kubernetes.Interface, error) {
	cfg, err := l.RESTConfig()
	if err != nil {
		return nil, err
	}
	// As the cluster's own components speak: JSON costs the API server several times as much.
	cfg.ContentType = runtime.ContentTypeProtobuf
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return kubernetes.NewForConfig(cfg)
}
