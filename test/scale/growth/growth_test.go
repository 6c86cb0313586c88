package growth

import (
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ovnkube/ovnkube/test/scale/report"
)

// result has all figures of all charts.
func result(scale float64) *report.Result {
	r := &report.Result{}
	for _, c := range Charts() {
		for _, l := range c.Lines {
			r.Add(l.Figure, scale, c.Unit)
		}
	}
	return r
}

func TestDraw(t *testing.T) {
	dir := t.TempDir()
	if err := Draw(dir, map[int]*report.Result{500: result(2), 125: result(1)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range Charts() {
		svg, err := os.ReadFile(filepath.Join(dir, c.File+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(html.UnescapeString(string(svg)), c.Title) {
			t.Errorf("%s has no title %q", c.File, c.Title)
		}
	}
}

func TestPointsAreInOrderOfSize(t *testing.T) {
	l := Charts()[0].Lines[0]
	points := l.points(map[int]*report.Result{1000: result(3), 125: result(1), 500: result(2)})
	for i, want := range []float64{125, 500, 1000} {
		if points[i].X != want || points[i].Y != float64(i+1) {
			t.Errorf("point %d is %v, want x %v y %d", i, points[i], want, i+1)
		}
	}
}

func TestMissingFigure(t *testing.T) {
	if err := Draw(t.TempDir(), map[int]*report.Result{125: {}}); err == nil || !strings.Contains(err.Error(), Charts()[0].Lines[0].Figure) {
		t.Errorf("error %v does not name the figure", err)
	}
}
