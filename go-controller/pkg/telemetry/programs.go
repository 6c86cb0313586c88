package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// askTimeout is how long a program has to answer; those of OVN do one thing after the other.
const askTimeout = 3 * time.Second

// ProgramOptions describe a program beside this process.
type ProgramOptions struct {
	// Metric and Help are the gauge's.
	Metric, Help string
	// State is what the program is in besides running, and InState tells it from the answer.
	State   string
	InState func(answer string) bool
	// Ask asks the program for it; an error means that it does not run.
	Ask func(context.Context) (string, error)
}

// program asks when it is asked itself.
type program struct {
	ProgramOptions
	desc *prometheus.Desc
}

// Program collects whether a program runs, and is in the state that makes it useful: two gauges with the label state, 0 or 1.
func Program(o ProgramOptions) prometheus.Collector {
	return &program{ProgramOptions: o, desc: prometheus.NewDesc(o.Metric, o.Help, []string{"state"}, nil)}
}

// Describe implements prometheus.Collector.
func (p *program) Describe(out chan<- *prometheus.Desc) { out <- p.desc }

// Collect implements prometheus.Collector.
func (p *program) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	answer, err := p.Ask(ctx)
	for state, holds := range map[string]bool{"running": err == nil, p.State: err == nil && p.InState(answer)} {
		value := 0.0
		if holds {
			value = 1
		}
		out <- prometheus.MustNewConstMetric(p.desc, prometheus.GaugeValue, value, state)
	}
}
