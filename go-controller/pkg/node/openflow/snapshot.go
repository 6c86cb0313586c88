package openflow

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// newest is the version of OpenFlow in which copies are made: groups have all their properties in it.
const newest = "--protocols=OpenFlow15"

// snapshot is what a controller has written to a bridge, each in the words in which ovs-ofctl takes it back.
type snapshot struct {
	// ports are the numbers of the bridge's ports, by name.
	ports                          map[string]string
	options, groups, meters, flows []string
}

// sections of the file.
const (
	sectionPorts = "ports"
	sectionTLV   = "options"
	sectionGroup = "groups"
	sectionMeter = "meters"
	sectionFlow  = "flows"
)

// sections are what is asked of Open vSwitch.
func sections() []struct{ name, command string } {
	return []struct{ name, command string }{
		{sectionPorts, "dump-ports-desc"}, {sectionTLV, "dump-tlv-map"}, {sectionGroup, "dump-groups"},
		{sectionMeter, "dump-meters"}, {sectionFlow, "dump-flows"},
	}
}

// save writes the copy's file, which is never there half, and returns the processor's time that it took.
func (g *Guard) save(ctx context.Context) (cost time.Duration, err error) {
	if err := os.MkdirAll(filepath.Dir(g.File), 0o700); err != nil {
		return 0, fmt.Errorf("copy the flows of %s: %w", g.Name, err)
	}
	// Always the same name: what an agent that was killed leaves is used again.
	f, err := os.OpenFile(g.File+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, fmt.Errorf("copy the flows of %s: %w", g.Name, err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it has another name when all went well
	for _, s := range sections() {
		if _, err = fmt.Fprintf(f, "# %s\n", s.name); err != nil {
			break
		}
		// Straight into the file: there may be hundreds of thousands of flows.
		var once time.Duration
		once, err = runInto(ctx, f, newest, slowTimeout, "--no-names", "--no-stats", s.command, g.target())
		cost += once
		if err != nil {
			break
		}
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), g.File)
	}
	if err != nil {
		return cost, fmt.Errorf("copy the flows of %s: %w", g.Name, err)
	}
	return cost, nil
}

func readSnapshot(file string) (*snapshot, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return parseSnapshot(data)
}

// parseSnapshot reads what save has written.
func parseSnapshot(data []byte) (*snapshot, error) {
	s := &snapshot{ports: map[string]string{}}
	section := ""
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data)+1)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if name, ok := strings.CutPrefix(line, "# "); ok {
			section = name
			continue
		}
		switch section {
		case sectionPorts:
			s.addPort(line)
		case sectionTLV:
			s.addOption(line)
		case sectionGroup:
			if strings.HasPrefix(line, "group_id=") {
				s.groups = append(s.groups, line)
			}
		case sectionMeter:
			s.addMeter(line)
		case sectionFlow:
			if strings.Contains(line, "actions=") {
				s.flows = append(s.flows, line)
			}
		}
	}
	if section != sectionFlow {
		return nil, errors.New("a copy of flows that is not whole")
	}
	return s, lines.Err()
}

var (
	portLine   = regexp.MustCompile(`^(\d+|LOCAL)\(([^)]+)\): `)
	learnTable = regexp.MustCompile(`learn\(table=(\d+)`)
	optionLine = regexp.MustCompile(`^(0x[0-9a-f]+)\s+(0x[0-9a-f]+)\s+(\d+)\s+(tun_metadata\d+)$`)
	cookieText = regexp.MustCompile(`^\s*cookie=0x[0-9a-f]+,?\s*`)
)

func (s *snapshot) addPort(line string) {
	if m := portLine.FindStringSubmatch(line); m != nil {
		s.ports[m[2]] = m[1]
	}
}

// addOption reads a line of the table of tunnel options: class, type, length, field.
func (s *snapshot) addOption(line string) {
	if m := optionLine.FindStringSubmatch(line); m != nil {
		s.options = append(s.options, fmt.Sprintf("{class=%s,type=%s,len=%s}->%s", m[1], m[2], m[3], m[4]))
	}
}

// addMeter reads a line of a meter: its head, or one of the bands that follow.
func (s *snapshot) addMeter(line string) {
	words := strings.Join(strings.Fields(line), ",")
	switch {
	case strings.HasPrefix(words, "meter="):
		s.meters = append(s.meters, words)
	case strings.HasPrefix(words, "type=") && len(s.meters) > 0:
		last := &s.meters[len(s.meters)-1]
		if !strings.HasSuffix(*last, "=") {
			*last += ","
		}
		*last += words
	}
}

// marked are the flows with another cookie.
func (s *snapshot) marked(cookie uint64) *bytes.Buffer {
	var out bytes.Buffer
	for _, f := range s.flows {
		fmt.Fprintf(&out, "cookie=%#x,%s\n", cookie, cookieText.ReplaceAllString(f, ""))
	}
	return &out
}

// learned are the tables in which the flows make flows: Open vSwitch writes there by itself, ovn-controller does not.
func (s *snapshot) learned() []int {
	var out []int
	for _, f := range s.flows {
		for _, m := range learnTable.FindAllStringSubmatch(f, -1) {
			if n, err := strconv.Atoi(m[1]); err == nil && n < everyTable && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

// othersFlow tells whether a line is a flow that has neither the cookie nor one of the tables.
func othersFlow(line string, cookie uint64, tables []int) bool {
	head, _, isFlow := strings.Cut(line, "actions=")
	table := 0 // which is not always said
	for _, word := range strings.FieldsFunc(head, func(r rune) bool { return r == ',' || r == ' ' }) {
		if word == fmt.Sprintf("cookie=%#x", cookie) {
			return false
		}
		if number, ok := strings.CutPrefix(word, "table="); ok {
			table, _ = strconv.Atoi(number)
		}
	}
	return isFlow && !slices.Contains(tables, table)
}

// marks matches the flows that were given back.
func (g *Guard) marks() string { return fmt.Sprintf("cookie=%#x/-1", g.Cookie) }

// flowCount returns how many flows the bridge has that match.
func (g *Guard) flowCount(ctx context.Context, match string) (int, error) {
	out, err := run(ctx, nil, newest, timeout, "dump-aggregate", g.target(), match)
	if err != nil {
		return 0, fmt.Errorf("count the flows of %s: %w", g.Name, err)
	}
	_, text, _ := strings.Cut(string(out), "flow_count=")
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return 0, fmt.Errorf("count the flows of %s: %w", g.Name, err)
	}
	return n, nil
}

// fits tells whether the bridge's ports have the numbers that they had: flows name ports by them.
func (g *Guard) fits(ctx context.Context, s *snapshot) error {
	out, err := run(ctx, nil, newest, timeout, "dump-ports-desc", g.target())
	if err != nil {
		return fmt.Errorf("ports of %s: %w", g.Name, err)
	}
	now := &snapshot{ports: map[string]string{}}
	for line := range strings.Lines(string(out)) {
		now.addPort(strings.TrimSpace(line))
	}
	owners := make(map[string]string, len(s.ports))
	for name, number := range s.ports {
		owners[number] = name
	}
	for name, number := range now.ports {
		if was, known := s.ports[name]; known && was != number {
			return fmt.Errorf("port %s of %s was number %s and is %s: the copied flows are of no use", name, g.Name, was, number)
		}
		if owner, known := owners[number]; known && owner != name {
			return fmt.Errorf("port %s of %s has the number of %s: the copied flows are of no use", name, g.Name, owner)
		}
	}
	return nil
}

// restoring is how many programs write to a bridge at a time: each meter needs one.
const restoring = 8

// restore writes a copy to the bridge: flows last, for they name all the others.
func (g *Guard) restore(ctx context.Context, s *snapshot) error {
	all, early := errgroup.WithContext(ctx)
	all.SetLimit(restoring)
	do := func(ctx context.Context, what, in string, args ...string) error {
		if _, err := run(ctx, strings.NewReader(in), append([]string{newest, slowTimeout}, args...)...); err != nil {
			return fmt.Errorf("%s of %s: %w", what, g.Name, err)
		}
		return nil
	}
	if len(s.options) > 0 {
		all.Go(func() error {
			return do(early, "tunnel options", "", "add-tlv-map", g.target(), strings.Join(s.options, ","))
		})
	}
	if len(s.groups) > 0 {
		all.Go(func() error {
			return do(early, "groups", strings.Join(s.groups, "\n")+"\n", "add-groups", g.target(), "-")
		})
	}
	for _, m := range s.meters {
		all.Go(func() error { return do(early, "meters", "", "add-meter", g.target(), m) })
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return do(ctx, "flows", s.marked(g.Cookie).String(), "--bundle", "add-flows", g.target(), "-")
}
