package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node"
)

// A CNI server that failed is started again in the same process: its metrics must not stand in its own way.
func TestServeCNICanBeRepeated(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // each attempt ends at once
	host := node.Host{
		Kube: fake.NewClientset(), DatapathType: "system",
		Config: config.Node{
			Common: config.Common{MTU: 1400}, NodeName: "n1", CNIConfDir: t.TempDir(),
			OVSDB: "unix:" + filepath.Join(t.TempDir(), "none.sock"),
		},
	}
	registry := newRegistry()
	for range 3 {
		if err := serveCNI(ctx, host, registry); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "ovnkube_node_cni_") {
			t.Errorf("metric %s of an attempt that has ended", f.GetName())
		}
	}
}
