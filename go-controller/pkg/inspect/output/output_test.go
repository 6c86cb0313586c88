package output

import (
	"bytes"
	"testing"
)

func TestTable(t *testing.T) {
	r := Result{
		Columns: []Column{{Name: "A"}, {Name: "B", Wide: true}, {Name: "C"}},
		Rows:    [][]string{{"long", "wide", "→"}, {"x", "", "y"}},
		Object:  map[string]string{"match": "a < b && c"},
	}
	for _, c := range []struct {
		format Format
		colour bool
		want   string
	}{
		{Table, false, "A      C\nlong   →\nx      y\n"},
		{Wide, false, "A      B      C\nlong   wide   →\nx             y\n"},
		{Table, true, "\x1b[1mA      C\x1b[0m\nlong   →\nx      y\n"},
		{JSON, true, "{\n  \"match\": \"a < b && c\"\n}\n"},
		{YAML, true, "match: a < b && c\n"},
	} {
		var b bytes.Buffer
		p := NewPrinter(&b, c.format)
		if p.Colour {
			t.Fatal("what is no terminal gets colours")
		}
		p.Colour = c.colour
		if err := p.Print(r); err != nil {
			t.Fatal(err)
		}
		if b.String() != c.want {
			t.Errorf("%s, colour %v:\n%q, want\n%q", c.format, c.colour, b.String(), c.want)
		}
	}
}

// Colours take no space: columns stay where they are.
func TestPaintTakesNoSpace(t *testing.T) {
	var plainText, painted bytes.Buffer
	for _, p := range []*Printer{{Out: &plainText}, {Out: &painted, Colour: true}} {
		if err := p.Print(Result{Columns: []Column{{Name: "A"}, {Name: "B"}}, Rows: [][]string{{p.Paint(Red, "down"), "x"}}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := plain(painted.String()); got != plainText.String() {
		t.Errorf("painted:\n%s, without:\n%s", got, plainText.String())
	}
}
