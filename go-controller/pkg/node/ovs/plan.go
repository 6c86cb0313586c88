package ovs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Desired is what the database should hold; the rest of it is left alone.
type Desired struct {
	// ExternalIDs of the Open_vSwitch table.
	ExternalIDs map[string]string
	Bridges     []Bridge
	Ports       []Port
	// Capabilities of datapaths, by type, that others should believe in; the rest is what ovs-vswitchd found out. They
	// are set once ovs-vswitchd has filled in its own.
	Capabilities map[string]map[string]string
	// SSL is what ovn-controller connects with; nil leaves it alone.
	SSL *SSL
	// AbsentSSL takes away what the agent has made of that.
	AbsentSSL bool
	// AbsentExternalIDs, AbsentPorts and AbsentBridges should not be there.
	AbsentExternalIDs []string
	AbsentPorts       []string
	AbsentBridges     []string
}

// Change is one difference between state and desired.
type Change struct {
	Kind Kind
	// Name is that of the bridge, port or interface, or the datapath's type; empty for the Open_vSwitch table.
	Name string
	// Bridge and Port are what to create or to change to.
	Bridge Bridge
	Port   Port
	SSL    *SSL
	// Set and Remove are keys of external_ids, or of capabilities.
	Set    map[string]string
	Remove []string
}

// Kind is what a Change does.
type Kind int

// Kinds of changes.
const (
	SetExternalIDs Kind = iota
	CreateBridge
	UpdateBridge
	DeleteBridge
	CreatePort
	UpdatePort
	DeletePort
	SetCapabilities
	CreateSSL
	UpdateSSL
	DeleteSSL
)

// String describes the change for logs.
func (c Change) String() string {
	switch c.Kind {
	case SetExternalIDs:
		return fmt.Sprintf("external_ids: set %s, remove %s", strings.Join(slices.Sorted(maps.Keys(c.Set)), " "), strings.Join(c.Remove, " "))
	case CreateBridge:
		return "create bridge " + c.Name
	case UpdateBridge:
		return "update bridge " + c.Name
	case DeleteBridge:
		return "delete bridge " + c.Name
	case CreatePort:
		return fmt.Sprintf("create port %s on %s", c.Name, c.Port.Bridge)
	case UpdatePort:
		return "update port " + c.Name
	case DeletePort:
		return "delete port " + c.Name
	case SetCapabilities:
		return fmt.Sprintf("capabilities of datapath %s: %v", c.Name, c.Set)
	}
	if c.Kind == CreateSSL || c.Kind == UpdateSSL {
		return "SSL: certificate " + c.SSL.Certificate
	}
	if c.Kind == DeleteSSL {
		return "delete SSL"
	}
	return "unknown change"
}

// Plan returns the smallest set of changes, in an order in which they can be made.
func Plan(s State, d Desired) []Change {
	var out []Change
	if c, ok := planExternalIDs(s, d); ok {
		out = append(out, c)
	}
	switch {
	case d.SSL != nil && s.SSL == nil:
		out = append(out, Change{Kind: CreateSSL, SSL: d.SSL})
	case d.SSL != nil && *s.SSL != *d.SSL:
		out = append(out, Change{Kind: UpdateSSL, SSL: d.SSL})
	case d.AbsentSSL && s.SSLOwned:
		out = append(out, Change{Kind: DeleteSSL})
	}
	for _, name := range d.AbsentPorts {
		if _, ok := s.Ports[name]; ok {
			out = append(out, Change{Kind: DeletePort, Name: name})
		}
	}
	for _, name := range d.AbsentBridges {
		if _, ok := s.Bridges[name]; ok {
			out = append(out, Change{Kind: DeleteBridge, Name: name})
		}
	}
	for _, b := range d.Bridges {
		have, ok := s.Bridges[b.Name]
		switch {
		case !ok:
			out = append(out, Change{Kind: CreateBridge, Name: b.Name, Bridge: b})
		case have.DatapathType != b.DatapathType || have.FailMode != b.FailMode || b.Protocols != nil && !slices.Equal(have.Protocols, b.Protocols) ||
			!contains(have.OtherConfig, b.OtherConfig) || !contains(have.ExternalIDs, b.ExternalIDs):
			b.OtherConfig = merge(have.OtherConfig, b.OtherConfig)
			b.ExternalIDs = merge(have.ExternalIDs, b.ExternalIDs)
			if b.Protocols == nil {
				b.Protocols = have.Protocols
			}
			out = append(out, Change{Kind: UpdateBridge, Name: b.Name, Bridge: b})
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(d.Capabilities)) {
		if have, ok := s.Capabilities[kind]; ok && !contains(have, d.Capabilities[kind]) {
			out = append(out, Change{Kind: SetCapabilities, Name: kind, Set: d.Capabilities[kind]})
		}
	}
	for _, p := range d.Ports {
		out = append(out, planPort(s, d, p)...)
	}
	return out
}

func planExternalIDs(s State, d Desired) (Change, bool) {
	c := Change{Kind: SetExternalIDs, Set: map[string]string{}}
	for key, value := range d.ExternalIDs {
		have, ok := s.ExternalIDs[key]
		if !ok || have != value {
			c.Set[key] = value
		}
	}
	for _, key := range d.AbsentExternalIDs {
		if _, ok := s.ExternalIDs[key]; ok {
			c.Remove = append(c.Remove, key)
		}
	}
	return c, len(c.Set)+len(c.Remove) > 0
}

func planPort(s State, d Desired, p Port) []Change {
	have, ok := s.Ports[p.Name]
	if !ok {
		created := !has(s.Bridges, p.Bridge) && p.Name == p.Bridge &&
			slices.ContainsFunc(d.Bridges, func(b Bridge) bool { return b.Name == p.Bridge })
		if created { // a new bridge comes with its own port
			return []Change{{Kind: UpdatePort, Name: p.Name, Port: p}}
		}
		return []Change{{Kind: CreatePort, Name: p.Name, Port: p}}
	}
	if have.Bridge != p.Bridge {
		return []Change{{Kind: DeletePort, Name: p.Name}, {Kind: CreatePort, Name: p.Name, Port: p}}
	}
	if have.Type != p.Type || (p.MAC != "" && have.MAC != p.MAC) || (p.MTU != 0 && have.MTU != p.MTU) || !contains(have.ExternalIDs, p.ExternalIDs) {
		p.ExternalIDs = merge(have.ExternalIDs, p.ExternalIDs)
		return []Change{{Kind: UpdatePort, Name: p.Name, Port: p}}
	}
	return nil
}

func has[V any](m map[string]V, key string) bool {
	_, ok := m[key]
	return ok
}

func contains(have, want map[string]string) bool {
	for key, value := range want {
		if v, ok := have[key]; !ok || v != value {
			return false
		}
	}
	return true
}

func merge(have, want map[string]string) map[string]string {
	out := maps.Clone(have)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, want)
	return out
}
