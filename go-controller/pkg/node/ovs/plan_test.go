package ovs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlan(t *testing.T) {
	state := State{
		ExternalIDs: map[string]string{"mine": "1", "stale": "x", "foreign": "kept"},
		Bridges: map[string]Bridge{
			"br-a": {Name: "br-a", DatapathType: Netdev, FailMode: FailSecure, ExternalIDs: map[string]string{"foreign": "kept"}},
		},
		Capabilities: map[string]map[string]string{Netdev: {"ct_zero_snat": "true", "recirc": "true"}},
		Ports: map[string]PortState{
			"br-a": {Port: Port{Name: "br-a", Bridge: "br-a", Type: Internal}},
			"p":    {Port: Port{Name: "p", Bridge: "br-a", Type: Internal, MTU: 1500, ExternalIDs: map[string]string{"foreign": "kept"}}},
			"lost": {Port: Port{Name: "lost", Bridge: "br-other"}},
		},
	}
	cases := []struct {
		name    string
		desired Desired
		want    []Change
	}{
		{"nothing to do", Desired{
			ExternalIDs: map[string]string{"mine": "1"},
			Bridges:     []Bridge{{Name: "br-a", DatapathType: Netdev, FailMode: FailSecure}},
			Ports:       []Port{{Name: "br-a", Bridge: "br-a", Type: Internal}, {Name: "p", Bridge: "br-a", Type: Internal, MTU: 1500}},
		}, nil},
		{"external_ids: only what differs", Desired{
			ExternalIDs: map[string]string{"mine": "1", "stale": "y", "new": "z"}, AbsentExternalIDs: []string{"foreign", "never"},
		}, []Change{{Kind: SetExternalIDs, Set: map[string]string{"stale": "y", "new": "z"}, Remove: []string{"foreign"}}}},
		{"a new bridge brings its own port", Desired{
			Bridges: []Bridge{{Name: "br-b"}},
			Ports:   []Port{{Name: "br-b", Bridge: "br-b", Type: Internal, MTU: 1400}, {Name: "eth0", Bridge: "br-b"}},
		}, []Change{
			{Kind: CreateBridge, Name: "br-b", Bridge: Bridge{Name: "br-b"}},
			{Kind: UpdatePort, Name: "br-b", Port: Port{Name: "br-b", Bridge: "br-b", Type: Internal, MTU: 1400}},
			{Kind: CreatePort, Name: "eth0", Port: Port{Name: "eth0", Bridge: "br-b"}},
		}},
		{"foreign keys of a bridge stay", Desired{
			Bridges: []Bridge{{Name: "br-a", DatapathType: System, FailMode: FailSecure, ExternalIDs: map[string]string{"k": "v"}}},
		}, []Change{{Kind: UpdateBridge, Name: "br-a", Bridge: Bridge{
			Name: "br-a", DatapathType: System, FailMode: FailSecure,
			OtherConfig: map[string]string{}, ExternalIDs: map[string]string{"foreign": "kept", "k": "v"},
		}}}},
		{"foreign keys of a port stay", Desired{
			Ports: []Port{{Name: "p", Bridge: "br-a", Type: Internal, MTU: 1400, ExternalIDs: map[string]string{"k": "v"}}},
		}, []Change{{Kind: UpdatePort, Name: "p", Port: Port{
			Name: "p", Bridge: "br-a", Type: Internal, MTU: 1400, ExternalIDs: map[string]string{"foreign": "kept", "k": "v"},
		}}}},
		{"a port on the wrong bridge moves", Desired{Ports: []Port{{Name: "lost", Bridge: "br-a"}}}, []Change{
			{Kind: DeletePort, Name: "lost"}, {Kind: CreatePort, Name: "lost", Port: Port{Name: "lost", Bridge: "br-a"}},
		}},
		{"a capability is hidden, of a datapath that is there", Desired{
			Capabilities: map[string]map[string]string{Netdev: {"ct_zero_snat": "false"}, System: {"ct_zero_snat": "false"}},
		}, []Change{{Kind: SetCapabilities, Name: Netdev, Set: map[string]string{"ct_zero_snat": "false"}}}},
		{"a hidden capability stays hidden", Desired{Capabilities: map[string]map[string]string{Netdev: {"recirc": "true"}}}, nil},
		{"removal", Desired{AbsentBridges: []string{"br-a", "br-never"}, AbsentPorts: []string{"p", "never"}}, []Change{
			{Kind: DeletePort, Name: "p"}, {Kind: DeleteBridge, Name: "br-a"},
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Plan(state, c.desired)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
