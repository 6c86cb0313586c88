package bridge

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
)

// scene is a host in place whose bridge changes under a Manager's eyes.
type scene struct {
	w world
	m memory
}

func newScene() *scene {
	s := &scene{w: fresh().recorded().bridged(kernel).addressed().attached(1).moved()}
	s.w.Bridge.Index = 7
	s.w.Bridge.Routes[1].Source = netip.MustParseAddr("172.18.0.11")
	s.w.Record.Routes = slices.Clone(s.w.Bridge.Routes)
	return s
}

// look is one observation, after some time, and what is planned.
func (s *scene) look(after time.Duration) Plan {
	s.w.Now = s.w.Now.Add(after)
	o := Observed(s.w)
	s.m.note(&o)
	p := TakeOver(o, kernel)
	s.m.settle(p.followed)
	s.w.Record = p.Record
	return p
}

func (s *scene) add(addresses ...string) *scene {
	s.w.Bridge.Addresses = slices.Clone(s.w.Bridge.Addresses)
	for _, a := range addresses {
		s.w.Bridge.Addresses = append(s.w.Bridge.Addresses, address(a))
		r := route(netip.MustParsePrefix(a).Masked().String(), "")
		r.Source = netip.MustParsePrefix(a).Addr()
		s.w.Bridge.Routes = append(slices.Clone(s.w.Bridge.Routes), r)
	}
	return s
}

// remove takes addresses away, and the routes that go with them.
func (s *scene) remove(addresses ...string) *scene {
	for _, a := range addresses {
		gone := netip.MustParsePrefix(a)
		s.w.Bridge.Addresses = slices.DeleteFunc(slices.Clone(s.w.Bridge.Addresses), func(a hostnet.Address) bool { return a.Prefix == gone })
		s.w.Bridge.Routes = slices.DeleteFunc(slices.Clone(s.w.Bridge.Routes), func(r hostnet.Route) bool { return r.Source == gone.Addr() })
	}
	return s
}

func recorded(p Plan) string {
	var out []string
	for _, a := range p.Record.Addresses {
		out = append(out, a.Prefix.String())
	}
	for _, r := range p.Record.Routes {
		via := "link"
		if r.Gateway.IsValid() {
			via = r.Gateway.String()
		}
		out = append(out, fmt.Sprintf("%s via %s src %s", r.Destination, via, r.Source))
	}
	return fmt.Sprint(out)
}

const (
	asBefore = "[172.18.0.11/24 0.0.0.0/0 via 172.18.0.1 src invalid IP 172.18.0.0/24 via link src 172.18.0.11]"
	inPlace  = "[172.18.0.12/24 0.0.0.0/0 via 172.18.0.1 src invalid IP 172.18.0.0/24 via link src 172.18.0.12]"
)

// An address that takes the place of another is followed; one that goes without a successor comes back.
func TestChangedAddress(t *testing.T) {
	cases := []struct {
		name   string
		change func(s *scene) Plan
		want   string
	}{
		{"nothing", func(s *scene) Plan { return s.look(time.Hour) }, asBefore},
		{"removed, then added", func(s *scene) Plan {
			s.remove("172.18.0.11/24").look(time.Second)
			return s.add("172.18.0.12/24").look(grace / 2)
		}, inPlace},
		{"added, then removed", func(s *scene) Plan {
			s.add("172.18.0.12/24").look(time.Second)
			return s.remove("172.18.0.11/24").look(time.Minute)
		}, inPlace},
		{"another length of prefix", func(s *scene) Plan { return s.remove("172.18.0.11/24").add("172.18.0.11/16").look(time.Second) },
			"[172.18.0.11/16 0.0.0.0/0 via 172.18.0.1 src invalid IP 172.18.0.0/16 via link src 172.18.0.11]"},
		{"another network: what led through the old one goes", func(s *scene) Plan { return s.remove("172.18.0.11/24").add("172.19.0.11/24").look(time.Second) },
			"[172.19.0.11/24 172.19.0.0/24 via link src 172.19.0.11]"},
		{"another network and its router", func(s *scene) Plan {
			s.remove("172.18.0.11/24").add("172.19.0.11/24").look(time.Second)
			s.w.Bridge.Routes = append(s.w.Bridge.Routes, route("0.0.0.0/0", "172.19.0.1"))
			return s.look(time.Second)
		}, "[172.19.0.11/24 0.0.0.0/0 via 172.19.0.1 src invalid IP 172.19.0.0/24 via link src 172.19.0.11]"},
		{"removed", func(s *scene) Plan { return s.remove("172.18.0.11/24").look(time.Second) }, asBefore},
		{"one more", func(s *scene) Plan { return s.add("172.18.0.12/24").look(time.Second) }, asBefore},
		{"one of the other family", func(s *scene) Plan { return s.remove("172.18.0.11/24").add("fd00::1/64").look(time.Second) },
			"[172.18.0.11/24 fd00::1/64 0.0.0.0/0 via 172.18.0.1 src invalid IP 172.18.0.0/24 via link src 172.18.0.11 fd00::/64 via link src fd00::1]"},
		{"a floating address by its length", func(s *scene) Plan { return s.remove("172.18.0.11/24").add("172.18.0.12/32").look(time.Second) }, asBefore},
		{"a floating address by its age", func(s *scene) Plan {
			s.add("172.18.0.12/24").look(time.Second)
			return s.remove("172.18.0.11/24").look(recent)
		}, asBefore},
		{"a masquerade address", func(s *scene) Plan { return s.remove("172.18.0.11/24").add("169.254.169.2/30").look(time.Second) }, asBefore},
		{"the successor is not another's, too", func(s *scene) Plan {
			s.remove("172.18.0.11/24").add("172.18.0.12/24").look(time.Second)
			s.w.Record.Addresses = append(s.w.Record.Addresses, address("172.18.0.13/24"))
			s.add("172.18.0.13/24").look(time.Second)
			return s.remove("172.18.0.13/24").look(time.Second)
		}, "[172.18.0.12/24 172.18.0.13/24 0.0.0.0/0 via 172.18.0.1 src invalid IP 172.18.0.0/24 via link src 172.18.0.12]"},
		{"the NIC gets the new one, the old one is removed from the bridge", func(s *scene) Plan {
			s.w.NIC.Addresses = []hostnet.Address{address("172.18.0.12/24")}
			s.look(time.Second)
			s.w.NIC.Addresses = nil
			s.add("172.18.0.12/24").look(time.Second)
			return s.remove("172.18.0.11/24").look(time.Second)
		}, inPlace},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newScene()
			s.look(0)
			if diff := cmp.Diff(c.want, recorded(c.change(s))); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

// A change while no agent was there is followed too; addresses that were there before do not count as new ones.
func TestChangedAddressBeforeTheFirstLook(t *testing.T) {
	if got := recorded(newScene().remove("172.18.0.11/24").add("172.18.0.12/24").look(0)); got != inPlace {
		t.Errorf("a changed address gives %s, want %s", got, inPlace)
	}
	s := newScene().add("172.18.0.12/24")
	s.look(0)
	if got := recorded(s.remove("172.18.0.11/24").look(time.Second)); got != asBefore {
		t.Errorf("an old address has become the host's own: %s", got)
	}
}

// What has gone comes back after the grace, at once where nobody can have meant it.
func TestGrace(t *testing.T) {
	back := []string{"add address 172.18.0.11/24 to br-ex", "replace route 172.18.0.0/24 via link dev br-ex metric 0"}
	s := newScene()
	s.look(0)
	p := s.remove("172.18.0.11/24").look(time.Second)
	if len(p.Steps) > 0 || p.Again != grace || p.Done() {
		t.Errorf("at once: %v, again after %v, waiting for %q", steps(p), p.Again, p.Waiting)
	}
	if p = s.look(grace - time.Millisecond); len(p.Steps) > 0 || p.Again != time.Millisecond {
		t.Errorf("a little later: %v, again after %v", steps(p), p.Again)
	}
	if p = s.look(time.Millisecond); cmp.Diff(back, steps(p)) != "" || !p.Done() && p.Again != 0 {
		t.Errorf("after the grace: %v, again after %v", steps(p), p.Again)
	}
	for name, damage := range map[string]func(s *scene){
		"a new device":               func(s *scene) { s.w.Bridge.Index++ },
		"a device that was set down": func(s *scene) { s.w.Bridge.Up = false },
	} {
		s := newScene()
		s.look(0)
		damage(s.remove("172.18.0.11/24"))
		if p := s.look(time.Second); !slices.Contains(steps(p), back[0]) || p.Again != 0 {
			t.Errorf("%s: %v, again after %v", name, steps(p), p.Again)
		}
	}
}

// With an address that has expired go its routes, which the kernel would refuse.
func TestExpiredAddressTakesItsRoutesAlong(t *testing.T) {
	s := newScene()
	s.w.Record.Addresses = slices.Clone(s.w.Record.Addresses)
	s.w.Record.Addresses[0].Expires = now.Add(time.Minute)
	s.look(0)
	if got := recorded(s.remove("172.18.0.11/24").look(2 * time.Minute)); got != "[]" {
		t.Errorf("left: %s", got)
	}
	s.w.Bridge.Routes = nil // as planned
	if got := recorded(s.add("172.18.0.12/24").look(time.Minute)); got != "[172.18.0.12/24 172.18.0.0/24 via link src 172.18.0.12]" {
		t.Errorf("the next lease gives %s", got)
	}
}

// Routes through a network that the host has left are removed from the bridge, and connections from there are ended.
func TestObsoleteRoutes(t *testing.T) {
	s := newScene()
	s.look(0)
	p := s.remove("172.18.0.11/24").add("172.19.0.11/24").look(time.Second)
	want := []string{"remember what the NIC carries", "delete route 0.0.0.0/0 via 172.18.0.1 dev br-ex metric 0", "end TCP connections from 172.18.0.11"}
	if diff := cmp.Diff(want, steps(p)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
