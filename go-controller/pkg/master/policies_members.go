package master

import (
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/selector"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy"
)

// collective are pods that are members of something together: of a port group, because policies are about them, of address sets, because rules
// name them, or of both. Versions of policies share it.
type collective struct {
	set     *selector.Set
	users   int
	group   role
	peers   role
	port    string // the port group
	sets    policy.PeerSets
	in, out int // versions in effect that isolate them
}

// role counts versions of policies.
type role struct {
	// rows: those that need the rows.
	rows int
	// members: those for which pods are to be members.
	members int
}

// collective returns that of a selector, for one more use.
func (p *policies) collective(s selector.Selector) *collective {
	set := p.index.Add(s)
	c := p.collectives[set]
	if c == nil {
		c = &collective{set: set, port: policy.GroupName(s), sets: policy.PeerNames(s, p.families)}
		p.collectives[set] = c
	}
	c.users++
	return c
}

func (c *collective) addTo(m *policy.Membership) {
	if c.group.members > 0 {
		m.Groups = append(m.Groups, c.port)
	}
	if c.peers.members > 0 {
		m.Peers = append(m.Peers, c.sets)
	}
	m.Ingress = m.Ingress || c.in > 0
	m.Egress = m.Egress || c.out > 0
}

// wakeMembers lets the pods be handed in again.
func (p *policies) wakeMembers(c *collective) {
	for pod := range c.set.Members {
		p.wakePod(pod)
	}
}

func (c *collective) groupOwner() nbstate.Owner {
	return nbstate.Owner{Kind: names.OwnerPolicyGroup, Name: c.set.Key()}
}

func (c *collective) peersOwner() nbstate.Owner {
	return nbstate.Owner{Kind: names.OwnerPolicyPeers, Name: c.set.Key()}
}

// enter makes the groups and sets that a version needs, and its peers members of theirs.
func (p *policies) enter(v *version) {
	for _, c := range v.groups {
		if c.group.rows++; c.group.rows == 1 {
			p.want(c.groupOwner(), policy.GroupRows(c.set.Selector))
		}
	}
	for _, c := range v.peers {
		if c.peers.rows++; c.peers.rows == 1 {
			p.want(c.peersOwner(), policy.PeerRows(c.set.Selector, p.families))
		}
		p.count(c, &c.peers.members, 1)
	}
	p.isolate(v, 1)
}

// join makes pods members of a version's groups and isolates those that it is about (by is 1), or undoes that (-1).
func (p *policies) join(v *version, by int) {
	for _, c := range v.groups {
		p.count(c, &c.group.members, by)
	}
	own := v.groups[0]
	if v.policy.Ingress {
		p.count(own, &own.in, by)
	}
	if v.policy.Egress {
		p.count(own, &own.out, by)
	}
}

// leavePeers takes the peers of a version out of their sets, where no other needs them there.
func (p *policies) leavePeers(v *version) {
	for _, c := range v.peers {
		p.count(c, &c.peers.members, -1)
	}
}

// count changes a count of those who need something of the pods of c, which are woken when the first comes or the last goes.
func (p *policies) count(c *collective, users *int, by int) {
	before := *users > 0
	*users += by
	if before != (*users > 0) {
		p.wakeMembers(c)
	}
}

// drop gives up all that a version uses. Its pods have left.
func (p *policies) drop(name string, v *version) {
	for _, c := range v.groups {
		if c.group.rows--; c.group.rows == 0 {
			p.remove(c.groupOwner())
		}
		p.release(c)
	}
	for _, c := range v.peers {
		if c.peers.rows--; c.peers.rows == 0 {
			p.remove(c.peersOwner())
		}
		p.release(c)
	}
	p.isolate(v, -1)
	for _, f := range v.follows {
		if p.followers[f.set][name]--; p.followers[f.set][name] == 0 {
			delete(p.followers[f.set], name)
		}
		if len(p.followers[f.set]) == 0 {
			delete(p.followers, f.set)
		}
		p.index.Unfollow(f.set, f.port)
		p.index.Release(f.set)
	}
}

func (p *policies) release(c *collective) {
	if c.users--; c.users == 0 {
		delete(p.collectives, c.set)
	}
	p.index.Release(c.set)
}
