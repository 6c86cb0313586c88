package plan

import (
	"fmt"
	"strings"

	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

// Names of components. Tests kill and restart by these.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	NBDB              = "ovn-nb"
	SBDB              = "ovn-sb"
	SBRelay           = "ovn-sb-relay" // with clusters only
	Northd            = "ovn-northd"
	Master            = "ovnkube-master"
	StandbyMaster     = "ovnkube-master-standby"
	Routes            = "cp-routes"
	Containerd        = "containerd"
	Kubelet           = "kubelet"
	OVSDB             = "ovsdb-server"
	VSwitchd          = "ovs-vswitchd"
	OVNController     = "ovn-controller"
	NodeAgent         = "ovnkube-node"
)

// goEnv is for what is not the project's own: it collects garbage less often than Go does by default. In a cluster of this size its memory is small,
// and on a few cores all wait for the processor.
func (c *Config) goEnv() []string { return []string{"GOGC=400"} }

// ControlPlaneMachine describes the machine with the Kubernetes control plane,
// OVN central and the underlay's bridge.
func (c *Config) ControlPlaneMachine() (*machine.Spec, error) {
	s := c.base(ControlPlane, hostControlPlane)
	forwarding(s)
	s.Network.Bridge = "br0"
	s.OVNRoot = c.OVNRoot
	binds, err := c.binBinds(Etcd, APIServer, ControllerManager, Scheduler, "kubectl")
	if err != nil {
		return nil, err
	}
	s.Binds = append(binds, c.productBinds()...)
	s.Env = append(s.Env, "KUBECONFIG="+kubeInside+"/admin.kubeconfig")
	s.Setup = []supervise.Command{
		{Argv: []string{"/bin/mkdir", "-p", "/run/ovn", "/var/lib/ovn", "/var/lib/etcd", "/var/log/ovn"}},
	}
	s.Components = []supervise.Component{c.etcd(), c.apiServer(), c.controllerManager(), c.scheduler()}
	if c.Install == InstallHelm {
		s.Components = append(s.Components, c.routes())
		return s, nil
	}
	s.Env = append(append(s.Env, "KUBECTL_OVN_ACCESS=local"), c.databaseEnv()...)
	s.Network.Services = c.memberPrefixes()
	s.Setup = append(s.Setup, c.databaseSetup()...)
	s.Components = append(append(s.Components, c.databases()...), c.northd(), c.routes())
	if c.Install == InstallProcess {
		s.Components = append(s.Components, c.master(Master, ControlPlane, MasterHealth))
		if c.Standby {
			s.Components = append(s.Components, c.master(StandbyMaster, ControlPlane+"-standby", StandbyHealth))
		}
	}
	return s, nil
}

func (c *Config) etcd() supervise.Component {
	return supervise.Component{Name: Etcd, Env: c.goEnv(), Argv: []string{bin(Etcd),
		"--data-dir=/var/lib/etcd",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=default=http://127.0.0.1:2380",
		// The lab's data are thrown away with it: no disk has to confirm anything.
		"--unsafe-no-fsync",
		"--log-level=warn",
	}}
}

func (c *Config) apiServer() supervise.Component {
	bind := "0.0.0.0"
	if c.Family.V6() {
		bind = "::"
	}
	argv := []string{bin(APIServer),
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=" + bind, "--secure-port=6443",
		"--advertise-address=" + c.Family.ControlPlane()[0].String(),
		"--service-cluster-ip-range=" + strings.Join(c.Family.Services(), ","),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		// Tests create thousands of objects at once on purpose.
		"--max-requests-inflight=4000", "--max-mutating-requests-inflight=2000",
		"--profiling=false",
	}
	for flag, file := range map[string]string{
		"tls-cert-file": "apiserver.crt", "tls-private-key-file": "apiserver.key",
		"client-ca-file": "ca.crt", "requestheader-client-ca-file": "ca.crt",
		"service-account-key-file": "sa.pub", "service-account-signing-key-file": "sa.key",
		"kubelet-client-certificate": "apiserver-kubelet-client.crt", "kubelet-client-key": "apiserver-kubelet-client.key",
		"proxy-client-cert-file": "front-proxy-client.crt", "proxy-client-key-file": "front-proxy-client.key",
	} {
		argv = append(argv, fmt.Sprintf("--%s=%s/%s", flag, pkiInside, file))
	}
	sortFlags(argv)
	return supervise.Component{Name: APIServer, Env: c.goEnv(), Argv: argv, Gates: []supervise.Gate{{TCP: "127.0.0.1:2379"}}}
}

func (c *Config) controllerManager() supervise.Component {
	kc := kubeInside + "/controller-manager.kubeconfig"
	return supervise.Component{Name: ControllerManager, Env: c.goEnv(), Gates: []supervise.Gate{c.apiReady()}, Argv: []string{
		bin(ControllerManager),
		"--kubeconfig=" + kc, "--authentication-kubeconfig=" + kc, "--authorization-kubeconfig=" + kc,
		"--service-account-private-key-file=" + pkiInside + "/sa.key",
		"--root-ca-file=" + pkiInside + "/ca.crt",
		"--cluster-signing-cert-file=" + pkiInside + "/ca.crt", "--cluster-signing-key-file=" + pkiInside + "/ca.key",
		"--use-service-account-credentials=true", "--leader-elect=false",
		"--service-cluster-ip-range=" + strings.Join(c.Family.Services(), ","),
		// Node subnets are the business of the network under test.
		"--allocate-node-cidrs=false",
		"--kube-api-qps=200", "--kube-api-burst=400",
	}}
}

func (c *Config) scheduler() supervise.Component {
	kc := kubeInside + "/scheduler.kubeconfig"
	return supervise.Component{Name: Scheduler, Env: c.goEnv(), Gates: []supervise.Gate{c.apiReady()}, Argv: []string{
		bin(Scheduler),
		"--kubeconfig=" + kc, "--authentication-kubeconfig=" + kc, "--authorization-kubeconfig=" + kc,
		"--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000",
	}}
}

// ovnDatabase creates a database; transaction, if there is one, is its first.
func (c *Config) ovnDatabase(kind, transaction string) supervise.Command {
	file := "/var/lib/ovn/ovn" + kind + "_db.db"
	const create = `ovsdb-tool create "$0.new" "$1" && { test -z "$2" || ovsdb-tool transact "$0.new" "$2"; } && mv "$0.new" "$0"`
	cmd := c.ovnCommand("/bin/sh", "-ec", create, file, "/usr/share/ovn/ovn-"+kind+".ovsschema", transaction)
	cmd.Creates = file
	return cmd
}

// chassisAccess is the southbound database's listener for nodes, which may do what OVN's role for ovn-controller allows. As
// "ovn-sbctl set-connection role=ovn-controller pssl:…" makes it.
func (c *Config) chassisAccess() string {
	return fmt.Sprintf(`["OVN_Southbound",
		{"op": "insert", "table": "Connection", "uuid-name": "nodes",
		 "row": {"target": "pssl:%d:%s", "role": "ovn-controller", "inactivity_probe": 60000}},
		{"op": "insert", "table": "SB_Global", "row": {"connections": ["named-uuid", "nodes"]}}]`, SBPort, c.everyAddress())
}

// everyAddress is what to listen on for all families, as Open vSwitch writes it.
func (c *Config) everyAddress() string {
	if c.Family.V6() {
		return "[::]"
	}
	return "0.0.0.0"
}

// southboundAccess are the flags by which ovsdb-server listens for nodes. The files are the master's to keep, and taken up when they come.
func southboundAccess() []string {
	return []string{
		"--remote=db:OVN_Southbound,SB_Global,connections",
		"--private-key=" + certInside + "/ovnkube-master.pem", "--certificate=" + certInside + "/ovnkube-master.pem",
		"--ca-cert=" + certInside + "/client-ca.crt",
	}
}

// certInside is where the product keeps certificates.
const certInside = "/etc/ovn/pki"

// ovnDB runs a database. What runs on the same machine reaches it by its socket.
func (c *Config) ovnDB(name, kind string, access ...string) supervise.Component {
	return supervise.Component{Name: name, Root: c.ovnRootInside(), Argv: append([]string{
		"/usr/sbin/ovsdb-server", "/var/lib/ovn/ovn" + kind + "_db.db",
		"--remote=punix:/var/run/ovn/ovn" + kind + "_db.sock",
		"--unixctl=/var/run/ovn/ovn" + kind + "_db.ctl",
		"--pidfile=/var/run/ovn/ovn" + kind + "_db.pid",
		"-vconsole:info", "-vsyslog:off", "-vfile:off",
	}, access...)}
}

func (c *Config) northd() supervise.Component {
	return supervise.Component{Name: Northd, Root: c.ovnRootInside(),
		Gates: []supervise.Gate{{Unix: c.localSocket("nb")}, {Unix: c.localSocket("sb")}},
		Argv: []string{"/usr/bin/ovn-northd", "--ovnnb-db=" + c.local("nb"), "--ovnsb-db=" + c.local("sb"),
			"--pidfile", "-vconsole:info", "-vsyslog:off", "-vfile:off"}}
}

// routes keeps the API server's way to pods: it proxies to them, calls their
// webhooks and aggregated APIs, but is no node of the cluster.
func (c *Config) routes() supervise.Component {
	return supervise.Component{Name: Routes, Gates: []supervise.Gate{c.apiReady()}, Argv: []string{
		"/proc/1/exe", "cp-routes", "--kubeconfig", kubeInside + "/admin.kubeconfig"}}
}

// Ports of the health servers of the masters and of the node agents, on their machines' loopback addresses.
const (
	MasterHealth  = 9409
	AgentHealth   = 9410
	StandbyHealth = 9411
	RelayHealth   = 9412
)

func (c *Config) master(name, identity string, health int) supervise.Component {
	return supervise.Component{Name: name, Gates: []supervise.Gate{c.apiReady()}, Argv: []string{
		productInside + "/ovnkube", "master",
		"--k8s-kubeconfig=" + kubeInside + "/ovnkube-master.kubeconfig",
		"--cluster-subnets=" + strings.Join(c.Family.Cluster(), ","),
		"--k8s-service-cidrs=" + strings.Join(c.Family.Services(), ","),
		"--nb-address=" + c.masterRemotes("nb", NBPort),
		"--sb-address=" + c.masterRemotes("sb", SBPort),
		"--identity=" + identity,
		fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", health),
	}}
}
