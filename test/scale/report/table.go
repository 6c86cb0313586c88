package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

var columns = []string{"Figure", "Measured", "Target", "", "OVN-Kubernetes", "Note"}

// cells returns the figures as rows of columns, without the columns that are empty in every row.
func (r *Result) cells() (head []string, rows [][]string) {
	all := make([][]string, 0, len(r.Figures))
	used := make([]bool, len(columns))
	for _, f := range r.Figures {
		row := []string{f.Name, f.Text(), f.TargetText(), f.Verdict(), f.Reference, f.Note}
		for i, cell := range row {
			used[i] = used[i] || cell != ""
		}
		all = append(all, row)
	}
	keep := func(row []string) []string {
		var out []string
		for i, cell := range row {
			if used[i] {
				out = append(out, cell)
			}
		}
		return out
	}
	for _, row := range all {
		rows = append(rows, keep(row))
	}
	return keep(columns), rows
}

// WriteTable writes r for a terminal.
func (r *Result) WriteTable(w io.Writer) error {
	head, rows := r.cells()
	width := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n%s\n", r.Title, r.Provenance())
	for _, row := range append([][]string{head}, rows...) {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString("  " + cell + strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown returns r as a headline, a line on when and where, and a table.
func (r *Result) Markdown() string {
	head, rows := r.cells()
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s\n\n", r.Title, r.Provenance())
	line := func(row []string) { b.WriteString("| " + strings.Join(row, " | ") + " |\n") }
	line(head)
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---"
	}
	line(rule)
	for _, row := range rows {
		for i := range row {
			row[i] = strings.ReplaceAll(row[i], "|", `\|`)
		}
		line(row)
	}
	return b.String()
}

// Provenance says when and on what r was measured.
func (r *Result) Provenance() string {
	return fmt.Sprintf("Measured %s on %s.", r.Time.Format("2006-01-02 15:04"), r.Machine)
}
