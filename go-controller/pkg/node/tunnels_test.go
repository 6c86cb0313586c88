package node

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
)

// tunnel is the state of a Geneve port.
func tunnel(name, id, remote string, ofport int) ovs.PortState {
	p := ovs.PortState{OFPort: ofport}
	p.Name, p.Type, p.Remote = name, ovs.Geneve, netip.MustParseAddr(remote)
	return ovs.WithID(p, id)
}

func TestTunnelsAreGreetedOnce(t *testing.T) {
	var sent []string
	fail := false
	g := greeter{send: func(_ context.Context, to netip.Addr) error {
		if fail {
			return errors.New("network is unreachable")
		}
		sent = append(sent, to.String())
		return nil
	}}
	a, b := tunnel("ovn-aaaaaa-0", "1", "172.18.0.12", 5), tunnel("ovn-bbbbbb-0", "2", "fd00:172:18::13", 6)
	pod := ovs.PortState{OFPort: 7}
	pod.Name = "0123456789abcde"
	for _, step := range []struct {
		name  string
		ports []ovs.PortState
		fail  bool
		want  []string
	}{
		{"the network is away", []ovs.PortState{a}, true, nil},
		{"a tunnel", []ovs.PortState{a, pod}, false, []string{"172.18.0.12"}},
		{"again", []ovs.PortState{a}, false, nil},
		{"another that is not attached yet", []ovs.PortState{a, tunnel("ovn-bbbbbb-0", "2", "fd00:172:18::13", 0)}, false, nil},
		{"another", []ovs.PortState{a, b}, false, []string{"fd00:172:18::13"}},
		{"a node has another address", []ovs.PortState{tunnel("ovn-aaaaaa-0", "1", "172.18.0.22", 5), b}, false, []string{"172.18.0.22"}},
		{"a node goes", []ovs.PortState{b}, false, nil},
		{"and comes back", []ovs.PortState{a, b}, false, []string{"172.18.0.12"}},
	} {
		sent, fail = nil, step.fail
		s := ovs.State{Ports: map[string]ovs.PortState{}}
		for _, p := range step.ports {
			s.Ports[p.Name] = p
		}
		if err := g.greet(t.Context(), s); (err != nil) != step.fail {
			t.Fatalf("%s: error %v", step.name, err)
		}
		if diff := cmp.Diff(step.want, sent); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}
