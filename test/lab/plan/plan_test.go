package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

func testConfig(f Family) *Config {
	c := &Config{Name: "t", Family: f, Install: InstallProcess, Dir: "/state/t", BinDir: "/product", Nodes: []int{1, 2},
		PauseImage: "registry.k8s.io/pause:1", Binaries: map[string]string{}}
	for _, b := range []string{Etcd, APIServer, ControllerManager, Scheduler, "kubectl", Containerd, "containerd-shim-runc-v2", "ctr", "runc", Kubelet} {
		c.Binaries[b] = "/cache/" + b + "-key/" + b
	}
	return c
}

func nodeSpec(t *testing.T, c *Config) *machine.Spec {
	t.Helper()
	s, err := c.NodeMachine(1, "chassis-1")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func component(t *testing.T, s *machine.Spec, name string) supervise.Component {
	t.Helper()
	i := slices.IndexFunc(s.Components, func(c supervise.Component) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("%s has no component %s", s.Name, name)
	}
	return s.Components[i]
}

func TestAddresses(t *testing.T) {
	for _, tc := range []struct {
		family            Family
		cp, node, outside string
		api, sb           string
		dns               string
	}{
		{IPv4, "172.18.0.1", "172.18.0.12", "172.18.0.201", "https://172.18.0.1:6443", "ssl:172.18.0.1:6642", "172.30.0.10"},
		{IPv6, "fd00:172:18::1", "fd00:172:18::12", "fd00:172:18::201", "https://[fd00:172:18::1]:6443", "ssl:[fd00:172:18::1]:6642", "fd02::a"},
		{Dual, "172.18.0.1,fd00:172:18::1", "172.18.0.12,fd00:172:18::12", "172.18.0.201,fd00:172:18::201",
			"https://172.18.0.1:6443", "ssl:172.18.0.1:6642", "172.30.0.10,fd02::a"},
	} {
		t.Run(string(tc.family), func(t *testing.T) {
			f := tc.family
			got := []string{join(f.ControlPlane()), join(f.Node(2)), join(f.OutsideServer()), f.APIServer(), testConfig(f).Southbound(), strings.Join(f.DNS(), ",")}
			if diff := cmp.Diff([]string{tc.cp, tc.node, tc.outside, tc.api, tc.sb, tc.dns}, got); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			for i, d := range f.DNS() {
				if !netip.MustParsePrefix(f.Services()[i]).Contains(netip.MustParseAddr(d)) {
					t.Errorf("the DNS service's %s is not in %s", d, f.Services()[i])
				}
			}
		})
	}
}

func TestAgentGetsWhatTheLabIs(t *testing.T) {
	for f, want := range map[Family][]string{
		IPv4: {"--cluster-subnets=10.128.0.0/14/23", "--k8s-service-cidrs=172.30.0.0/16", "--sb-address=ssl:172.18.0.1:6642", "--node-name=node1"},
		Dual: {"--cluster-subnets=10.128.0.0/14/23,fd01::/48/64", "--k8s-service-cidrs=172.30.0.0/16,fd02::/112"},
		IPv6: {"--cluster-subnets=fd01::/48/64", "--sb-address=ssl:[fd00:172:18::1]:6642"},
	} {
		argv := component(t, nodeSpec(t, testConfig(f)), NodeAgent).Argv
		for _, w := range want {
			if !slices.Contains(argv, w) {
				t.Errorf("%s: the agent is not given %s: %v", f, w, argv)
			}
		}
	}
}

func TestAgentGetsItsSettings(t *testing.T) {
	c := testConfig(IPv4)
	if argv := component(t, nodeSpec(t, c), NodeAgent).Argv; slices.ContainsFunc(argv, func(a string) bool { return strings.HasPrefix(a, "--gateway-mode") }) {
		t.Errorf("the agent's default is overridden: %v", argv)
	}
	c.Agent = Agent{GatewayMode: "local", Netfilter: "iptables"}
	argv := component(t, nodeSpec(t, c), NodeAgent).Argv
	for _, want := range []string{"--gateway-mode=local", "--netfilter=iptables"} {
		if !slices.Contains(argv, want) {
			t.Errorf("the agent is not given %s: %v", want, argv)
		}
	}
}

func TestDatabaseClusters(t *testing.T) {
	c := testConfig(Dual)
	c.Databases = 3
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	cp, err := c.ControlPlaneMachine()
	if err != nil {
		t.Fatal(err)
	}
	if want := "172.18.0.2/24,fd00:172:18::2/64,172.18.0.3/24,fd00:172:18::3/64"; join(cp.Network.Services) != want {
		t.Errorf("further addresses are %s, want %s", join(cp.Network.Services), want)
	}
	const sb = "ssl:172.18.0.1:6642,ssl:172.18.0.2:6642,ssl:172.18.0.3:6642"
	for _, w := range []struct{ component, flag string }{
		{Master, "--sb-address=" + sb}, {Northd, "--ovnsb-db=unix:/var/run/ovn/ovnsb_leader.sock"}, {DatabaseMember(SBDB, 3), "--local-address=172.18.0.3"},
		{DatabaseMember(NBDB, 2), "--members=172.18.0.1,172.18.0.2,172.18.0.3"},
		// Nodes' certificates are good for the relay and for no member.
		{DatabaseMember(SBDB, 1), "--cacert=/etc/ovn/pki/ca.crt"}, {SBRelay, "--cacert=/etc/ovn/pki/client-ca.crt"},
		{SBRelay, "--sources=" + sb}, {SBRelay, "--listen=16642:[::]"},
	} {
		if argv := component(t, cp, w.component).Argv; !slices.Contains(argv, w.flag) {
			t.Errorf("%s is not given %s: %v", w.component, w.flag, argv)
		}
	}
	if argv := component(t, nodeSpec(t, c), NodeAgent).Argv; !slices.Contains(argv, "--sb-address=ssl:172.18.0.1:16642") {
		t.Errorf("the agent is not given the relay: %v", argv)
	}
	c.Install = InstallNone
	if err := c.Validate(); err == nil {
		t.Error("clusters without the project that runs them are accepted")
	}
}

func TestInstallNoneLeavesTheProjectOut(t *testing.T) {
	c := testConfig(IPv4)
	c.Install = InstallNone
	cp, err := c.ControlPlaneMachine()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*machine.Spec{cp, nodeSpec(t, c)} {
		for _, comp := range s.Components {
			if strings.Contains(comp.Argv[0], "ovnkube") {
				t.Errorf("%s runs %s", s.Name, comp.Name)
			}
		}
		for _, b := range s.Binds {
			if b.Source == c.BinDir {
				t.Errorf("%s shows %s", s.Name, b.Source)
			}
		}
	}
}

// With another root everything of Open vSwitch and OVN comes from there, and the
// programs that people type do too.
func TestOVNRoot(t *testing.T) {
	c := testConfig(IPv4)
	c.OVNRoot = "/roots/other"
	cp, err := c.ControlPlaneMachine()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*machine.Spec{cp, nodeSpec(t, c)} {
		for _, comp := range s.Components {
			ours := strings.HasPrefix(comp.Name, "ovn-") || strings.HasPrefix(comp.Name, "ovs")
			if (comp.Root == machine.OVNRootInside) != ours {
				t.Errorf("%s on %s runs with root %q", comp.Name, s.Name, comp.Root)
			}
			for _, b := range comp.Before {
				if ours && b.Root != machine.OVNRootInside {
					t.Errorf("%s on %s is prepared with root %q", comp.Name, s.Name, b.Root)
				}
			}
		}
		if !strings.HasPrefix(s.Env[0], "PATH=/opt/ovnlab/wrap:") {
			t.Errorf("wrappers are not first in %s", s.Env[0])
		}
	}
	files := c.Files("node1", "id")
	i := slices.IndexFunc(files, func(f File) bool { return f.Path == "opt/ovnlab/wrap/ovs-vsctl" })
	if i < 0 || !strings.Contains(files[i].Content, "chroot "+machine.OVNRootInside+" /usr/bin/ovs-vsctl") || files[i].Mode != 0o755 {
		t.Errorf("no wrapper for ovs-vsctl")
	}
}

// kube-proxy is never a part of a lab, and node subnets are not Kubernetes' to give.
func TestNobodyElseDoesOurWork(t *testing.T) {
	c := testConfig(Dual)
	cp, err := c.ControlPlaneMachine()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*machine.Spec{cp, nodeSpec(t, c), c.OutsideMachine()} {
		for _, comp := range s.Components {
			if strings.Contains(strings.Join(comp.Argv, " "), "kube-proxy") {
				t.Errorf("%s runs kube-proxy", s.Name)
			}
		}
	}
	if argv := component(t, cp, ControllerManager).Argv; !slices.Contains(argv, "--allocate-node-cidrs=false") {
		t.Errorf("the controller manager allocates node CIDRs: %v", argv)
	}
}

func TestOutsideHostHasNoWayIntoTheCluster(t *testing.T) {
	s := testConfig(Dual).OutsideMachine()
	if len(s.Network.Gateways) > 0 || len(s.Network.Services) != 2 || len(s.Network.Addresses) != 2 {
		t.Errorf("network of the outside host: %+v", s.Network)
	}
	if files := testConfig(Dual).Kubeconfigs(Outside); len(files) > 0 {
		t.Errorf("the outside host has credentials %v", files)
	}
}

func TestNodesAreApart(t *testing.T) {
	c := testConfig(IPv4)
	a := nodeSpec(t, c)
	b, err := c.NodeMachine(2, "chassis-2")
	if err != nil {
		t.Fatal(err)
	}
	if a.Dir == b.Dir || a.Cgroup == b.Cgroup || a.Network.MAC == b.Network.MAC || a.Network.Addresses[0] == b.Network.Addresses[0] {
		t.Errorf("two nodes share something: %+v %+v", a.Network, b.Network)
	}
	users := c.MachineCertificates("node1")
	if users[0].User != "system:node:node1" || users[1].User != "system:ovn-node:node1" {
		t.Errorf("identities of node1: %+v", users)
	}
}

func TestConfigurationFilesParse(t *testing.T) {
	for _, f := range testConfig(Dual).Files("node1", "id") {
		if !strings.HasSuffix(f.Path, ".yaml") {
			if strings.Contains(f.Content, "@") {
				t.Errorf("%s has a place left unfilled:\n%s", f.Path, f.Content)
			}
			continue
		}
		var kubelet struct {
			ClusterDNS  []string `json:"clusterDNS"`
			FailCgroup  *bool    `json:"failCgroupV1"`
			TLSCertFile string   `json:"tlsCertFile"`
		}
		if err := yaml.Unmarshal([]byte(f.Content), &kubelet); err != nil {
			t.Fatalf("%s: %v", f.Path, err)
		}
		if len(kubelet.ClusterDNS) != 1 || kubelet.FailCgroup == nil || *kubelet.FailCgroup || kubelet.TLSCertFile != "/etc/kubernetes/pki/kubelet.crt" {
			t.Errorf("%s: %+v", f.Path, kubelet)
		}
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{"lab": true, "e2e-dual-1": true, "": false, "a/b": false, "..": false, "Lab": false, "-a": false,
		strings.Repeat("a", 25): false} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
	for name, want := range map[string]int{"node1": 1, "node12": 12, "node0": 0, "node01": 0, "cp": 0, "node-1": 0} {
		n, err := NodeNumber(name)
		if n != want || (err == nil) != (want > 0) {
			t.Errorf("NodeNumber(%q) = %d, %v", name, n, err)
		}
	}
}

func TestValidate(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"family":      func(c *Config) { c.Family = "ipv5" },
		"install":     func(c *Config) { c.Install = "maybe" },
		"name":        func(c *Config) { c.Name = "../x" },
		"twice":       func(c *Config) { c.Nodes = []int{1, 1} },
		"too far out": func(c *Config) { c.Nodes = []int{maxNodes + 1} },
	} {
		c := testConfig(IPv4)
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		if spoil(c); c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Two masters are told apart in the Lease and do not get in each other's way on their machine.
func TestStandbyMaster(t *testing.T) {
	c := testConfig(IPv4)
	c.Standby = true
	s, err := c.ControlPlaneMachine()
	if err != nil {
		t.Fatal(err)
	}
	first, second := component(t, s, Master).Argv, component(t, s, StandbyMaster).Argv
	for _, flag := range []string{"--identity=", "--metrics-bind-address="} {
		has := func(argv []string) string {
			return argv[slices.IndexFunc(argv, func(a string) bool { return strings.HasPrefix(a, flag) })]
		}
		if a, b := has(first), has(second); a == b {
			t.Errorf("both masters have %s", a)
		}
	}
}
