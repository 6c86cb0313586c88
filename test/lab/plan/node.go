package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

// NodeMachine describes the n-th node. systemID becomes the chassis name of its
// Open vSwitch.
func (c *Config) NodeMachine(n int, systemID string) (*machine.Spec, error) {
	name := NodeName(n)
	s := c.base(name, hostNode0+n)
	forwarding(s)
	s.Network.Gateways = c.gatewayAddrs()
	s.OVNRoot = c.OVNRoot
	binds, err := c.binBinds(Containerd, "containerd-shim-runc-v2", "ctr", "runc", Kubelet, "kubectl")
	if err != nil {
		return nil, err
	}
	s.Binds = binds
	s.Env = append(s.Env, "KUBECONFIG="+kubeInside+"/admin.kubeconfig",
		"CONTAINER_RUNTIME_ENDPOINT=unix:///run/containerd/containerd.sock", "CONTAINERD_NAMESPACE=k8s.io")
	// Kubelet sets these on start; they belong to the whole kernel.
	s.Pinned = map[string]string{
		"vm.overcommit_memory": "1", "vm.panic_on_oom": "0", "kernel.panic": "10", "kernel.panic_on_oops": "1",
		"kernel.keys.root_maxkeys": "1000000", "kernel.keys.root_maxbytes": "25000000",
	}
	s.Setup = []supervise.Command{
		{Argv: []string{"/bin/mkdir", "-p", "/run/openvswitch", "/run/ovn", "/var/log/openvswitch", "/var/log/ovn",
			"/var/lib/openvswitch", "/var/lib/ovn", "/var/log/pods", "/var/log/containers"}},
		{Argv: []string{"/usr/sbin/nft", "-f", "-"}, Stdin: c.nodeRuleset()},
	}
	if c.Install == InstallHelm {
		s.Folders = []string{"/usr/lib/modules"} // the pods' volume; without modules machines may lack it
		s.Components = []supervise.Component{c.containerd(), c.kubelet(n)}
		return s, nil
	}
	s.Env = append(s.Env, "KUBECTL_OVN_ACCESS=local")
	s.Setup = append(s.Setup, c.nodeDatabase())
	s.Components = []supervise.Component{
		c.containerd(), c.ovsdb(), c.vswitchd(name, systemID), c.ovnController(), c.kubelet(n),
	}
	if c.Install == InstallProcess {
		s.Binds = append(s.Binds, c.productBinds()...)
		s.Components = append(s.Components, c.nodeAgent(name))
	}
	return s, nil
}

// nodeRuleset lets the control plane's connections to pods come from the node:
// it is outside the pod network, and pods' answers would not find back to it.
func (c *Config) nodeRuleset() string {
	var rules []string
	for _, a := range c.Family.ControlPlane() {
		fam := "ip"
		if a.Is6() {
			fam = "ip6"
		}
		rules = append(rules, fmt.Sprintf("\t\t%s saddr %s oifname \"ovn-k8s-mp0\" counter masquerade", fam, a))
	}
	return "table inet ovnlab {\n\tchain postrouting {\n\t\ttype nat hook postrouting priority srcnat - 10; policy accept;\n" +
		strings.Join(rules, "\n") + "\n\t}\n}\n"
}

func (c *Config) nodeDatabase() supervise.Command {
	const file = "/etc/openvswitch/conf.db"
	cmd := c.ovnCommand("/usr/bin/ovsdb-tool", "create", file, "/usr/share/openvswitch/vswitch.ovsschema")
	cmd.Creates = file
	return cmd
}

func (c *Config) containerd() supervise.Component {
	return supervise.Component{Name: Containerd, Env: c.goEnv(), Argv: []string{bin(Containerd), "--config=/etc/containerd/config.toml", "--log-level=info"}}
}

const ovsdbSocket = "/var/run/openvswitch/db.sock"

func (c *Config) ovsdb() supervise.Component {
	return supervise.Component{Name: OVSDB, Root: c.ovnRootInside(), Argv: []string{
		"/usr/sbin/ovsdb-server", "/etc/openvswitch/conf.db",
		"--remote=punix:" + ovsdbSocket, "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
		"--pidfile", "-vconsole:info", "-vsyslog:off", "-vfile:off"}}
}

// vswitchd does what the package's start script does: it initialises the
// database and enters versions, the host's name and the chassis' id.
func (c *Config) vswitchd(node, systemID string) supervise.Component {
	const start = `exec /usr/bin/ovs-vsctl --no-wait --timeout=10 init -- set Open_vSwitch . \
  ovs_version="$(/usr/sbin/ovs-vswitchd --version | sed -n '1s/.* //p')" \
  external_ids:hostname="$0" external_ids:system-id="$1" external_ids:rundir=/var/run/openvswitch`
	return supervise.Component{Name: VSwitchd, Root: c.ovnRootInside(),
		Gates:  []supervise.Gate{{Unix: ovsdbSocket}},
		Before: []supervise.Command{c.ovnCommand("/bin/sh", "-c", start, node, systemID)},
		Argv: []string{"/usr/sbin/ovs-vswitchd", "unix:" + ovsdbSocket,
			"--pidfile", "-vconsole:info", "-vsyslog:off", "-vfile:off"}}
}

func (c *Config) ovnController() supervise.Component {
	// A restart for an upgrade leaves the chassis and the flows in place.
	stop := c.ovnCommand("/usr/bin/ovn-appctl", "--timeout=2", "-t", "ovn-controller", "exit", "--restart")
	return supervise.Component{Name: OVNController, Root: c.ovnRootInside(), StopWith: &stop,
		// It crashes on a database that nobody has initialised: vswitchd's start does.
		Gates: []supervise.Gate{{Unix: ovsdbSocket}, {File: "/run/openvswitch/ovs-vswitchd.pid"}},
		Argv: []string{"/usr/bin/ovn-controller", "unix:" + ovsdbSocket,
			"--pidfile", "-vconsole:info", "-vsyslog:off", "-vfile:off"}}
}

func (c *Config) kubelet(n int) supervise.Component {
	return supervise.Component{Name: Kubelet, Env: c.goEnv(),
		Gates: []supervise.Gate{{Unix: "/run/containerd/containerd.sock"}, c.apiReady()},
		Argv: []string{bin(Kubelet),
			"--config=" + kubeInside + "/kubelet.yaml", "--kubeconfig=" + kubeInside + "/kubelet.kubeconfig",
			"--hostname-override=" + NodeName(n), "--node-ip=" + join(c.Family.Node(n)),
			"--root-dir=/var/lib/kubelet", "--cert-dir=/var/lib/kubelet/pki", "--v=2"}}
}

func (c *Config) nodeAgent(name string) supervise.Component {
	const shim = "ovn-k8s-cni-overlay"
	return supervise.Component{Name: NodeAgent,
		Gates: []supervise.Gate{{Unix: ovsdbSocket}, c.apiReady()},
		// As an agent's image does: the plugin comes with the agent.
		Before: []supervise.Command{{Argv: []string{"/usr/bin/install", "-m", "0755", "-t", "/opt/cni/bin", productInside + "/" + shim}}},
		Argv: append([]string{productInside + "/ovnkube", "node",
			"--node-name=" + name,
			"--k8s-kubeconfig=" + kubeInside + "/ovnkube-node.kubeconfig",
			"--cluster-subnets=" + strings.Join(c.Family.Cluster(), ","),
			"--k8s-service-cidrs=" + strings.Join(c.Family.Services(), ","),
			"--sb-address=" + c.Southbound(),
			fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", AgentHealth),
		}, c.Agent.flags()...)}
}

// sortFlags orders a command's flags, for a plan that reads the same each time.
func sortFlags(argv []string) { slices.Sort(argv[1:]) }

// Hosts is /etc/hosts for the lab's machines.
func (c *Config) Hosts() string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
	line := func(name string, as []netip.Addr) {
		for _, a := range as {
			fmt.Fprintf(&b, "%s %s\n", a, name)
		}
	}
	line(ControlPlane, c.Family.ControlPlane())
	line(Outside, c.Family.OutsideServer())
	for _, n := range c.Nodes {
		line(NodeName(n), c.Family.Node(n))
	}
	return b.String()
}
