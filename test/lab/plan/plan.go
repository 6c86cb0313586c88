package plan

import (
	"fmt"
	"net/netip"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ovnkube/ovnkube/test/lab/hypervisor"
	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

// Install says how the project's own components get into the lab.
type Install string

// Ways to install.
const (
	// InstallProcess runs them as processes beside the kubelets.
	InstallProcess Install = "process"
	// InstallHelm runs them as pods, of the image and the chart that users install.
	InstallHelm Install = "helm"
	// InstallNone leaves them out: nodes stay NotReady until somebody brings a CNI.
	InstallNone Install = "none"
)

// Machines that every lab has.
const (
	ControlPlane = hypervisor.Hub
	Outside      = "outside"
)

// Config is what a lab is made from.
type Config struct {
	Name    string  `json:"name"`
	Family  Family  `json:"family"`
	Install Install `json:"install"`
	// Dir is the lab's state directory on the host.
	Dir string `json:"dir"`
	// OVNRoot is a root file system to take Open vSwitch and OVN from; empty for
	// the host's.
	OVNRoot string `json:"ovnRoot,omitempty"`
	// Agent is how the nodes' agents differ from the default.
	Agent Agent `json:"agent"`
	// BinDir has the project's executables; with InstallHelm kubectl-ovn alone is used.
	BinDir string `json:"binDir,omitempty"`
	// Helm is used with InstallHelm.
	Helm Helm `json:"helm"`
	// Binaries are the paths of the executables the machines need, by name.
	Binaries map[string]string `json:"binaries"`
	// CNIPlugins are the paths of plugins copied to /opt/cni/bin, by name.
	CNIPlugins map[string]string `json:"cniPlugins,omitempty"`
	// PauseImage and CoreDNSImage are image references.
	PauseImage   string `json:"pauseImage"`
	CoreDNSImage string `json:"coreDNSImage"`
	// ImageStore is the folder that new nodes get their images from.
	ImageStore string `json:"imageStore"`
	// Standby adds a second replica of the master, which waits for the first one's end.
	Standby bool `json:"standby,omitempty"`
	// Databases is how many members OVN's databases have: 1, or 3 or 5 for clusters run by the product. Zero stands for 1.
	Databases int `json:"databases,omitempty"`
	// Nodes are the numbers of the nodes: node1 is 1.
	Nodes []int `json:"nodes"`
}

// Agent has settings of the nodes' agents; empty ones are left to the agent.
type Agent struct {
	// GatewayMode is shared or local, Netfilter auto, nftables or iptables.
	GatewayMode string `json:"gatewayMode,omitempty"`
	Netfilter   string `json:"netfilter,omitempty"`
}

// flags are those of the agent's command line.
func (a Agent) flags() []string {
	var out []string
	if a.GatewayMode != "" {
		out = append(out, "--gateway-mode="+a.GatewayMode)
	}
	if a.Netfilter != "" {
		out = append(out, "--netfilter="+a.Netfilter)
	}
	return out
}

// nameRE keeps names short enough for socket paths and fit for cgroup names.
var nameRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$`)

// CheckName refuses names that cannot become paths.
func CheckName(name string) error {
	if !nameRE.MatchString(name) {
		return fmt.Errorf("lab name %q: want 1 to 24 lower case letters, digits or dashes", name)
	}
	return nil
}

// Validate refuses a lab that cannot be built.
func (c *Config) Validate() error {
	if err := CheckName(c.Name); err != nil {
		return err
	}
	if _, err := ParseFamily(string(c.Family)); err != nil {
		return err
	}
	if !slices.Contains([]Install{InstallProcess, InstallHelm, InstallNone}, c.Install) {
		return fmt.Errorf("install %q: want %s, %s or %s", c.Install, InstallProcess, InstallHelm, InstallNone)
	}
	if !slices.Contains([]int{0, 1, 3, 5}, c.Databases) {
		return fmt.Errorf("%d databases: want 1, 3 or 5", c.Databases)
	}
	if c.clustered() && c.Install == InstallNone {
		return fmt.Errorf("%d databases need install %s or %s: the project runs clusters", c.Databases, InstallProcess, InstallHelm)
	}
	if err := c.validateHelm(); err != nil {
		return err
	}
	for i, n := range c.Nodes {
		if n < 1 || n > maxNodes || slices.Contains(c.Nodes[:i], n) {
			return fmt.Errorf("node number %d: want different numbers from 1 to %d", n, maxNodes)
		}
	}
	return nil
}

// NodeName returns the name of the n-th node.
func NodeName(n int) string { return fmt.Sprintf("node%d", n) }

// NodeNumber is the inverse of NodeName.
func NodeNumber(name string) (int, error) {
	s, ok := strings.CutPrefix(name, "node")
	n, err := strconv.Atoi(s)
	if !ok || err != nil || n < 1 || NodeName(n) != name {
		return 0, fmt.Errorf("%q is not a node: want node1, node2, …", name)
	}
	return n, nil
}

// Machines lists all machines, the one that the others depend on first.
func (c *Config) Machines() []string {
	out := []string{ControlPlane, Outside}
	for _, n := range c.Nodes {
		out = append(out, NodeName(n))
	}
	return out
}

// MachineDir is the directory of a machine on the host.
func (c *Config) MachineDir(name string) string { return filepath.Join(c.Dir, name) }

// PKIDir is where the lab's certificates are made.
func (c *Config) PKIDir() string { return filepath.Join(c.Dir, "pki") }

// Cgroup is the lab's group in every cgroup hierarchy.
func (c *Config) Cgroup() string { return Cgroup(c.Name) }

// Cgroup is the cgroup of the lab of that name.
func Cgroup(lab string) string { return "ovnlab-" + lab }

// Places inside machines.
const (
	binInside     = "/opt/ovnlab/bin"
	libInside     = "/opt/ovnlab/lib"
	productInside = "/opt/ovnlab/product"
	wrapInside    = "/opt/ovnlab/wrap"
	kubeInside    = "/etc/kubernetes"
	pkiInside     = "/etc/kubernetes/pki"
)

// base returns what all machines have in common.
func (c *Config) base(name string, host int) *machine.Spec {
	return &machine.Spec{
		Lab:    c.Name,
		Name:   name,
		Dir:    c.MachineDir(name),
		Cgroup: c.Cgroup() + "/" + name,
		Network: machine.Network{
			MAC:       mac(host),
			MTU:       MTU,
			Addresses: c.Family.underlay(host),
		},
		Sysctls: map[string]string{
			// Router advertisements come from nowhere, and addresses are planned.
			"net.ipv6.conf.all.accept_ra":     "0",
			"net.ipv6.conf.default.accept_ra": "0",
		},
		Env: []string{
			"PATH=" + strings.Join([]string{wrapInside, binInside, productInside,
				"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}, ":"),
			"HOME=/root", "LANG=C.UTF-8", "OVNLAB=" + c.Name, "OVNLAB_MACHINE=" + name,
		},
	}
}

// forwarding makes a machine a router between its devices.
func forwarding(s *machine.Spec) {
	s.Sysctls["net.ipv4.ip_forward"] = "1"
	s.Sysctls["net.ipv6.conf.all.forwarding"] = "1"
}

// bin returns the path of an executable inside a machine.
func bin(name string) string { return path.Join(binInside, name) }

// binBinds shows executables of the host inside the machine, each with the
// folder it lies in: runc copies itself by way of a mount of its own folder, which
// shows nothing that is mounted on a single file.
func (c *Config) binBinds(names ...string) ([]machine.Bind, error) {
	var out []machine.Bind
	for _, n := range names {
		src, ok := c.Binaries[n]
		if !ok {
			return nil, fmt.Errorf("no path is known for the executable %s", n)
		}
		out = append(out, machine.Bind{Source: filepath.Dir(src), Target: libInside + "/" + n})
	}
	return out, nil
}

// binLinks are the links that lead to what binBinds shows.
func (c *Config) binLinks() []Link {
	out := make([]Link, 0, len(c.Binaries))
	for n, src := range c.Binaries {
		out = append(out, Link{Path: "opt/ovnlab/bin/" + n, To: path.Join(libInside, n, filepath.Base(src))})
	}
	slices.SortFunc(out, func(a, b Link) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// productBinds shows the folder with the project's own executables, so that a
// rebuilt one is used from the component's next start.
func (c *Config) productBinds() []machine.Bind {
	if c.Install == InstallNone || c.BinDir == "" {
		return nil
	}
	return []machine.Bind{{Source: c.BinDir, Target: productInside}}
}

// ovn marks a component or command as part of Open vSwitch or OVN: with another
// root given it runs in there.
func (c *Config) ovnRootInside() string {
	if c.OVNRoot == "" {
		return ""
	}
	return machine.OVNRootInside
}

func (c *Config) ovnCommand(argv ...string) supervise.Command {
	return supervise.Command{Argv: argv, Root: c.ovnRootInside()}
}

// apiReady is open when the API server serves requests and its own roles exist.
func (c *Config) apiReady() supervise.Gate {
	return supervise.Gate{HTTPS: c.Family.APIServer() + "/readyz", CA: pkiInside + "/ca.crt"}
}

// OutsideMachine describes the host on the underlay that is not part of the
// cluster. It has an address to connect from and one for servers.
func (c *Config) OutsideMachine() *machine.Spec {
	s := c.base(Outside, hostOutside)
	s.Network.Services = c.Family.underlay(hostOutside + 1)
	// It stands for a router, and routers heed no redirects (RFC 1812, 5.2.7.2): a node that does not know an external address yet sends one, and a host
	// would then ask another for 5 minutes.
	for _, which := range []string{"all", "default"} {
		s.Sysctls["net.ipv4.conf."+which+".accept_redirects"] = "0"
		s.Sysctls["net.ipv6.conf."+which+".accept_redirects"] = "0"
	}
	return s
}

// gatewayAddrs are the next hops of nodes' default routes. Nothing lies behind
// them: the control plane has no way out of the machine.
func (c *Config) gatewayAddrs() []netip.Addr { return c.Family.ControlPlane() }
