// Package monitoring checks dist/monitoring: what Prometheus and Grafana are asked for is what the product exports and its documents explain.
package monitoring

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

const (
	folder  = "../../dist/monitoring/"
	docs    = "../../docs/"
	runbook = "https://github.com/ovnkube/ovnkube/blob/main/docs/troubleshooting.md#"
)

// attached are labels that Prometheus adds when it scrapes, and those of histograms.
func attached() []string { return []string{"instance", "job", "le"} }

// exported are the metrics of docs/metrics.md, which a test of the product keeps, with their labels; histograms by the names of their series.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(docs + "metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| ([a-z]+) \\| ([a-z, ]*) \\|")
	for _, m := range row.FindAllStringSubmatch(string(data), -1) {
		own := append(attached(), strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' || r == ' ' })...)
		if m[2] != "histogram" {
			out[m[1]] = own
			continue
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			out[m[1]+suffix] = own
		}
	}
	// Prometheus' own, of each target: whether it was reached.
	out["up"] = []string{"instance", "job"}
	if len(out) < 50 {
		t.Fatalf("docs/metrics.md has only %d series", len(out))
	}
	return out
}

// check parses an expression and looks up the metrics and labels in it.
func check(t *testing.T, where, expression string, known map[string][]string) {
	t.Helper()
	expression = strings.ReplaceAll(expression, "$__rate_interval", "5m")
	parsed, err := parser.ParseExpr(expression)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		selector, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		own, ok := known[selector.Name]
		if !ok {
			t.Errorf("%s: nothing exports %s", where, selector.Name)
			return nil
		}
		for _, m := range selector.LabelMatchers {
			if m.Name != labels.MetricName && !slices.Contains(own, m.Name) {
				t.Errorf("%s: %s has no label %s", where, selector.Name, m.Name)
			}
		}
		return nil
	})
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		a, ok := n.(*parser.AggregateExpr)
		if !ok {
			return nil
		}
		for _, l := range a.Grouping {
			for _, name := range names(a.Expr) {
				if own, ok := known[name]; ok && !slices.Contains(own, l) {
					t.Errorf("%s: grouped by %s, which %s does not have", where, l, name)
				}
			}
		}
		return nil
	})
}

func names(e parser.Node) (out []string) {
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			out = append(out, s.Name)
		}
		return nil
	})
	return out
}

type rules struct {
	Kind string
	Spec struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
}

// anchors are those of the headings of a document, as GitHub makes them.
func anchors(t *testing.T, document string) (out []string) {
	t.Helper()
	data, err := os.ReadFile(docs + document)
	if err != nil {
		t.Fatal(err)
	}
	drop := regexp.MustCompile(`[^a-z0-9 _-]`)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(data), -1) {
		out = append(out, strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return out
}

// Each alert asks for what there is, and says what is wrong, how bad that is and where to read on.
func TestAlerts(t *testing.T) {
	data, err := os.ReadFile(folder + "rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var r rules
	if err := yaml.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	known, sections := exported(t), anchors(t, "troubleshooting.md")
	placeholder := regexp.MustCompile(`\$labels\.([a-z_]+)`)
	used, seen := map[string]bool{}, map[string]bool{}
	for _, g := range r.Spec.Groups {
		for _, a := range g.Rules {
			if a.Alert == "" || seen[a.Alert] {
				t.Errorf("%q: an alert without a name of its own", a.Alert)
			}
			seen[a.Alert] = true
			check(t, a.Alert, a.Expr, known)
			if _, err := time.ParseDuration(a.For); err != nil {
				t.Errorf("%s: for: %v", a.Alert, err)
			}
			if s := a.Labels["severity"]; s != "critical" && s != "warning" {
				t.Errorf("%s: severity %q", a.Alert, s)
			}
			anchor, ok := strings.CutPrefix(a.Annotations["runbook_url"], runbook)
			if !ok || !slices.Contains(sections, anchor) {
				t.Errorf("%s: there is no %s", a.Alert, a.Annotations["runbook_url"])
			}
			used[anchor] = true
			for _, m := range placeholder.FindAllStringSubmatch(a.Annotations["summary"], -1) {
				if !carries(t, a.Expr, m[1], known) {
					t.Errorf("%s: the alert has no label %s", a.Alert, m[1])
				}
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d alerts", len(seen))
	}
	// Symptoms that nobody measures come first in the document; what follows is for alerts.
	first := slices.IndexFunc(sections, func(s string) bool { return used[s] })
	for _, s := range sections[max(0, first):] {
		if !used[s] {
			t.Errorf("no alert leads to %s", s)
		}
	}
}

// Prometheus takes the rules as they are: what promtool check rules would say, templates and all.
func TestRulesAreTaken(t *testing.T) {
	data, err := os.ReadFile(folder + "rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Spec json.RawMessage }
	if err := yaml.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(r.Spec, false)
	for _, err := range errs {
		t.Error(err)
	}
	if len(errs) == 0 && len(groups.Groups) == 0 {
		t.Error("there are no groups")
	}
}

// carries tells whether an expression's result has a label: aggregations keep those that they name.
func carries(t *testing.T, expression, label string, known map[string][]string) bool {
	t.Helper()
	parsed, err := parser.ParseExpr(expression)
	if err != nil {
		return false
	}
	aggregated, kept := false, false
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok {
			aggregated, kept = true, kept || slices.Contains(a.Grouping, label)
		}
		return nil
	})
	if aggregated {
		return kept
	}
	return slices.ContainsFunc(names(parsed), func(n string) bool { return slices.Contains(known[n], label) })
}

type dashboard struct {
	UID, Title string
	Panels     []struct {
		ID                       int
		Type, Title, Description string
		Targets                  []struct{ Expr, LegendFormat string }
	}
}

// Each panel of the dashboards asks for what there is.
func TestDashboards(t *testing.T) {
	files, err := filepath.Glob(folder + "dashboard-*.json")
	if err != nil || len(files) != 2 {
		t.Fatalf("dashboards %v, %v", files, err)
	}
	known := exported(t)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		ids := map[int]bool{}
		for _, p := range d.Panels {
			if ids[p.ID] {
				t.Errorf("%s: two panels with id %d", file, p.ID)
			}
			ids[p.ID] = true
			if p.Type == "row" {
				continue
			}
			where := d.Title + ": " + p.Title
			if p.Description == "" || len(p.Targets) == 0 {
				t.Errorf("%s says or asks nothing", where)
			}
			for _, target := range p.Targets {
				check(t, where, target.Expr, known)
			}
		}
	}
}
