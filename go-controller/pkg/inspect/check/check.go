// Package check is what looks at a cluster have in common: findings, their table, and JUnit's XML.
package check

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
)

// State is how a check has ended.
type State string

// States.
const (
	OK State = "ok"
	// Warn: it can work, but somebody should know or do something.
	Warn State = "warn"
	// Fail: it does not work, or would not.
	Fail State = "fail"
	// Skip: not checked; the detail says why.
	Skip State = "skip"
)

// Finding is what a check has found.
type Finding struct {
	Check  string `json:"check"`
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"`
	// Next is what to do; empty when all is well.
	Next string `json:"next,omitempty"`
	// Took is how long it took; zero where that says nothing.
	Took time.Duration `json:"tookNanoseconds,omitempty"`
}

// Report is all of them.
type Report struct {
	// Name is that of the whole, for JUnit.
	Name     string    `json:"name"`
	Findings []Finding `json:"findings"`
}

// Add adds findings.
func (r *Report) Add(f ...Finding) { r.Findings = append(r.Findings, f...) }

// Count is how many findings have a state.
func (r *Report) Count(s State) int {
	n := 0
	for _, f := range r.Findings {
		if f.State == s {
			n++
		}
	}
	return n
}

// Verdict is the whole in a line.
func (r *Report) Verdict() string {
	text := fmt.Sprintf("%d checks: %d ok", len(r.Findings), r.Count(OK))
	for _, s := range []State{Warn, Fail, Skip} {
		if n := r.Count(s); n > 0 {
			text += fmt.Sprintf(", %d %s", n, s)
		}
	}
	return text + "."
}

// Write writes the report in the printer's format; for people the verdict is the last line.
func (r *Report) Write(p *output.Printer) error {
	table := output.Result{Object: r, Columns: []output.Column{{Name: "CHECK"}, {Name: "STATE"}, {Name: "DETAIL"}, {Name: "NEXT STEP"}, {Name: "TOOK", Wide: true}}}
	for _, f := range r.Findings {
		took := ""
		if f.Took > 0 {
			took = f.Took.Round(time.Millisecond).String()
		}
		paint := map[State]string{OK: output.Green, Warn: output.Yellow, Fail: output.Red}[f.State]
		state := string(f.State)
		if paint != "" {
			state = p.Paint(paint, state)
		}
		table.Rows = append(table.Rows, []string{f.Check, state, f.Detail, f.Next, took})
	}
	if err := p.Print(table); err != nil || !p.ForPeople() {
		return err
	}
	paint := output.Green
	if r.Count(Fail) > 0 {
		paint = output.Red
	}
	_, err := fmt.Fprintf(p.Out, "\n%s\n", p.Paint(paint, r.Verdict()))
	return err
}

// JUnit's own words, as far as the programs that read it agree on them.
type (
	suite struct {
		XMLName  xml.Name `xml:"testsuite"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Skipped  int      `xml:"skipped,attr"`
		Time     string   `xml:"time,attr"`
		Cases    []junit  `xml:"testcase"`
	}
	junit struct {
		Class   string  `xml:"classname,attr"`
		Name    string  `xml:"name,attr"`
		Time    string  `xml:"time,attr"`
		Failure *reason `xml:"failure,omitempty"`
		Skipped *reason `xml:"skipped,omitempty"`
		Out     string  `xml:"system-out,omitempty"`
	}
	reason struct {
		Message string `xml:"message,attr"`
	}
)

// JUnit writes the report as JUnit's XML. Warnings are no failures there.
func (r *Report) JUnit(w io.Writer) error {
	s := suite{Name: r.Name, Tests: len(r.Findings), Failures: r.Count(Fail), Skipped: r.Count(Skip)}
	var whole time.Duration
	for _, f := range r.Findings {
		whole += f.Took
		c := junit{Class: r.Name, Name: f.Check, Time: seconds(f.Took)}
		text := strings.Join(strings.Fields(f.Detail+" "+f.Next), " ")
		switch f.State {
		case Fail:
			c.Failure = &reason{text}
		case Skip:
			c.Skipped = &reason{text}
		default:
			c.Out = text
		}
		s.Cases = append(s.Cases, c)
	}
	s.Time = seconds(whole)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(s); err != nil {
		return fmt.Errorf("write JUnit's XML: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
