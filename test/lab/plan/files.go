package plan

import (
	_ "embed"
	"fmt"
	"path"
	"strings"
)

// File is a file of a machine.
type File struct {
	// Path is relative to the machine's directory on the host: "etc/hosts".
	Path    string
	Content string
	Mode    uint32
}

// Link is a symbolic link of a machine.
type Link struct {
	// Path is relative to the machine's directory on the host.
	Path string
	// To is where it leads, inside the machine.
	To string
}

// Links lists the links that every machine needs.
func (c *Config) Links() []Link {
	return append([]Link{{Path: "var/run", To: "/run"}, {Path: "var/lock", To: "/run/lock"}}, c.binLinks()...)
}

//go:embed containerd.toml
var containerdConfig string

//go:embed kubelet.yaml
var kubeletConfig string

// OpaqueDirs are directories of /etc in which nothing of the host must show.
func OpaqueDirs() []string {
	return []string{"etc/openvswitch", "etc/ovn", "etc/cni", "etc/containerd", "etc/kubernetes", "etc/default"}
}

// Files lists the files that a machine needs besides certificates.
func (c *Config) Files(name, machineID string) []File {
	files := []File{
		{Path: "etc/hostname", Content: name + "\n", Mode: 0o644},
		{Path: "etc/hosts", Content: c.Hosts(), Mode: 0o644},
		{Path: "etc/machine-id", Content: machineID + "\n", Mode: 0o444},
		{Path: "etc/resolv.conf", Content: "nameserver " + c.Family.ControlPlane()[0].String() + "\n", Mode: 0o644},
	}
	if c.OVNRoot != "" && name != Outside {
		files = append(files, c.wrappers()...)
	}
	if c.Install == InstallHelm && name == ControlPlane {
		files = append(files, c.podCommands()...)
	}
	if name == ControlPlane || name == Outside {
		return files
	}
	files = append(files,
		File{Path: "etc/containerd/config.toml", Mode: 0o644, Content: strings.NewReplacer(
			"@PAUSE@", c.PauseImage, "@RUNC@", bin("runc")).Replace(containerdConfig)},
		File{Path: "etc/kubernetes/kubelet.yaml", Mode: 0o644, Content: strings.NewReplacer(
			"@DNS@", `"`+strings.Join(c.Family.DNS()[:1], `", "`)+`"`, "@PKI@", pkiInside).Replace(kubeletConfig)},
	)
	if c.Install == InstallHelm {
		return files // nobody has installed Open vSwitch on the host
	}
	return append(files, File{Path: "etc/openvswitch/system-id.conf", Mode: 0o644, Content: machineID + "\n"})
}

// wrapped are the programs of Open vSwitch and OVN that people type.
func wrapped() []string {
	return []string{
		"/usr/bin/ovs-vsctl", "/usr/bin/ovs-ofctl", "/usr/bin/ovs-appctl", "/usr/bin/ovs-dpctl",
		"/usr/bin/ovsdb-client", "/usr/bin/ovsdb-tool", "/usr/bin/ovn-nbctl", "/usr/bin/ovn-sbctl",
		"/usr/bin/ovn-appctl", "/usr/bin/ovn-trace", "/usr/bin/ovn-detrace", "/usr/bin/ovn-northd", "/usr/bin/ovn-controller",
		"/usr/bin/ovs-dpctl-top", "/usr/bin/ovs-tcpdump", "/usr/bin/ovs-pcap", "/usr/bin/ovs-docker",
		"/usr/sbin/ovsdb-server", "/usr/sbin/ovs-vswitchd",
	}
}

// wrappers put the other root's programs first in PATH.
func (c *Config) wrappers() []File {
	var out []File
	for _, p := range wrapped() {
		out = append(out, File{
			Path: "opt/ovnlab/wrap/" + path.Base(p), Mode: 0o755,
			Content: fmt.Sprintf("#!/bin/sh\nexec /usr/sbin/chroot %s %s \"$@\"\n", c.ovnRootInside(), p),
		})
	}
	return out
}
