package bridge

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
)

// Record remembers the physical NIC as it was before the take-over. It is written before anything is
// changed, and is from then on what the external bridge should carry.
type Record struct {
	NIC string `json:"nic"`
	MAC string `json:"mac"`
	MTU int    `json:"mtu"`
	// BootID is that of the boot in which the record was made.
	BootID    string            `json:"bootID"`
	Addresses []hostnet.Address `json:"addresses"`
	Routes    []hostnet.Route   `json:"routes"`
	// Sysctls are the NIC's settings that the take-over changes, with their values before.
	Sysctls map[string]string `json:"sysctls,omitempty"`
}

// LoadRecord reads the record from the local database; ok is false when there is none.
func LoadRecord(s ovs.State) (r Record, ok bool, err error) {
	text, ok := s.ExternalIDs[names.UplinkRecord]
	if !ok {
		return Record{}, false, nil
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Record{}, false, fmt.Errorf("external_ids:%s of the Open_vSwitch table: %w", names.UplinkRecord, err)
	}
	return r, true, nil
}

func (r Record) encode() string {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // plain data: cannot fail
	}
	return string(data)
}

// Primary returns the first address of the wanted family, else the first of the other; the zero Addr when
// there is none.
func (r Record) Primary(v4 bool) netip.Addr {
	var other netip.Addr
	for _, a := range r.Addresses {
		switch {
		case a.Prefix.Addr().Is4() == v4:
			return a.Prefix.Addr()
		case !other.IsValid():
			other = a.Prefix.Addr()
		}
	}
	return other
}

// snapshot makes a record of a device that carries the host's addresses, without what the gateway has put there.
func snapshot(nic string, carrier *hostnet.Device, o Observed) Record {
	return Record{
		NIC: nic, MAC: carrier.MAC.String(), MTU: carrier.MTU, BootID: o.BootID,
		Addresses: ownAddresses(carrier),
		Routes:    slices.DeleteFunc(slices.Clone(carrier.Routes), ofGateway),
		Sysctls:   o.NICSysctls,
	}
}

// ownAddresses are those of a device that are not the gateway's.
func ownAddresses(d *hostnet.Device) []hostnet.Address {
	return slices.DeleteFunc(slices.Clone(d.Addresses), func(a hostnet.Address) bool { return names.IsMasquerade(a.Prefix.Addr()) })
}

func ofGateway(r hostnet.Route) bool {
	masquerade := func(a netip.Addr) bool { return a.IsValid() && names.IsMasquerade(a) }
	return masquerade(r.Destination.Addr()) || masquerade(r.Gateway) || masquerade(r.Source)
}

// merge adds what has appeared on the NIC since: a repeated run finds the rest of an interrupted move there, and
// DHCP or an administrator may configure the NIC at any time.
func (r Record) merge(nic *hostnet.Device) Record {
	r.Addresses = slices.Clone(r.Addresses)
	r.Routes = slices.Clone(r.Routes)
	r.MTU = nic.MTU
	for _, a := range nic.Addresses {
		i := slices.IndexFunc(r.Addresses, func(have hostnet.Address) bool { return have.Prefix == a.Prefix })
		if i < 0 {
			r.Addresses = append(r.Addresses, a)
		} else if !sameExpiry(r.Addresses[i].Expires, a.Expires) {
			r.Addresses[i] = a
		}
	}
	for _, route := range nic.Routes {
		i := slices.IndexFunc(r.Routes, func(have hostnet.Route) bool { return have.Key() == route.Key() })
		if i < 0 {
			r.Routes = append(r.Routes, route)
		} else {
			r.Routes[i] = route
		}
	}
	return r
}

// adopt follows a default route that somebody has changed on the bridge itself: it has another gateway now. One that
// was deleted comes back.
func (r Record) adopt(bridge *hostnet.Device) Record {
	r.Routes = slices.Clone(r.Routes)
	for i, route := range r.Routes {
		if route.Destination.Bits() > 0 || slices.ContainsFunc(bridge.Routes, func(have hostnet.Route) bool { return have.Key() == route.Key() && have.Gateway == route.Gateway }) {
			continue
		}
		if j := slices.IndexFunc(bridge.Routes, func(have hostnet.Route) bool { return have.Key() == route.Key() && have.Gateway.IsValid() }); j >= 0 {
			r.Routes[i] = bridge.Routes[j]
		}
	}
	return r
}

// prune forgets addresses whose lifetime has passed. Who renews a lifetime on the bridge itself (router
// advertisements, a DHCP client there) keeps the address.
func (r Record) prune(now time.Time, bridge *hostnet.Device) Record {
	kept, expired := r.Addresses[:0:0], []hostnet.Address(nil) // a copy
	for _, a := range r.Addresses {
		if a.Expired(now) && bridge != nil {
			if i := slices.IndexFunc(bridge.Addresses, func(have hostnet.Address) bool { return have.Prefix == a.Prefix }); i >= 0 {
				a.Expires = bridge.Addresses[i].Expires
			}
		}
		if a.Expired(now) {
			expired = append(expired, a)
		} else {
			kept = append(kept, a)
		}
	}
	r.Addresses = kept
	for _, a := range expired {
		r = r.withoutRoutesOf(a)
	}
	return r
}

// sameExpiry allows for the rounding to seconds.
func sameExpiry(a, b time.Time) bool {
	if a.IsZero() || b.IsZero() {
		return a.IsZero() == b.IsZero()
	}
	return a.Sub(b).Abs() < 3*time.Second
}
