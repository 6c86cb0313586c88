package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func helmConfig(f Family) *Config {
	c := testConfig(f)
	c.Install, c.Helm = InstallHelm, Helm{Chart: "/chart", Image: "ghcr.io/ovnkube/ovnkube:v1"}
	return c
}

// With the chart, machines run Kubernetes and nothing of the project.
func TestInstallHelmLeavesTheProjectToPods(t *testing.T) {
	c := helmConfig(Dual)
	cp, err := c.ControlPlaneMachine()
	if err != nil {
		t.Fatal(err)
	}
	node, err := c.NodeMachine(1, "id")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, comp := range slices.Concat(cp.Components, node.Components) {
		got = append(got, comp.Name)
	}
	want := []string{Etcd, APIServer, ControllerManager, Scheduler, Routes, Containerd, Kubelet}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, cmd := range slices.Concat(cp.Setup, node.Setup) {
		if line := strings.Join(cmd.Argv, " "); strings.Contains(line, "ovsdb-tool") {
			t.Errorf("a database is made outside of pods: %s", line)
		}
	}
	for _, f := range c.Files("node1", "id") {
		if strings.Contains(f.Path, "openvswitch") {
			t.Errorf("a file of Open vSwitch on a node: %s", f.Path)
		}
	}
}

func TestHelmValues(t *testing.T) {
	c := helmConfig(Dual)
	c.Agent = Agent{GatewayMode: "local"}
	got, err := c.Values()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"image":     map[string]any{"repository": "ghcr.io/ovnkube/ovnkube", "tag": "v1", "pullPolicy": "Never"},
		"k8s":       map[string]any{"apiServer": "https://172.18.0.1:6443"},
		"network":   map[string]any{"clusterSubnets": []any{"10.128.0.0/14/23", "fd01::/48/64"}, "serviceCIDRs": []any{"172.30.0.0/16", "fd02::/112"}, "gatewayMode": "local"},
		"databases": map[string]any{"addresses": []any{"172.18.0.11"}},
		"node":      map[string]any{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	c.Helm.Image = "localhost:5000/ovnkube"
	if _, err := c.Values(); err == nil {
		t.Error("an image without a tag was accepted")
	}
}

func TestHelmDatabasesNeedNodes(t *testing.T) {
	c := helmConfig(IPv4)
	c.Databases = 3
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "as many nodes") {
		t.Errorf("3 databases on 2 nodes: %v", err)
	}
	c.Nodes = []int{1, 2, 3, 4}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"node1", "node2", "node3"}, c.ControlPlaneNodes()); diff != "" {
		t.Error(diff)
	}
	c.OVNRoot = "/roots/x"
	if err := c.Validate(); err == nil {
		t.Error("another root was accepted, which nothing would use")
	}
}
