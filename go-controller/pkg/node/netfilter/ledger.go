package netfilter

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// Ledger holds the rules of all services, and which keys may have changed since they were last taken. Where services claim the
// same key (an external address with one port), the first by name has it.
type Ledger struct {
	byOwner map[string][]Rule
	claims  map[Key][]claim
	touched map[Key]struct{}
}

type claim struct {
	owner string
	to    netip.AddrPort
}

// NewLedger returns an empty one.
func NewLedger() *Ledger {
	return &Ledger{byOwner: map[string][]Rule{}, claims: map[Key][]claim{}, touched: map[Key]struct{}{}}
}

// Set replaces the rules of a service.
func (l *Ledger) Set(owner string, rules []Rule) {
	if slices.Equal(l.byOwner[owner], rules) {
		return
	}
	for _, r := range l.byOwner[owner] {
		l.withdraw(r.Key, owner)
	}
	delete(l.byOwner, owner)
	if len(rules) == 0 {
		return
	}
	l.byOwner[owner] = rules
	for _, r := range rules {
		l.withdraw(r.Key, owner) // a port or address that the service names twice
		claims := append(l.claims[r.Key], claim{owner, r.To})
		slices.SortFunc(claims, func(a, b claim) int { return cmp.Compare(a.owner, b.owner) })
		l.claims[r.Key] = claims
	}
}

func (l *Ledger) withdraw(k Key, owner string) {
	l.touched[k] = struct{}{}
	claims := slices.DeleteFunc(l.claims[k], func(c claim) bool { return c.owner == owner })
	if len(claims) == 0 {
		delete(l.claims, k)
		return
	}
	l.claims[k] = claims
}

// Get returns the target of the rule with a key, and whether there is such a rule.
func (l *Ledger) Get(k Key) (netip.AddrPort, bool) {
	claims := l.claims[k]
	if len(claims) == 0 {
		return netip.AddrPort{}, false
	}
	return claims[0].to, true
}

// Keys are those of all rules, in a stable order.
func (l *Ledger) Keys() []Key { return slices.SortedFunc(maps.Keys(l.claims), Key.compare) }

// TakeTouched returns the keys whose rules may have changed since the last call, in a stable order.
func (l *Ledger) TakeTouched() []Key {
	out := slices.SortedFunc(maps.Keys(l.touched), Key.compare)
	clear(l.touched)
	return out
}

func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Kind, o.Kind), k.Dest.Compare(o.Dest), cmp.Compare(k.Protocol, o.Protocol),
		cmp.Compare(k.Port, o.Port), cmp.Compare(family(k.V4), family(o.V4)))
}

func family(v4 bool) int {
	if v4 {
		return 4
	}
	return 6
}
