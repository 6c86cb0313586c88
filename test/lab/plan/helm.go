package plan

import (
	"fmt"
	"strings"
)

// Helm says what is installed, and how, with InstallHelm.
type Helm struct {
	// Chart is the chart's folder or archive.
	Chart string `json:"chart,omitempty"`
	// Image is the full name of the product's image, with a tag.
	Image string `json:"image,omitempty"`
	// Set are settings as --set of the helm command takes them; they come after the lab's own.
	Set []string `json:"set,omitempty"`
}

// Namespace and name of the release.
const (
	ReleaseNamespace = "ovn-kubernetes"
	ReleaseName      = "ovnkube"
)

// ControlPlaneLabel marks the nodes on which the product's control plane runs, with InstallHelm.
const ControlPlaneLabel = "node-role.kubernetes.io/control-plane"

// validateHelm refuses what cannot be installed by the chart.
func (c *Config) validateHelm() error {
	if c.Install != InstallHelm {
		return nil
	}
	if c.OVNRoot != "" {
		return fmt.Errorf("install %s takes Open vSwitch and OVN from the image, not from %s", InstallHelm, c.OVNRoot)
	}
	if c.Standby {
		return fmt.Errorf("install %s has a master beside each database: ask for 3 databases instead of a standby", InstallHelm)
	}
	if c.Databases > len(c.Nodes) {
		return fmt.Errorf("%d databases need as many nodes with install %s; there are %d", c.Databases, InstallHelm, len(c.Nodes))
	}
	return nil
}

// ControlPlaneNodes are the names of the nodes on which the product's control plane runs, with InstallHelm: the first ones, as
// many as the databases have members. The machine with Kubernetes' own control plane has no kubelet.
func (c *Config) ControlPlaneNodes() []string {
	var out []string
	for _, n := range c.Nodes[:min(len(c.Nodes), max(1, c.Databases))] {
		out = append(out, NodeName(n))
	}
	return out
}

// Values are the chart's values for this lab, without those of Helm.Set.
func (c *Config) Values() (map[string]any, error) {
	colon := strings.LastIndexByte(c.Helm.Image, ':')
	if colon <= strings.LastIndexByte(c.Helm.Image, '/') {
		return nil, fmt.Errorf("image %q has no tag", c.Helm.Image)
	}
	var members []any
	for _, n := range c.Nodes[:len(c.ControlPlaneNodes())] {
		members = append(members, c.Family.Node(n)[0].String())
	}
	network := map[string]any{"clusterSubnets": list(c.Family.Cluster()), "serviceCIDRs": list(c.Family.Services())}
	node := map[string]any{}
	if c.Agent.GatewayMode != "" {
		network["gatewayMode"] = c.Agent.GatewayMode
	}
	if c.Agent.Netfilter != "" {
		node["netfilter"] = c.Agent.Netfilter
	}
	return map[string]any{
		// It was imported; no registry has it.
		"image":     map[string]any{"repository": c.Helm.Image[:colon], "tag": c.Helm.Image[colon+1:], "pullPolicy": "Never"},
		"k8s":       map[string]any{"apiServer": c.Family.APIServer()},
		"network":   network,
		"databases": map[string]any{"addresses": members},
		"node":      node,
	}, nil
}

// podCommands are the programs of OVN that people type on the control plane's machine; they run in the pods that have the databases.
func (c *Config) podCommands() []File {
	database := "ovnkube-db-0 --container nb-ovsdb -- env OVN_NB_DB=" + c.local("nb") + " OVN_SB_DB=" + c.local("sb")
	var out []File
	for name, where := range map[string]string{
		"ovn-nbctl": database, "ovn-sbctl": database, "ovn-trace": database, "ovn-detrace": database,
		"ovn-appctl": "deployment/ovnkube-master --container ovn-northd --",
	} {
		out = append(out, File{Path: "opt/ovnlab/wrap/" + name, Mode: 0o755,
			Content: fmt.Sprintf("#!/bin/sh\nexec kubectl --namespace %s exec --stdin %s %s \"$@\"\n", ReleaseNamespace, where, name)})
	}
	return out
}

// list is how YAML's lists look to Helm.
func list(in []string) []any {
	out := make([]any, 0, len(in))
	for _, s := range in {
		out = append(out, s)
	}
	return out
}
