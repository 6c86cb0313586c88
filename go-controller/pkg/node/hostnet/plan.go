package hostnet

import (
	"bytes"
	"maps"
	"slices"
	"time"
)

// Desired is how a device should be. What it does not mention is left alone, unless OwnsAddresses or OwnsRoute say so.
type Desired struct {
	Device string
	// MTU in bytes; 0 leaves it alone.
	MTU int
	// NoTxChecksum turns transmit checksum offload off.
	NoTxChecksum bool
	Addresses    []Address
	// OwnsAddresses removes other addresses of global scope.
	OwnsAddresses bool
	Routes        []Route
	// OwnsRoute tells which routes of the device are removed when they are not among Routes; nil: none.
	OwnsRoute  func(Route) bool
	Neighbours []Neighbour
	// Sysctls by key, with slashes, below /proc/sys.
	Sysctls map[string]string
}

// Settings is what Plan needs to know beyond the device.
type Settings struct {
	// TxChecksum is whether transmit checksum offload is on.
	TxChecksum bool
	// Sysctls holds the current values of those that are wanted.
	Sysctls map[string]string
}

// ObserveSettings reads what d wants to set beyond the device's own objects.
func ObserveSettings(d Desired) (Settings, error) {
	s := Settings{Sysctls: map[string]string{}}
	for key := range d.Sysctls {
		s.Sysctls[key] = Sysctl(key)
	}
	var err error
	if d.NoTxChecksum {
		s.TxChecksum, err = TxChecksum(d.Device)
	}
	return s, err
}

// Plan returns the actions, in order, that bring the observed device to what is desired: nothing when it
// is so already, or when there is no device (its appearance is an event).
func Plan(observed *Device, settings Settings, d Desired) []Action {
	if observed == nil {
		return nil
	}
	var out []Action
	out = append(out, planSysctls(settings.Sysctls, d.Sysctls)...)
	if d.NoTxChecksum && settings.TxChecksum {
		out = append(out, DisableTxChecksum{d.Device})
	}
	if !observed.Up || (d.MTU != 0 && observed.MTU != d.MTU) {
		out = append(out, SetLink{Device: d.Device, MTU: d.MTU, Up: true})
	}
	out = append(out, planAddresses(observed, d)...)
	out = append(out, planRoutes(observed, d)...)
	for _, n := range d.Neighbours {
		same := func(o Neighbour) bool { return o.Address == n.Address && bytes.Equal(o.MAC, n.MAC) }
		if !slices.ContainsFunc(observed.Neighbours, same) {
			out = append(out, SetNeighbour{d.Device, n})
		}
	}
	return out
}

func planSysctls(current, wanted map[string]string) []Action {
	var out []Action
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		// A kernel without the setting (no IPv6, say) has nothing to be set.
		if have := current[key]; have != "" && have != wanted[key] {
			out = append(out, SetSysctl{key, wanted[key]})
		}
	}
	return out
}

func planAddresses(observed *Device, d Desired) []Action {
	var out []Action
	for _, want := range d.Addresses {
		i := slices.IndexFunc(observed.Addresses, func(a Address) bool { return a.Prefix == want.Prefix })
		if i < 0 || !sameLifetime(observed.Addresses[i].Expires, want.Expires) {
			out = append(out, AddAddress{d.Device, want})
		}
	}
	if !d.OwnsAddresses {
		return out
	}
	for _, have := range observed.Addresses {
		if !slices.ContainsFunc(d.Addresses, func(a Address) bool { return a.Prefix == have.Prefix }) {
			out = append(out, DeleteAddress{d.Device, have})
		}
	}
	return out
}

// sameLifetime allows for the rounding of remaining seconds, and for renewals seen elsewhere before.
func sameLifetime(have, want time.Time) bool {
	if have.IsZero() || want.IsZero() {
		return have.IsZero() == want.IsZero()
	}
	return want.Sub(have) < 3*time.Second
}

// planRoutes puts routes on link first: the others' gateways are reached over them.
func planRoutes(observed *Device, d Desired) []Action {
	var onLink, viaGateway []Action
	for _, want := range d.Routes {
		if slices.ContainsFunc(observed.Routes, want.sameEffect) {
			continue
		}
		if want.Gateway.IsValid() {
			viaGateway = append(viaGateway, ReplaceRoute{d.Device, want})
		} else {
			onLink = append(onLink, ReplaceRoute{d.Device, want})
		}
	}
	return slices.Concat(onLink, viaGateway, superfluous(observed, d))
}

func superfluous(observed *Device, d Desired) []Action {
	var out []Action
	for _, have := range observed.Routes {
		wanted := func(r Route) bool { return r.Key() == have.Key() }
		if d.OwnsRoute != nil && d.OwnsRoute(have) && !slices.ContainsFunc(d.Routes, wanted) {
			out = append(out, DeleteRoute{d.Device, have})
		}
	}
	return out
}
