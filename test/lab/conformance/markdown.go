package conformance

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// errWriter remembers the first error.
type errWriter struct {
	out io.Writer
	err error
}

func (w *errWriter) printf(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.out, format, args...)
	}
}

func header(w *errWriter, first string, columns []Column) {
	w.printf("| %s |", first)
	for _, c := range columns {
		w.printf(" %s |", c.Name)
	}
	w.printf("\n|---%s|\n", strings.Repeat("|---", len(columns)))
}

// writeAreas writes how many specs passed of those that ran, by area and in all.
func writeAreas(w *errWriter, columns []Column, rows []*row) {
	type count struct{ passed, ran int }
	counts, areas := map[string][]count{}, []string{}
	total := "**all**"
	for _, name := range []string{total} {
		counts[name] = make([]count, len(columns))
	}
	for _, r := range rows {
		if !r.ran {
			continue
		}
		if counts[r.area] == nil {
			counts[r.area] = make([]count, len(columns))
			areas = append(areas, r.area)
		}
		for i, cell := range r.cells {
			for _, c := range []*count{&counts[r.area][i], &counts[total][i]} {
				if cell != cellNone {
					c.ran++
				}
				if cell == cellPass || cell == cellAgain {
					c.passed++
				}
			}
		}
	}
	header(w, "Passed of those that ran", columns)
	for _, name := range append(areas, total) {
		w.printf("| %s |", name)
		for _, c := range counts[name] {
			if c.ran == 0 {
				w.printf(" %s |", cellNone)
			} else {
				w.printf(" %d of %d |", c.passed, c.ran)
			}
		}
		w.printf("\n")
	}
	w.printf("\n")
}

// writeRan writes each spec that ran.
func writeRan(w *errWriter, columns []Column, rows []*row) {
	area := ""
	for _, r := range rows {
		if !r.ran {
			continue
		}
		if r.area != area {
			area = r.area
			w.printf("### %s\n\n", area)
			header(w, "Spec", columns)
		}
		w.printf("| %s | %s |\n", escape(r.name), strings.Join(r.cells, " | "))
		if last(rows, r) {
			w.printf("\n")
		}
	}
}

// last tells whether no further spec of the row's area ran.
func last(rows []*row, r *row) bool {
	for _, next := range rows[slices.Index(rows, r)+1:] {
		if next.ran {
			return next.area != r.area
		}
	}
	return true
}

// writeExplained writes specs by the reason why they did not pass.
func writeExplained(w *errWriter, title string, explained map[string][]*row) {
	if len(explained) == 0 {
		return
	}
	w.printf("### %s\n\n", title)
	for _, text := range slices.Sorted(maps.Keys(explained)) {
		w.printf("%s:\n\n", strings.TrimRight(text, ". "))
		for _, r := range explained[text] {
			w.printf("- %s\n", escape(r.name))
		}
		w.printf("\n")
	}
}

func escape(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(s)
}
