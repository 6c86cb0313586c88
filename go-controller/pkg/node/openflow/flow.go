package openflow

import (
	"fmt"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// Flow is one entry of a flow table.
type Flow struct {
	Table, Priority int
	Match           []Field
	// Actions in order; none means that packets are dropped.
	Actions []Action
	// Purpose says what the flow is for. It does not reach the switch.
	Purpose string
	// Same, unless nil, is a comparable value that only flows with the same text have: a Keeper then makes the text once.
	Same any
}

// Text returns the flow as ovs-ofctl(8) reads it. The error says which value no flow can have.
func (f Flow) Text(cookie uint64) (string, error) {
	out := ovs.Flow{Table: f.Table, Priority: f.Priority, Cookie: cookie, Actions: f.Actions}
	for _, field := range f.Match {
		field(&out)
	}
	if len(out.Actions) == 0 {
		out.Actions = []Action{ovs.Drop()}
	}
	text, err := out.MarshalText()
	if err != nil {
		return "", fmt.Errorf("flow for %q: %w", f.Purpose, err)
	}
	return string(text), nil
}
