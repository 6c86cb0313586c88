package conformance

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Column is one way in which the suite was run: an IP family, with the reports of its runs in order.
type Column struct {
	Name    string
	Reports []string
}

// Reason says why specs are left out or fail: those whose names the expression matches.
type Reason struct {
	Specs *regexp.Regexp
	Text  string
}

// Cells of the table.
const (
	cellPass  = "pass"
	cellAgain = "pass²" // failed in an earlier run, passed in a later one
	cellFail  = "**FAIL**"
	cellNone  = "–"
)

// row is a spec with its outcome in each column.
type row struct {
	area, name string
	cells      []string
	ran        bool
	skip       string // what the spec itself said when it skipped
}

// Reasons explain what did not pass: the first that matches a spec counts.
type Reasons struct {
	// LeftOut is for specs that did not run. One that skips itself needs none: it says why.
	LeftOut []Reason
	// Failed is for specs that ran and did not pass.
	Failed []Reason
}

// WriteResults writes, as Markdown, the outcome of all specs whose names match the expression: numbers by area, what
// failed and what was left out with the reason, and each spec that ran. A spec without a reason is an error: nothing
// fails or is left out in silence.
func WriteResults(out io.Writer, columns []Column, match *regexp.Regexp, reasons Reasons) error {
	rows, err := collect(columns, match)
	if err != nil {
		return err
	}
	failed, err := explain(rows, reasons.Failed, (*row).failed)
	if err != nil {
		return err
	}
	left, err := explain(rows, reasons.LeftOut, func(r *row) bool { return !r.ran })
	if err != nil {
		return err
	}
	w := &errWriter{out: out}
	writeAreas(w, columns, rows)
	writeExplained(w, "Failed", failed)
	writeExplained(w, "Left out", left)
	writeRan(w, columns, rows)
	return w.err
}

func collect(columns []Column, match *regexp.Regexp) ([]*row, error) {
	byName := map[string]*row{}
	for i, column := range columns {
		for _, path := range column.Reports {
			specs, err := readAll(path)
			if err != nil {
				return nil, err
			}
			for _, spec := range specs {
				name, ok := strings.CutPrefix(spec.Name, "[It] ")
				if !ok || !match.MatchString(name) {
					continue
				}
				name = title(name)
				if byName[name] == nil {
					byName[name] = &row{area: area(name), name: name, cells: slices.Repeat([]string{cellNone}, len(columns))}
				}
				byName[name].add(i, spec)
			}
		}
	}
	rows := make([]*row, 0, len(byName))
	for _, r := range byName {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b *row) int {
		return cmp.Or(strings.Compare(a.area, b.area), strings.Compare(a.name, b.name))
	})
	return rows, nil
}

func (r *row) add(column int, spec Spec) {
	switch {
	case spec.filtered():
	case spec.Status == statusSkipped:
		r.skip = spec.skipReason()
	case !spec.Passed():
		r.ran, r.cells[column] = true, cellFail
	case r.cells[column] == cellFail || r.cells[column] == cellAgain:
		r.ran, r.cells[column] = true, cellAgain
	default:
		r.ran, r.cells[column] = true, cellPass
	}
}

// labels are the list of labels that the report adds to a spec's name.
var labels = regexp.MustCompile(` \[sig-network[^\]]*\]$`)

// title is a spec's name without what all have.
func title(name string) string {
	return strings.TrimPrefix(labels.ReplaceAllString(name, ""), "[sig-network] ")
}

var (
	areaEnd   = regexp.MustCompile(` ([Ss]hould |validates |spec\.|A set |proxy implementation )`)
	areaNoise = regexp.MustCompile(`\[(Feature|FeatureGate|Provider):[^\]]*\] ?|\[(Slow|Serial|Disruptive|LinuxOnly|Privileged)\] ?`)
)

// area is the part of the suite: the name up to what the spec says.
func area(name string) string {
	if at := areaEnd.FindStringIndex(name); at != nil {
		name = name[:at[0]]
	}
	if strings.HasPrefix(name, "[Feature:IPv6DualStack]") {
		return strings.TrimSpace("Dual stack " + areaNoise.ReplaceAllString(name, ""))
	}
	return strings.TrimSpace(areaNoise.ReplaceAllString(name, ""))
}

func (r *row) failed() bool { return slices.Contains(r.cells, cellFail) }

// explain returns the chosen specs by their reason.
func explain(rows []*row, reasons []Reason, chosen func(*row) bool) (map[string][]*row, error) {
	explained := map[string][]*row{}
	for _, r := range rows {
		if !chosen(r) {
			continue
		}
		text := r.skip
		if i := slices.IndexFunc(reasons, func(reason Reason) bool { return reason.Specs.MatchString(r.name) }); i >= 0 {
			text = reasons[i].Text
		}
		if text == "" {
			return nil, fmt.Errorf("no reason is known why this spec did not pass: %s", r.name)
		}
		explained[text] = append(explained[text], r)
	}
	return explained, nil
}
