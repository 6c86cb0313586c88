package master

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// Somebody who edits a port while no master runs must not cost a running pod its address: its node has
// configured what the annotation says.
func TestPodKeepsItsAddressThoughItsPortWasEdited(t *testing.T) {
	for what, edit := range map[string]func(*nbdb.LogicalSwitchPort){
		"incarnation removed": func(p *nbdb.LogicalSwitchPort) { delete(p.Options, names.IfaceIDVer) },
		"node changed":        func(p *nbdb.LogicalSwitchPort) { p.Options[names.RequestedChassis] = "n2" },
		"options cleared":     func(p *nbdb.LogicalSwitchPort) { p.Options = nil },
		"MAC changed":         func(p *nbdb.LogicalSwitchPort) { p.Addresses = []string{"0a:58:00:00:00:01 10.128.0.3"} },
		"address removed":     func(p *nbdb.LogicalSwitchPort) { p.Addresses = nil },
	} {
		t.Run(what, func(t *testing.T) {
			h := newTest(t, "10.128.0.0/16/24")
			h.start()
			h.addNode("n1")
			h.addNode("n2")
			h.addPod("a", "n1")
			h.settle()
			address, port := h.addressOf("a"), h.portOf("a")
			h.editPort("a", edit)
			h.start()
			h.settle()
			if got := h.addressOf("a"); got != address {
				t.Errorf("address %s became %s", address, got)
			}
			h.want("port", h.portOf("a"), port)
		})
	}
}

// A cluster that gives up its second family keeps what it has of the first: nodes configured it.
func TestPodKeepsItsAddressWhenAFamilyIsGivenUp(t *testing.T) {
	for _, rowsLost := range []bool{false, true} {
		h := newTest(t, "10.128.0.0/16/24", "fd01::/48/64")
		h.start()
		h.addNode("n1")
		h.addPod("a", "n1")
		h.settle()
		h.want("address in dual stack", h.addressOf("a"), "10.128.0.3 fd01::3")
		h.pools = h.pools[:1]
		if rowsLost {
			clear(h.db.rows)
		}
		h.start()
		h.settle()
		h.want("address", h.addressOf("a"), "10.128.0.3")
		h.want("port", h.portOf("a"), "10.128.0.3 on n1 for uid-2")
	}
}

// forbidding is an API server that does not allow patches of pods.
type forbidding struct{ kube.Patcher }

func (forbidding) PatchPod(_ context.Context, ref kube.Ref, _ map[string]string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, ref.Name, errors.New("no such right"))
}

// Who looks at a pod that waits for its annotation must find out why there is none.
func TestRefusedAnnotationIsToldOnThePod(t *testing.T) {
	h := newTest(t)
	h.addNode("a", "10.128.0.0/23")
	h.start()
	h.settle()
	h.engine.annotator.patcher = forbidding{h}
	h.addPod("p", "a")
	h.allocate()
	h.annotate()
	h.wantEvents("AnnotationRefused ns/p")
}

// editPort changes a pod's port in the database.
func (h *harness) editPort(pod string, edit func(*nbdb.LogicalSwitchPort)) {
	d := h.db.rows[podOwner("ns/"+pod)]
	p := *d.Rows[0].Model.(*nbdb.LogicalSwitchPort)
	options := map[string]string{}
	for k, v := range p.Options {
		options[k] = v
	}
	p.Options = options
	edit(&p)
	d.Rows[0].Model = &p
}
