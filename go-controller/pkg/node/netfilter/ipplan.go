package netfilter

import (
	"fmt"
	"slices"
	"strings"
)

// chains is what is in the kernel: the rules of hookChains and of those of our chains that exist, as `iptables -S` prints
// them.
type chains map[place][]string

// edits are the lines for iptables-restore that turn have into want, by table; empty where nothing differs.
func edits(have chains, want []chainSpec) map[string][]string {
	out := map[string][]string{}
	add := func(table, format string, a ...any) { out[table] = append(out[table], fmt.Sprintf(format, a...)) }
	wanted := map[place]bool{}
	for _, c := range want {
		wanted[c.place] = true
		if _, ok := have[c.place]; !ok {
			add(c.table, ":%s - [0:0]", c.chain) // with --noflush, this empties a chain that is there
		}
	}
	for _, hook := range hookChains {
		out[hook.table] = append(out[hook.table], jumpEdits(have[hook], jumpsFrom(hook, want))...)
	}
	for p := range have {
		if isOurs(p.chain) && !wanted[p] {
			add(p.table, "-F %s", p.chain)
			add(p.table, "-X %s", p.chain)
		}
	}
	for _, c := range want {
		out[c.table] = append(out[c.table], chainEdits(have[c.place], c)...)
	}
	return out
}

func jumpsFrom(hook place, want []chainSpec) []string {
	var out []string
	for _, c := range want {
		for _, jump := range c.jumps {
			if c.table == hook.table && strings.HasPrefix(jump, "-A "+hook.chain+" ") {
				out = append(out, jump)
			}
		}
	}
	return out
}

// jumpEdits puts our jumps first and in order, and leaves what others have there.
func jumpEdits(have, want []string) []string {
	ours := slices.DeleteFunc(slices.Clone(have), func(rule string) bool { return !isOurs(targetOf(rule)) })
	if slices.Equal(ours, want) {
		return nil
	}
	var out []string
	for _, rule := range ours {
		out = append(out, "-D"+strings.TrimPrefix(rule, "-A"))
	}
	for i, rule := range want {
		out = append(out, insertAt(rule, i+1))
	}
	return out
}

// chainEdits brings one of our chains into order: the fixed rules in front, the others behind in any order, no more.
func chainEdits(have []string, c chainSpec) []string {
	var out []string
	inFront := len(have) >= len(c.fixed) && slices.Equal(have[:len(c.fixed)], c.fixed)
	missing := make(map[string]bool, len(c.rules))
	for _, rule := range c.rules {
		missing[rule] = true
	}
	for i, rule := range have {
		switch {
		case inFront && i < len(c.fixed):
		case missing[rule]:
			missing[rule] = false
		default:
			out = append(out, "-D"+strings.TrimPrefix(rule, "-A"))
		}
	}
	if !inFront {
		for i, rule := range c.fixed {
			out = append(out, insertAt(rule, i+1))
		}
	}
	for _, rule := range c.rules {
		if missing[rule] {
			out = append(out, rule)
		}
	}
	return out
}

func insertAt(rule string, position int) string {
	chain, rest, _ := strings.Cut(strings.TrimPrefix(rule, "-A "), " ")
	return fmt.Sprintf("-I %s %d %s", chain, position, rest)
}

func isOurs(chain string) bool {
	for k := range kinds {
		if placeOf(k).chain == chain {
			return true
		}
	}
	return false
}

// targetOf is the chain or extension that a rule jumps to.
func targetOf(rule string) string {
	fields := strings.Fields(rule)
	if i := slices.Index(fields, "-j"); i >= 0 && i+1 < len(fields) {
		return fields[i+1]
	}
	return ""
}
