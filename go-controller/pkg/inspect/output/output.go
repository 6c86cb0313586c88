// Package output writes results for people, as tables, and for programs, as JSON or YAML.
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
	"sigs.k8s.io/yaml"
)

// Format is how a result is written.
type Format string

// Formats.
const (
	Table Format = "table"
	Wide  Format = "wide"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Formats are all of them, for completion and messages.
func Formats() []string { return []string{string(Table), string(Wide), string(JSON), string(YAML)} }

// Parse reads the name of a format.
func Parse(s string) (Format, error) {
	for _, f := range Formats() {
		if s == f {
			return Format(f), nil
		}
	}
	return "", fmt.Errorf("--output %q: want one of %s", s, strings.Join(Formats(), ", "))
}

// Column is a column of a table.
type Column struct {
	Name string
	// Wide columns are shown in wide tables only.
	Wide bool
}

// Result is what a command has found.
type Result struct {
	Columns []Column
	// Rows have a text for each column.
	Rows [][]string
	// Object is what programs get.
	Object any
}

// Printer writes results.
type Printer struct {
	Out    io.Writer
	Format Format
	// Colour says that Out is a terminal whose user has not asked for no colours.
	Colour bool
}

// NewPrinter looks at where the output goes. See https://no-color.org for NO_COLOR.
func NewPrinter(out io.Writer, f Format) *Printer {
	p := &Printer{Out: out, Format: f}
	if file, ok := out.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		p.Colour = term.IsTerminal(int(file.Fd()))
	}
	return p
}

// Print writes a result.
func (p *Printer) Print(r Result) error {
	switch p.Format {
	case JSON:
		encoder := json.NewEncoder(p.Out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false) // Matches are full of < and &.
		return encoder.Encode(r.Object)
	case YAML:
		text, err := yaml.Marshal(r.Object)
		if err != nil {
			return fmt.Errorf("write YAML: %w", err)
		}
		_, err = p.Out.Write(text)
		return err
	}
	return p.table(r)
}

// ForPeople tells whether the output is for people.
func (p *Printer) ForPeople() bool { return p.Format == Table || p.Format == Wide }

func (p *Printer) table(r Result) error {
	lines := make([][]string, len(r.Rows)+1)
	for i, c := range r.Columns {
		if c.Wide && p.Format != Wide {
			continue
		}
		lines[0] = append(lines[0], c.Name)
		for n, row := range r.Rows {
			lines[n+1] = append(lines[n+1], row[i])
		}
	}
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(plain(cell)))
		}
	}
	var b strings.Builder
	for n, line := range lines {
		var text strings.Builder
		for i, cell := range line {
			text.WriteString(cell)
			text.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(plain(cell))+gap))
		}
		out := strings.TrimRight(text.String(), " ")
		if n == 0 {
			out = p.Paint(Bold, out)
		}
		b.WriteString(out + "\n")
	}
	_, err := io.WriteString(p.Out, b.String())
	return err
}

// gap is the space between columns.
const gap = 3

// Paints are what terminals understand: ECMA-48, SGR.
const (
	Bold   = "\x1b[1m"
	Red    = "\x1b[31m"
	Green  = "\x1b[32m"
	Yellow = "\x1b[33m"
	reset  = "\x1b[0m"
)

// Paint colours a text on a terminal.
func (p *Printer) Paint(paint, text string) string {
	if !p.Colour || text == "" {
		return text
	}
	return paint + text + reset
}

// plain is a text without paint: it takes no space.
func plain(s string) string {
	for _, paint := range []string{Bold, Red, Green, Yellow, reset} {
		s = strings.ReplaceAll(s, paint, "")
	}
	return s
}
