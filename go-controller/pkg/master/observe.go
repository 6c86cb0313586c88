package master

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	podrows "github.com/ovnkube/ovnkube/go-controller/pkg/translate/pod"
)

// observed is what a former master has left in the northbound database.
type observed struct {
	// subnets of nodes, by name.
	subnets map[string][]netip.Prefix
	// ids of nodes, by name: the number of their gateway routers' address on the join switch.
	ids   map[string]int
	ports []observedPort
}

// observedPort is the port of a pod.
type observedPort struct {
	key  string // of the pod
	uid  types.UID
	node string
	podrows.Attachment
}

// observe reads our nodes' and pods' rows. What cannot be understood is left out: it is repaired or deleted by
// comparison with what is wanted.
func observe(ports map[string]*nbdb.LogicalSwitchPort, routerPorts map[string]*nbdb.LogicalRouterPort) observed {
	o := observed{subnets: map[string][]netip.Prefix{}, ids: map[string]int{}}
	for _, p := range routerPorts {
		node, ours := ownedBy(p.ExternalIDs, names.OwnerNode)
		if !ours {
			continue
		}
		for _, text := range p.Networks {
			network, err := netip.ParsePrefix(text)
			if err != nil {
				continue
			}
			switch p.Name {
			case names.RouterToSwitchPort(node):
				o.subnets[node] = append(o.subnets[node], network.Masked())
			case names.RouterToJoinPort(names.GatewayRouter(node)):
				o.ids[node] = hostNumber(network)
			}
		}
	}
	for _, p := range ports {
		pod, ours := ownedBy(p.ExternalIDs, names.OwnerPod)
		if !ours || len(p.Addresses) != 1 {
			continue
		}
		if a, ok := parsePortAddresses(p.Addresses[0]); ok {
			o.ports = append(o.ports, observedPort{
				key: pod, uid: types.UID(p.Options[names.IfaceIDVer]), node: p.Options[names.RequestedChassis], Attachment: a,
			})
		}
	}
	return o
}

// hostNumber is the distance of an address from the start of its network: the id of the node, on the join switch.
func hostNumber(network netip.Prefix) int {
	start, address := network.Masked().Addr().AsSlice(), network.Addr().AsSlice()
	low := func(b []byte) int { return int(binary.BigEndian.Uint32(b[len(b)-4:])) }
	return low(address) - low(start)
}

func ownedBy(ids map[string]string, kind string) (string, bool) {
	ours := ids[names.OwnerControllerKey] == names.ControllerName && ids[names.OwnerTypeKey] == kind
	return ids[names.OwnerNameKey], ours
}

// parsePortAddresses reads "MAC IP…", as ovn-nb(5) writes a port's addresses.
func parsePortAddresses(text string) (podrows.Attachment, bool) {
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return podrows.Attachment{}, false
	}
	mac, err := net.ParseMAC(fields[0])
	if err != nil {
		return podrows.Attachment{}, false
	}
	a := podrows.Attachment{MAC: mac}
	for _, f := range fields[1:] {
		ip, err := netip.ParseAddr(f)
		if err != nil {
			return podrows.Attachment{}, false
		}
		a.Addresses = append(a.Addresses, ip)
	}
	return a, true
}
