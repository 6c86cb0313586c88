package bridge

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
)

const (
	// grace is how long an address that has gone from the bridge may be followed by another one, before it is put back: who
	// changes an address removes the old one first, and would stumble over what comes back in between.
	grace = 500 * time.Millisecond
	// recent is how long before that the other one may have come. What was there longer is a floating address, say, and
	// not meant as the host's own.
	recent = 10 * time.Minute
)

// memory is what is remembered of the bridge's addresses from one observation to the next.
type memory struct {
	// device is the index of the bridge's device.
	device int
	// had are addresses of the record that were seen on this device, lost those that have gone from it, and when; the zero
	// time says before the first observation.
	had  map[netip.Prefix]struct{}
	lost map[netip.Prefix]time.Time
	// came are addresses on the bridge that were not in the record at first, and when they came.
	came map[netip.Prefix]time.Time
}

// note compares an observation with those before it, and completes it. A device that is new or down loses its addresses
// without anybody's intention.
func (m *memory) note(o *Observed) {
	if o.Bridge == nil || !o.HasRecord {
		*m = memory{}
		return
	}
	first := m.device == 0
	if m.device != o.Bridge.Index || !o.Bridge.Up {
		m.device, m.had, m.lost = o.Bridge.Index, map[netip.Prefix]struct{}{}, map[netip.Prefix]time.Time{}
	}
	if m.came == nil {
		m.came = map[netip.Prefix]time.Time{}
	}
	m.noteLosses(o, first && o.Bridge.Up)
	m.noteArrivals(o, first)
	o.Lost, o.Came = m.lost, m.came
}

func (m *memory) noteLosses(o *Observed, first bool) {
	lost := map[netip.Prefix]time.Time{}
	for _, a := range o.Record.Addresses {
		_, had := m.had[a.Prefix]
		since, known := m.lost[a.Prefix]
		switch {
		case has(o.Bridge, a.Prefix):
			m.had[a.Prefix] = struct{}{}
		case has(o.NIC, a.Prefix):
		case known:
			lost[a.Prefix] = since
		case first:
			lost[a.Prefix] = time.Time{}
		case had:
			lost[a.Prefix] = o.Now
		}
	}
	m.lost = lost
}

// noteArrivals takes what is there at the first observation for old, unless something of the family is missing: the
// change was made while nobody looked.
func (m *memory) noteArrivals(o *Observed, first bool) {
	came := map[netip.Prefix]time.Time{}
	for _, d := range []*hostnet.Device{o.Bridge, o.NIC} {
		if d == nil {
			continue
		}
		for _, a := range d.Addresses {
			since, known := m.came[a.Prefix]
			switch {
			case known:
				came[a.Prefix] = since
			case o.Record.has(a.Prefix) || names.IsMasquerade(a.Prefix.Addr()):
			case first && !m.lostAny(a.Prefix.Addr().Is4()):
				came[a.Prefix] = time.Time{}
			default:
				came[a.Prefix] = o.Now
			}
		}
	}
	m.came = came
}

func (m *memory) lostAny(v4 bool) bool {
	for p := range m.lost {
		if p.Addr().Is4() == v4 {
			return true
		}
	}
	return false
}

// settle forgets that addresses have come lately: they have found their place.
func (m *memory) settle(found []netip.Prefix) {
	for _, p := range found {
		if _, ok := m.came[p]; ok {
			m.came[p] = time.Time{}
		}
	}
}

func has(d *hostnet.Device, p netip.Prefix) bool {
	return d != nil && slices.ContainsFunc(d.Addresses, func(a hostnet.Address) bool { return a.Prefix == p })
}

func (r Record) has(p netip.Prefix) bool {
	return slices.ContainsFunc(r.Addresses, func(a hostnet.Address) bool { return a.Prefix == p })
}

// held tells of which families the bridge does not get addresses and routes back yet, and how long that lasts.
func (o Observed) held(r Record) (v4, v6 bool, left time.Duration) {
	for _, a := range r.Addresses {
		since, lost := o.Lost[a.Prefix]
		if wait := since.Add(grace).Sub(o.Now); lost && wait > 0 {
			v4, v6 = v4 || a.Prefix.Addr().Is4(), v6 || a.Prefix.Addr().Is6()
			left = max(left, wait)
		}
	}
	return v4, v6, left
}

// follow lets an address that has come to the bridge lately take the place of one that has gone from it. An address that
// has gone without a successor stays in the record, and comes back. found are the successors.
func (r Record) follow(o Observed) (_ Record, found []netip.Prefix) {
	if o.Bridge == nil {
		return r, nil
	}
	var left []netip.Prefix // networks that the host has moved out of
	for _, old := range r.Addresses {
		if _, lost := o.Lost[old.Prefix]; !lost {
			continue
		}
		fresh, ok := o.successor(old, found)
		if !ok {
			continue
		}
		found = append(found, fresh.Prefix)
		if old.Prefix.Masked() != fresh.Prefix.Masked() {
			left = append(left, old.Prefix.Masked())
		}
		r = r.readdress(old, fresh, o.Bridge)
	}
	for _, old := range r.Addresses {
		if _, lost := o.Lost[old.Prefix]; lost && slices.Contains(left, old.Prefix.Masked()) {
			r = r.forget(old)
		}
	}
	return r.complete(o.Bridge), found
}

// successor finds the address that has taken old's place: in the same network if there is one.
func (o Observed) successor(old hostnet.Address, taken []netip.Prefix) (hostnet.Address, bool) {
	var found []hostnet.Address
	for _, a := range o.Bridge.Addresses {
		_, gone := o.Lost[a.Prefix]
		came := o.Came[a.Prefix]
		switch {
		case gone, a.Prefix.Addr().Is4() != old.Prefix.Addr().Is4(), slices.Contains(taken, a.Prefix):
		case came.IsZero() || o.Now.Sub(came) >= recent:
		case a.Prefix.IsSingleIP() && !old.Prefix.IsSingleIP(): // as floating addresses are
		case a.Prefix.Masked() == old.Prefix.Masked():
			return a, true
		default:
			found = append(found, a)
		}
	}
	if len(found) == 0 {
		return hostnet.Address{}, false
	}
	return found[0], true
}

// readdress puts fresh in old's place, in routes too.
func (r Record) readdress(old, fresh hostnet.Address, bridge *hostnet.Device) Record {
	r.Addresses = slices.DeleteFunc(slices.Clone(r.Addresses), func(a hostnet.Address) bool { return a.Prefix == fresh.Prefix })
	for i, a := range r.Addresses {
		if a.Prefix == old.Prefix {
			r.Addresses[i] = fresh
		}
	}
	r.Routes = slices.Clone(r.Routes)
	for i, route := range r.Routes {
		own := !route.Gateway.IsValid() && route.Destination == old.Prefix.Masked() && old.Prefix.Masked() != fresh.Prefix.Masked()
		if route.Source == old.Prefix.Addr() && !own {
			r.Routes[i].Source = fresh.Prefix.Addr()
		}
	}
	return r.withoutRoutesOf(old).withRoutesTo(fresh, bridge)
}

// forget removes an address and what goes with it.
func (r Record) forget(old hostnet.Address) Record {
	r.Addresses = slices.DeleteFunc(slices.Clone(r.Addresses), func(a hostnet.Address) bool { return a.Prefix == old.Prefix })
	return r.withoutRoutesOf(old)
}

// withoutRoutesOf drops the routes that the kernel would refuse without an address that is not in the record any more: those
// with the source, and those by its network when no address is left there.
func (r Record) withoutRoutesOf(old hostnet.Address) Record {
	network := old.Prefix.Masked()
	inNetwork := func(a hostnet.Address) bool { return a.Prefix.Masked() == network }
	sameAddress := func(a hostnet.Address) bool { return a.Prefix.Addr() == old.Prefix.Addr() }
	keepsNetwork, keepsAddress := slices.ContainsFunc(r.Addresses, inNetwork), slices.ContainsFunc(r.Addresses, sameAddress)
	routes := slices.DeleteFunc(slices.Clone(r.Routes), func(route hostnet.Route) bool {
		return route.Source == old.Prefix.Addr() && !keepsAddress ||
			!keepsNetwork && !route.Gateway.IsValid() && route.Destination == network
	})
	r.Routes = slices.DeleteFunc(slices.Clone(routes), func(route hostnet.Route) bool {
		return !keepsNetwork && network.Contains(route.Gateway) && !Record{Addresses: r.Addresses, Routes: routes}.reaches(route)
	})
	return r
}

// reaches tells whether a route has a next hop, and one where the host can talk to it.
func (r Record) reaches(route hostnet.Route) bool {
	hop := route.Gateway
	return hop.IsValid() && (route.OnLink || hop.IsLinkLocalUnicast() ||
		slices.ContainsFunc(r.Addresses, func(a hostnet.Address) bool { return a.Prefix.Masked().Contains(hop) }) ||
		slices.ContainsFunc(r.Routes, func(o hostnet.Route) bool { return !o.Gateway.IsValid() && o.Destination.Contains(hop) }))
}

// withRoutesTo adds the routes that the bridge has to the network of an address.
func (r Record) withRoutesTo(a hostnet.Address, bridge *hostnet.Device) Record {
	for _, route := range bridge.Routes {
		known := func(have hostnet.Route) bool { return have.Key() == route.Key() }
		if !route.Gateway.IsValid() && route.Destination == a.Prefix.Masked() && !slices.ContainsFunc(r.Routes, known) {
			r.Routes = append(slices.Clone(r.Routes), route)
		}
	}
	return r
}

// complete takes in what the bridge has of a family of which the record has no address (any more), and of which it has no
// default route. Routes from router advertisements are the kernel's to keep.
func (r Record) complete(bridge *hostnet.Device) Record {
	for _, v4 := range []bool{true, false} {
		ofFamily := func(a hostnet.Address) bool { return a.Prefix.Addr().Is4() == v4 }
		if !slices.ContainsFunc(r.Addresses, ofFamily) {
			for _, a := range bridge.Addresses {
				if ofFamily(a) && !a.Prefix.IsSingleIP() && !names.IsMasquerade(a.Prefix.Addr()) {
					r.Addresses = append(slices.Clone(r.Addresses), a)
					r = r.withRoutesTo(a, bridge)
				}
			}
		}
		isDefault := func(route hostnet.Route) bool {
			return route.Destination.Bits() == 0 && route.Destination.Addr().Is4() == v4
		}
		if slices.ContainsFunc(r.Routes, isDefault) {
			continue
		}
		for _, route := range bridge.Routes {
			if isDefault(route) && route.Protocol != hostnet.ProtocolRA && r.reaches(route) {
				r.Routes = append(slices.Clone(r.Routes), route)
			}
		}
	}
	return r
}

// obsolete are the routes on the bridge that the record had and has no more.
func obsolete(before, after Record, bridge *hostnet.Device) []hostnet.Action {
	var out []hostnet.Action
	for _, route := range before.Routes {
		same := func(have hostnet.Route) bool { return have.Key() == route.Key() }
		sameHop := func(have hostnet.Route) bool { return same(have) && have.Gateway == route.Gateway }
		if !slices.ContainsFunc(after.Routes, same) && slices.ContainsFunc(bridge.Routes, sameHop) {
			out = append(out, hostnet.DeleteRoute{Device: bridge.Name, Route: route})
		}
	}
	return out
}

// endConnections ends the connections from addresses that the host has no more.
func endConnections(before, after Record) []hostnet.Action {
	var out []hostnet.Action
	for _, a := range before.Addresses {
		same := func(have hostnet.Address) bool { return have.Prefix.Addr() == a.Prefix.Addr() }
		if !slices.ContainsFunc(after.Addresses, same) {
			out = append(out, hostnet.EndConnections{Address: a.Prefix.Addr()})
		}
	}
	return out
}
