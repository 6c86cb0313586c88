package openflow

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// Action is one thing done with a packet, see ovs-actions(7).
type Action = ovs.Action

// Output sends the packet out of a port.
func Output(port int) Action {
	if port == Local {
		return ovs.Local()
	}
	return ovs.Output(port)
}

// Normal lets the bridge act as a learning switch.
func Normal() Action { return ovs.Normal() }

// SetEthDst changes the receiver's link-layer address.
func SetEthDst(mac net.HardwareAddr) Action { return ovs.SetField(mac.String(), "eth_dst") }

// SetEthSrc changes the sender's link-layer address.
func SetEthSrc(mac net.HardwareAddr) Action { return ovs.SetField(mac.String(), "eth_src") }

// SetIPSrc changes the sender. It needs a match of the family.
func SetIPSrc(a netip.Addr) Action { return ovs.SetField(a.String(), addressField(a)+"_src") }

// SetIPDst changes the receiver. It needs a match of the family.
func SetIPDst(a netip.Addr) Action { return ovs.SetField(a.String(), addressField(a)+"_dst") }

func addressField(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ipv6"
}

// EthDstToSrc makes the receiver's link-layer address the sender's.
func EthDstToSrc() Action { return ovs.Move("NXM_OF_ETH_DST[]", "NXM_OF_ETH_SRC[]") }

// ContinueIn looks for the packet's next flow in a table.
func ContinueIn(table int) Action {
	if table == 0 {
		return firstTable{}
	}
	return ovs.Resubmit(0, table)
}

// firstTable is the resubmission that ovs.Resubmit takes for one without a table.
type firstTable struct{}

// MarshalText implements ovs.Action.
func (firstTable) MarshalText() ([]byte, error) { return []byte("resubmit(,0)"), nil }

// GoString implements ovs.Action.
func (firstTable) GoString() string { return "openflow.ContinueIn(0)" }

// CT sends the packet through connection tracking.
type CT struct {
	Zone int
	// Table is where the packet goes on, with what connection tracking knows about it. With 0 nothing goes on
	// there: the packet itself goes on with the next action.
	Table int
	// Commit remembers the connection.
	Commit bool
	// Mark is put on the connection; 0 does nothing.
	Mark uint32
}

// Action returns the action.
func (c CT) Action() Action {
	var parts []string
	if c.Commit {
		parts = append(parts, "commit")
	}
	if c.Table != 0 {
		parts = append(parts, fmt.Sprintf("table=%d", c.Table))
	}
	parts = append(parts, fmt.Sprintf("zone=%d", c.Zone))
	if c.Mark != 0 {
		parts = append(parts, fmt.Sprintf("exec(set_field:%#x->ct_mark)", c.Mark))
	}
	return ovs.ConnectionTracking(strings.Join(parts, ","))
}
