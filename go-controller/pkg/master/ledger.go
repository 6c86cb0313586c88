package master

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ipam"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	podrows "github.com/ovnkube/ovnkube/go-controller/pkg/translate/pod"
)

// ledger says who holds which subnet, id and address. It is pure state: no I/O, no locks, no clock. It belongs to the
// engine's goroutine.
type ledger struct {
	subnets  *ipam.NodeSubnets
	ids      *nodeIDs
	families []bool // of the cluster, true for IPv4, IPv4 first
	nodes    map[string]*nodeState
	pods     map[string]*attachment
}

// nodeState is a node that holds subnets.
type nodeState struct {
	name string
	// uid is that of the node that was last seen under the name.
	uid     types.UID
	subnets []netip.Prefix
	// id is zero for a former node of which no id is known.
	id    int
	pools []*ipam.Addresses
	// attached are the pods on the node, by key.
	attached map[string]*attachment
	// held counts former attachments whose ports may still be in the database.
	held int
	// leaving: the node is gone, its switch may still be in the database.
	leaving bool
	// unwired: the database has confirmed that the switch is gone.
	unwired bool
}

// attachment is what one incarnation of a pod holds.
type attachment struct {
	podrows.Attachment
	key  string
	uid  types.UID
	node string
	// written: the store has the port of this attachment.
	written bool
	// members are those of the port and its addresses that policies want, as the store has them.
	members []nbstate.Member
	// occupied: it only keeps addresses taken, possibly not all of those that its port has, and has no MAC.
	occupied bool
	// refused is the annotation that could not be used, if there was one.
	refused string
}

func newLedger(pools []ipam.Pool) *ledger {
	l := &ledger{
		subnets: ipam.NewNodeSubnets(pools), ids: newNodeIDs(),
		nodes: map[string]*nodeState{}, pods: map[string]*attachment{},
	}
	for _, v4 := range []bool{true, false} {
		if l.subnets.HasFamily(v4) {
			l.families = append(l.families, v4)
		}
	}
	return l
}

// admit gives a node its subnets: the wanted ones, and new ones for families of the cluster that are not
// among them. Wanted subnets of families that the cluster does not have are left out. It also gets an id, unless it
// has claimed one. When one of all this cannot be had no subnet is taken.
func (l *ledger) admit(name string, wanted []netip.Prefix) (*nodeState, error) {
	n, err := l.hold(name, wanted)
	if err != nil {
		return nil, err
	}
	if err := l.identify(n); err != nil {
		l.giveBack(n.subnets)
		delete(l.nodes, name)
		return nil, err
	}
	return n, nil
}

// hold is admit without a new id: for a former node, whose subnets, and id if there is one, are only to be kept from others.
func (l *ledger) hold(name string, wanted []netip.Prefix) (*nodeState, error) {
	n := &nodeState{name: name, id: l.ids.of(name), attached: map[string]*attachment{}}
	for _, v4 := range l.families {
		subnet, err := l.takeSubnet(wanted, v4)
		if err != nil {
			l.giveBack(n.subnets)
			return nil, err
		}
		n.subnets = append(n.subnets, subnet)
	}
	for _, s := range n.subnets {
		n.pools = append(n.pools, ipam.NewAddresses(s))
	}
	l.nodes[name] = n
	return n, nil
}

// identify gives a node an id if it has none.
func (l *ledger) identify(n *nodeState) error {
	id, err := l.ids.give(n.name)
	if err == nil {
		n.id = id
	}
	return err
}

func (l *ledger) takeSubnet(wanted []netip.Prefix, v4 bool) (netip.Prefix, error) {
	var mine []netip.Prefix
	for _, s := range wanted {
		if s.Addr().Is4() == v4 {
			mine = append(mine, s)
		}
	}
	switch {
	case len(mine) == 0:
		return l.subnets.Allocate(v4)
	case len(mine) > 1:
		return netip.Prefix{}, fmt.Errorf("subnets %s and %s are of the same family: %w", mine[0], mine[1], errMalformed)
	case mine[0] != mine[0].Masked():
		return netip.Prefix{}, fmt.Errorf("subnet %s has host bits set: %w", mine[0], errMalformed)
	}
	if err := l.subnets.Claim(mine[0]); err != nil {
		return netip.Prefix{}, l.withHolder(mine[0], err)
	}
	return mine[0], nil
}

// errMalformed: an annotation that can be read but makes no sense.
var errMalformed = errors.New("malformed")

// withHolder adds to err which node holds the subnet.
func (l *ledger) withHolder(subnet netip.Prefix, err error) error {
	if !errors.Is(err, ipam.ErrTaken) {
		return err
	}
	for _, n := range l.nodes {
		if slices.Contains(n.subnets, subnet) {
			return fmt.Errorf("%w by node %s", err, n.name)
		}
	}
	return err
}

func (l *ledger) giveBack(subnets []netip.Prefix) {
	for _, s := range subnets {
		l.subnets.Release(s)
	}
}

// dropIfDone forgets a node that has left once nothing of it can be in the database any more, and
// tells whether it did: its subnets are then free.
func (l *ledger) dropIfDone(n *nodeState) bool {
	if !n.leaving || !n.unwired || n.held > 0 || len(n.attached) > 0 {
		return false
	}
	l.giveBack(n.subnets)
	l.ids.release(n.name)
	delete(l.nodes, n.name)
	return true
}

// attach gives a pod that holds nothing its addresses on n: the wanted ones, or new ones when wanted is nil.
func (l *ledger) attach(n *nodeState, key string, uid types.UID, wanted *podrows.Attachment) (*attachment, error) {
	var addresses []netip.Addr
	var err error
	if wanted != nil {
		addresses, err = n.claim(*wanted)
	} else {
		addresses, err = n.allocate()
	}
	if err != nil {
		return nil, err
	}
	a := &attachment{key: key, uid: uid, node: n.name}
	a.Addresses, a.MAC = addresses, addr.MAC(addresses...)
	l.pods[key] = a
	n.attached[key] = a
	return a, nil
}

// occupy attaches a pod to those of the addresses that can be had, so that nobody else gets them.
func (l *ledger) occupy(n *nodeState, key string, uid types.UID, addresses []netip.Addr) *attachment {
	a := &attachment{key: key, uid: uid, node: n.name, occupied: true}
	for _, p := range n.pools {
		for _, ip := range addresses {
			if p.Claim(ip) == nil {
				a.Addresses = append(a.Addresses, ip)
			}
		}
	}
	l.pods[key] = a
	n.attached[key] = a
	return a
}

// detach takes a pod off its node. Its addresses stay taken until free is called.
func (l *ledger) detach(a *attachment) {
	delete(l.pods, a.key)
	if n := l.nodes[a.node]; n != nil {
		delete(n.attached, a.key)
		n.held++
	}
}

// reattach undoes detach.
func (l *ledger) reattach(n *nodeState, a *attachment) {
	n.held--
	a.written = false
	n.attached[a.key] = a
	l.pods[a.key] = a
}

// free gives back the addresses of a detached attachment.
func (l *ledger) free(a *attachment) {
	n := l.nodes[a.node]
	if n == nil {
		return
	}
	n.held--
	n.release(a.Addresses)
}

func (n *nodeState) allocate() ([]netip.Addr, error) {
	var out []netip.Addr
	for _, p := range n.pools {
		a, err := p.Allocate()
		if err != nil {
			n.release(out)
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// claim takes all of the wanted addresses or none; those of a family that the cluster does not have, or no longer, do not
// count. They must be one a family at most, lie in the node's subnets and go with the MAC. The result is in the order
// of the node's subnets.
func (n *nodeState) claim(wanted podrows.Attachment) ([]netip.Addr, error) {
	var out []netip.Addr
	fail := func(err error) ([]netip.Addr, error) {
		n.release(out)
		return nil, err
	}
	for _, p := range n.pools {
		for _, a := range wanted.Addresses {
			if a.Is4() != p.Subnet().Addr().Is4() {
				continue
			}
			if err := p.Claim(a); err != nil {
				return fail(err)
			}
			out = append(out, a)
		}
	}
	if len(out) == 0 || !oneEachFamily(out) {
		return fail(fmt.Errorf("addresses %v do not fit the subnets %v of node %s: %w", wanted.Addresses, n.subnets, n.name, errMalformed))
	}
	if mac := addr.MAC(out...); mac.String() != wanted.MAC.String() {
		return fail(fmt.Errorf("MAC %s does not go with %v, want %s: %w", wanted.MAC, out, mac, errMalformed))
	}
	return out, nil
}

func oneEachFamily(addresses []netip.Addr) bool {
	return len(addresses) < 2 || len(addresses) == 2 && addresses[0].Is4() != addresses[1].Is4()
}

func (n *nodeState) release(addresses []netip.Addr) {
	for _, a := range addresses {
		for _, p := range n.pools {
			p.Release(a)
		}
	}
}

// addresses counts the addresses that are taken on all nodes.
func (l *ledger) addresses() int {
	total := 0
	for _, n := range l.nodes {
		for _, p := range n.pools {
			taken, _ := p.Usage()
			total += taken
		}
	}
	return total
}
