package plan

import (
	"net/netip"

	"github.com/ovnkube/ovnkube/test/lab/pki"
)

// Identities of the project's components; the lab's manifests give them rights.
const (
	masterUser = "ovnkube-master"
	agentGroup = "system:ovn-nodes"
)

// ControlPlaneCertificates lists what the control plane needs.
func (c *Config) ControlPlaneCertificates() []pki.Request {
	ips := append(c.Family.ControlPlane(), netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback())
	for _, s := range c.Family.Services() {
		// The first address of the service networks is the API server's own.
		ips = append(ips, netip.MustParsePrefix(s).Addr().Next())
	}
	return []pki.Request{
		{Name: "apiserver", User: "kube-apiserver", IPs: ips, DNS: []string{"localhost", "kubernetes", "kubernetes.default",
			"kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}},
		{Name: "apiserver-kubelet-client", User: "apiserver-kubelet-client", Groups: []string{"system:masters"}},
		{Name: "front-proxy-client", User: "front-proxy-client"},
		{Name: "admin", User: "admin", Groups: []string{"system:masters"}},
		{Name: "controller-manager", User: "system:kube-controller-manager"},
		{Name: "scheduler", User: "system:kube-scheduler"},
		{Name: "ovnkube-master", User: masterUser},
	}
}

// MachineCertificates lists what belongs to one machine alone.
func (c *Config) MachineCertificates(name string) []pki.Request {
	n, err := NodeNumber(name)
	if err != nil {
		return nil
	}
	return []pki.Request{
		{Name: name, User: "system:node:" + name, Groups: []string{"system:nodes"}, IPs: c.Family.Node(n), DNS: []string{name}},
		{Name: "ovnkube-" + name, User: "system:ovn-node:" + name, Groups: []string{agentGroup}},
	}
}

// PKIFiles maps files of a machine's /etc/kubernetes/pki to those of the lab's.
func (c *Config) PKIFiles(name string) map[string]string {
	switch name {
	case Outside:
		return nil
	case ControlPlane:
		files := map[string]string{"ca.key": "ca.key", "sa.key": "sa.key", "sa.pub": "sa.pub", "ca.crt": "ca.crt"}
		for _, n := range []string{"apiserver", "apiserver-kubelet-client", "front-proxy-client"} {
			files[n+".crt"], files[n+".key"] = n+".crt", n+".key"
		}
		return files
	}
	return map[string]string{"ca.crt": "ca.crt", "kubelet.crt": name + ".crt", "kubelet.key": name + ".key"}
}

// Kubeconfigs maps files of a machine's /etc/kubernetes to client certificates.
// Every node has the administrator's: people debug there.
func (c *Config) Kubeconfigs(name string) map[string]string {
	switch name {
	case Outside:
		return nil
	case ControlPlane:
		return map[string]string{
			"admin.kubeconfig": "admin", "controller-manager.kubeconfig": "controller-manager",
			"scheduler.kubeconfig": "scheduler", "ovnkube-master.kubeconfig": "ovnkube-master",
		}
	}
	return map[string]string{
		"admin.kubeconfig": "admin", "kubelet.kubeconfig": name, "ovnkube-node.kubeconfig": "ovnkube-" + name,
	}
}
