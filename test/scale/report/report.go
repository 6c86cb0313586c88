// Package report holds what a benchmark measured and shows it: as a table for people, as JSON lines for
// programs and inside a document that keeps the last figures.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// Units of figures.
const (
	Count     = ""
	PerSecond = "/s"
	Seconds   = "s"
	Millis    = "ms"
	MiB       = "MiB"
	Ratio     = "×"
	// GbitPerSecond has 10^9 bits.
	GbitPerSecond = "Gbit/s"
)

// Figure is one measured value.
type Figure struct {
	// Name says what was measured.
	Name string `json:"name"`
	// Value is in Unit.
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	// Target is what the value should be, nil where nothing is promised.
	Target *Target `json:"target,omitempty"`
	// Reference is the same figure of OVN-Kubernetes, as text; empty where there is none.
	Reference string `json:"reference,omitempty"`
	// Note qualifies the value.
	Note string `json:"note,omitempty"`
}

// Target is a limit in the figure's unit.
type Target struct {
	// AtLeast says that the value must not be below Value; otherwise it must not be above.
	AtLeast bool    `json:"atLeast,omitempty"`
	Value   float64 `json:"value"`
	// Met says whether the value is within the target.
	Met bool `json:"met"`
}

// Result is what one scenario measured in one run.
type Result struct {
	// ID names the scenario; a document has one table an ID.
	ID string `json:"scenario"`
	// Title is the table's headline.
	Title   string    `json:"title"`
	Time    time.Time `json:"time"`
	Machine Machine   `json:"machine"`
	Figures []Figure  `json:"figures"`
}

// Add appends a figure without a target and returns it for more to be said about it. The pointer is
// valid until the next Add.
func (r *Result) Add(name string, value float64, unit string) *Figure {
	r.Figures = append(r.Figures, Figure{Name: name, Value: value, Unit: unit})
	return &r.Figures[len(r.Figures)-1]
}

// AddLatency appends the 50th and 99th percentile of samples, in milliseconds, and returns the latter two
// figures. The pointers are valid until the next Add.
func (r *Result) AddLatency(name string, samples []time.Duration) (p50, p99 *Figure) {
	r.Add(name+", p50", InMillis(Percentile(samples, 50)), Millis)
	r.Add(name+", p99", InMillis(Percentile(samples, 99)), Millis)
	n := len(r.Figures)
	return &r.Figures[n-2], &r.Figures[n-1]
}

// AtMost sets an upper limit.
func (f *Figure) AtMost(limit float64) *Figure {
	f.Target = &Target{Value: limit, Met: f.Value <= limit}
	return f
}

// AtLeast sets a lower limit.
func (f *Figure) AtLeast(limit float64) *Figure {
	f.Target = &Target{AtLeast: true, Value: limit, Met: f.Value >= limit}
	return f
}

// Ref sets the reference figure.
func (f *Figure) Ref(text string) *Figure { f.Reference = text; return f }

// Say sets the note.
func (f *Figure) Say(format string, args ...any) *Figure {
	f.Note = fmt.Sprintf(format, args...)
	return f
}

// Missed returns the figures whose target was not met.
func (r *Result) Missed() []Figure {
	var out []Figure
	for _, f := range r.Figures {
		if f.Target != nil && !f.Target.Met {
			out = append(out, f)
		}
	}
	return out
}

// WriteJSON writes r as one line of JSON.
func (r *Result) WriteJSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

// ReadJSON reads what WriteJSON wrote, one result after the other.
func ReadJSON(r io.Reader) ([]*Result, error) {
	var out []*Result
	for in := json.NewDecoder(r); ; {
		result := &Result{}
		switch err := in.Decode(result); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("result %d: %w", len(out), err)
		}
		out = append(out, result)
	}
}

// InMillis is d in milliseconds.
func InMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// InMiB is bytes in MiB.
func InMiB(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// Text is the value with its unit, with three significant digits or all digits before the decimal point.
func (f Figure) Text() string { return Amount(f.Value, f.Unit) }

// TargetText is the target with its unit; empty when there is none.
func (f Figure) TargetText() string {
	if f.Target == nil {
		return ""
	}
	sign := "≤ "
	if f.Target.AtLeast {
		sign = "≥ "
	}
	return sign + Amount(f.Target.Value, f.Unit)
}

// Verdict is "met", "missed" or empty.
func (f Figure) Verdict() string {
	switch {
	case f.Target == nil:
		return ""
	case f.Target.Met:
		return "met"
	default:
		return "missed"
	}
}

// Amount is a value with its unit, as in tables.
func Amount(v float64, unit string) string {
	number := strconv.FormatFloat(v, 'f', decimals(v), 64)
	if whole, fraction, ok := strings.Cut(number, "."); ok && strings.Trim(fraction, "0") == "" {
		number = whole
	}
	switch unit {
	case Count, Ratio, PerSecond:
		return group(number) + unit
	default:
		return group(number) + " " + unit
	}
}

func decimals(v float64) int {
	switch v = math.Abs(v); {
	case v >= 100:
		return 0
	case v >= 10:
		return 1
	default:
		return 2
	}
}

// group puts commas between the thousands.
func group(number string) string {
	whole, fraction, _ := strings.Cut(number, ".")
	digits := strings.TrimPrefix(whole, "-")
	sign := whole[:len(whole)-len(digits)]
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return sign + digits + fraction
}
