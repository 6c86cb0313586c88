package topology

import (
	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// notForPods matches what port security lets a pod say with its own address, though it is about others: "there is a better router" (RFC 4861, type 137 of
// ICMPv6) and "this is your address" (DHCP servers to clients: RFC 2131, RFC 8415). Router advertisements are not among it: OVN lets them pass
// before all ACLs of a switch that has stateful ones. Pods' interfaces do not listen to them.
const notForPods = "icmp6.type == 137 || (ip4 && udp.src == 67 && udp.dst == 68) || (ip6 && udp.src == 547 && udp.dst == 546)"

// silence drops what no pod may say, on the switches of all nodes, and what pods send to masquerade addresses: those stand for the host in
// places where no policy looks.
func (d *desired) silence() {
	d.row(names.NotForPodsACL, &nbdb.ACL{
		Action: nbdb.ACLActionDrop, Direction: nbdb.ACLDirectionFromLport, Priority: names.ACLNotForPods, Match: notForPods,
		Options: map[string]string{"apply-after-lb": "true"}, // Where rules about what pods may send are.
	})
	d.member(nbdb.PortGroupTable, names.ClusterNodePortsGroup, "acls", names.NotForPodsACL)
	for _, v4 := range []bool{true, false} {
		id := names.MasqueradePolicy(v4)
		d.row(id, &nbdb.LogicalRouterPolicy{
			Priority: names.MasqueradePolicyPriority, Action: nbdb.LogicalRouterPolicyActionDrop,
			Match: addr.MatchName(v4) + ".dst == " + names.MasqueradeSubnet(v4).String(),
		})
		d.member(nbdb.LogicalRouterTable, names.ClusterRouter, "policies", id)
	}
}
