package bridge

import (
	"fmt"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
)

// A default route that was changed on the bridge is meant; one that was deleted, or another route, comes back.
func TestDefaultRouteChangedOnTheBridge(t *testing.T) {
	recorded := []hostnet.Route{route("0.0.0.0/0", "172.18.0.1"), route("192.0.2.0/24", "172.18.0.7")}
	cases := []struct {
		name   string
		bridge []hostnet.Route
		want   string
	}{
		{"as it was", recorded, "[172.18.0.1 172.18.0.7]"},
		{"deleted", recorded[1:], "[172.18.0.1 172.18.0.7]"},
		{"changed", []hostnet.Route{route("0.0.0.0/0", "172.18.0.9"), recorded[1]}, "[172.18.0.9 172.18.0.7]"},
		{"one more", append([]hostnet.Route{route("0.0.0.0/0", "172.18.0.9")}, recorded...), "[172.18.0.1 172.18.0.7]"},
		{"another route", []hostnet.Route{recorded[0], route("192.0.2.0/24", "172.18.0.8")}, "[172.18.0.1 172.18.0.7]"},
	}
	for _, c := range cases {
		d := device("br-ex")
		d.Routes = c.bridge
		got := Record{Routes: recorded}.adopt(d).Routes
		if hops := fmt.Sprint([]any{got[0].Gateway, got[1].Gateway}); hops != c.want {
			t.Errorf("%s: %s, want %s", c.name, hops, c.want)
		}
	}
	// Seen by the planner too, and what the NIC has anew counts for more.
	w := fresh().recorded().bridged(kernel).addressed().attached(1).moved()
	w.Bridge.Routes[0].Gateway = route("0.0.0.0/0", "172.18.0.9").Gateway
	if got := TakeOver(Observed(w), kernel).Record.Routes[0].Gateway.String(); got != "172.18.0.9" {
		t.Errorf("planned with %s", got)
	}
	w.NIC.Routes = []hostnet.Route{route("0.0.0.0/0", "172.18.0.8")}
	if got := TakeOver(Observed(w), kernel).Record.Routes[0].Gateway.String(); got != "172.18.0.8" {
		t.Errorf("planned with %s although the NIC has a new route", got)
	}
}

// What the gateway has put on the bridge does not become the host's own.
func TestSnapshotLeavesOutTheGateway(t *testing.T) {
	d := configured(device("br-ex"))
	d.Addresses = append(d.Addresses, address("169.254.169.2/32"), address("fd69::2/128"), address("169.254.1.1/16"))
	d.Routes = append(d.Routes, route("172.30.0.0/16", "169.254.169.4"), route("169.254.169.0/30", ""), route("fd69::1/128", ""))
	r := snapshot("eth0", d, Observed{})
	if got, want := fmt.Sprint(len(r.Addresses), r.Addresses[1].Prefix, len(r.Routes)), "2 169.254.1.1/16 2"; got != want {
		t.Errorf("recorded %s (%v), want %s", got, r, want)
	}
}
