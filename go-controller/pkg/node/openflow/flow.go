package openflow

import (
	"fmt"
	"strings"
)

// Flow is one entry of a flow table.
type Flow struct {
	Table, Priority int
	Match           []Field
	// Actions in order; none means that packets are dropped.
	Actions []Action
	// Purpose says what the flow is for. It does not reach the switch.
	Purpose string
}

// Text returns the flow as ovs-ofctl(8) reads it, without a cookie.
func (f Flow) Text() string {
	return fmt.Sprintf("%s actions=%s", f.key(), f.actions())
}

// key is what makes a flow unique on a bridge.
func (f Flow) key() string {
	parts := []string{fmt.Sprintf("table=%d,priority=%d", f.Table, f.Priority)}
	for _, m := range f.Match {
		parts = append(parts, string(m))
	}
	return strings.Join(parts, ",")
}

func (f Flow) actions() string {
	if len(f.Actions) == 0 {
		return "drop"
	}
	parts := make([]string, len(f.Actions))
	for i, a := range f.Actions {
		parts[i] = string(a)
	}
	return strings.Join(parts, ",")
}
