package openflow

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Change is one difference between a bridge and what is wanted.
type Change struct {
	// Delete says that a flow goes; otherwise one comes, perhaps in place of one with the same match.
	Delete bool
	// Flow as Open vSwitch writes it; without actions when it goes.
	Flow string
}

// String is the change as a line of a bundle, see ovs-ofctl(8).
func (c Change) String() string {
	if c.Delete {
		return "delete_strict " + c.Flow
	}
	return "add " + c.Flow
}

// entry is a line of diff-flows.
type entry struct {
	match, cookie, actions string
}

func parseEntry(text string) entry {
	e := entry{cookie: "0x0"}
	head, actions, _ := strings.Cut(text, " actions=")
	e.actions = actions
	var match []string
	for _, word := range strings.Fields(head) {
		if cookie, ok := strings.CutPrefix(word, "cookie="); ok {
			e.cookie = cookie
			continue
		}
		match = append(match, word)
	}
	e.match = strings.Join(match, " ")
	return e
}

// changes turns the output of diff-flows into the changes to make: flows with another cookie stay, unless one of
// ours must be in their place.
func changes(diff []byte, cookie uint64) ([]Change, error) {
	have, want := map[string]entry{}, map[string]entry{}
	var order []string
	scanner := bufio.NewScanner(bytes.NewReader(diff))
	scanner.Buffer(nil, maxLine)
	for scanner.Scan() {
		line := scanner.Text()
		if line == "" {
			continue
		}
		e := parseEntry(line[1:])
		order = append(order, e.match)
		switch line[0] {
		case '-':
			have[e.match] = e
		case '+':
			want[e.match] = e
		default:
			return nil, fmt.Errorf("ovs-ofctl diff-flows has said %q", line)
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read the output of ovs-ofctl diff-flows: %w", err)
	}
	var out, gone []Change
	for _, match := range uniq(order) {
		wanted, isWanted := want[match]
		present, isPresent := have[match]
		switch {
		case isWanted && isPresent && wanted == present:
			// The same flow in another encoding, such as a ct() that goes on in table 0.
		case isWanted:
			out = append(out, Change{Flow: fmt.Sprintf("cookie=%s %s actions=%s", wanted.cookie, wanted.match, wanted.actions)})
		case present.cookie == fmt.Sprintf("%#x", cookie):
			gone = append(gone, Change{Delete: true, Flow: fmt.Sprintf("cookie=%s/-1 %s", present.cookie, present.match)})
		}
	}
	return append(out, gone...), nil
}

const maxLine = 1 << 20

// uniq keeps the first of equal texts.
func uniq(in []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(in, func(s string) bool {
		before := seen[s]
		seen[s] = true
		return before
	})
}
