package service

import (
	"fmt"
	"net/netip"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// ClusterRows is the port group by which rules about services' clients are in effect on the switches that clients are on, nodes'
// and external ones.
func ClusterRows() nbstate.Desired {
	group := names.ServiceClientsPortGroup
	return nbstate.Desired{Rows: []nbstate.Row{{ID: group, Model: &nbdb.PortGroup{Name: group}}}}
}

// RefusalRows are what refuses packets to addresses of the service networks that no service has. They must not come before the
// load balancers of the services that there are: packets of their connections would be refused.
func RefusalRows(networks []netip.Prefix) nbstate.Desired {
	group := names.ServiceClientsPortGroup
	var d nbstate.Desired
	for _, v4 := range []bool{true, false} {
		var family []netip.Prefix
		for _, p := range networks {
			if p.Addr().Is4() == v4 {
				family = append(family, p)
			}
		}
		if len(family) == 0 {
			continue
		}
		// The group's ports lead away from load balancers: from a node's switch to the cluster router, from a gateway router to the
		// wire. What a service answers for has an endpoint's address there, or was refused or dropped before.
		id := names.NoService(v4)
		d.Rows = append(d.Rows, nbstate.Row{ID: id, Model: &nbdb.ACL{
			Action: nbdb.ACLActionReject, Direction: nbdb.ACLDirectionToLport, Priority: names.ACLNoService,
			Match: fmt.Sprintf("outport == @%s && %s.dst == %s", group, addr.MatchName(v4), set(family)),
		}})
		d.Members = append(d.Members, nbstate.Member{Parent: nbstate.Key{Table: nbdb.PortGroupTable, ID: group}, Column: "acls", Value: id})
	}
	return d
}
