// Package growth draws how figures of the same kind of cluster grow with its size.
package growth

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"github.com/ovnkube/ovnkube/test/scale/report"
)

// Chart is one picture: figures of results over the number of nodes.
type Chart struct {
	// File is the picture's name, without its extension.
	File, Title string
	// Unit is what the figures are shown in; all have the same.
	Unit string
	// Lines are the figures, by what the legend says of them.
	Lines []Line
}

// Line is one figure.
type Line struct{ Legend, Figure string }

// Charts are those of the scenarios with whole clusters.
func Charts() []Chart {
	return []Chart{
		{"master-cpu", "Master's CPU for each object", report.Millis, []Line{
			{"node", "nodes: master's CPU for each"}, {"pod", "pods: master's CPU for each"},
			{"service", "services: master's CPU for each"}, {"policy", "policies: master's CPU for each"},
		}},
		{"northbound-latency", "One more object → northbound database, median", report.Millis, []Line{
			{"pod", "one more pod → northbound, p50"}, {"service", "one more service → northbound, p50"}, {"policy", "one more policy → northbound, p50"},
		}},
		{"southbound-latency", "One more object → southbound database (ovn-northd), median", report.Millis, []Line{
			{"pod", "one more pod → southbound, p50"}, {"service", "one more service → southbound, p50"}, {"policy", "one more policy → southbound, p50"},
		}},
		{"memory", "Highest RSS", report.MiB, []Line{{"master", "master: highest RSS"}, {"ovn-northd", "ovn-northd: highest RSS"}}},
		{"restart", "Master restarted → ready", report.Seconds, []Line{{"restart", "restart: started → ready"}}},
		{"logical-flows", "Logical flows", report.Count, []Line{{"logical flows", "rows of Logical_Flow"}}},
	}
}

const width, height = 15 * vg.Centimeter, 9 * vg.Centimeter

// Draw writes all charts into a folder, as SVG. Results are by their clusters' nodes.
func Draw(dir string, results map[int]*report.Result) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("draw charts: %w", err)
	}
	for _, c := range Charts() {
		p, err := c.plot(results)
		if err != nil {
			return fmt.Errorf("draw %s: %w", c.File, err)
		}
		if err := p.Save(width, height, filepath.Join(dir, c.File+".svg")); err != nil {
			return fmt.Errorf("draw %s: %w", c.File, err)
		}
	}
	return nil
}

func (c Chart) plot(results map[int]*report.Result) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, "nodes", c.Unit
	p.X.Min, p.Y.Min = 0, 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	var lines []any
	for _, l := range c.Lines {
		points := l.points(results)
		if len(points) == 0 {
			return nil, fmt.Errorf("no result has the figure %q", l.Figure)
		}
		lines = append(lines, l.Legend, points)
	}
	if err := plotutil.AddLinePoints(p, lines...); err != nil {
		return nil, err
	}
	p.X.Min, p.Y.Min = 0, 0 // What is added narrows the axes.
	return p, nil
}

// points are in order of size.
func (l Line) points(results map[int]*report.Result) plotter.XYs {
	var out plotter.XYs
	for nodes, r := range results {
		for _, f := range r.Figures {
			if f.Name == l.Figure {
				out = append(out, plotter.XY{X: float64(nodes), Y: f.Value})
			}
		}
	}
	slices.SortFunc(out, func(a, b plotter.XY) int { return int(a.X - b.X) })
	return out
}
