package master

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

// fakeChassis is a southbound database: chassis by hostname.
type fakeChassis struct {
	chassis map[string][]string
	refuse  error
}

func (f *fakeChassis) chassisOf(hostname string) []string { return f.chassis[hostname] }

func (f *fakeChassis) deleteChassis(_ context.Context, names []string) error {
	if f.refuse != nil {
		return f.refuse
	}
	for host, of := range f.chassis {
		f.chassis[host] = slices.DeleteFunc(of, func(name string) bool { return slices.Contains(names, name) })
	}
	return nil
}

func TestJanitorTouchesFormerNodesOnly(t *testing.T) {
	nodes := kube.NewNodeMirror()
	sb := &fakeChassis{chassis: map[string][]string{"gone": {"1", "2"}, "back": {"3"}, "stranger": {"4"}}, refuse: errors.New("away")}
	j := newJanitor(config.Database{}, nodes, newMetrics(nil))
	j.sb = sb
	nodes.Put(&kube.Node{Name: "back"})
	for _, name := range []string{"gone", "back", "never-had-one"} {
		err := j.clean(t.Context(), name)
		if (err != nil) != (name == "gone") {
			t.Errorf("%s: err = %v; only a deletion that failed is to be tried again", name, err)
		}
	}
	sb.refuse = nil
	if err := j.clean(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"gone": {}, "back": {"3"}, "stranger": {"4"}}, sb.chassis); diff != "" {
		t.Errorf("chassis (-want +got):\n%s", diff)
	}
}
