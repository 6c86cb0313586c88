package master

import (
	"testing"

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
