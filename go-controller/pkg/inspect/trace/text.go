package trace

import (
	"fmt"
	"io"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
)

// Write writes the report for people. The verdict is the last line.
func (r *Report) Write(p *output.Printer) error {
	var err error
	line := func(format string, args ...any) {
		if err == nil {
			_, err = io.WriteString(p.Out, fmt.Sprintf(format, args...)+"\n")
		}
	}
	line("%s", p.Paint(output.Bold, fmt.Sprintf("%s → %s, %s %s", r.From, r.To, r.Address, r.Protocol)))
	for _, c := range r.Connections {
		if c.Endpoint != "" {
			line("")
			line("endpoint %s, %s", c.Endpoint, c.Name)
		}
		wanted := "the network policies deny it"
		if c.Allowed {
			wanted = "the network policies allow it"
		}
		line("  %s", wanted)
		for _, w := range c.Why {
			line("    %s", w)
		}
		line("  OVN's way")
		for _, step := range c.Path {
			line("    %s", step)
		}
		if len(c.Flows) > 0 {
			line("  the node's flows")
		}
		for _, f := range c.Flows {
			line("    %s", f)
		}
		if c.FlowsUnknown != "" {
			line("  the node's flows cannot be asked for: %s", c.FlowsUnknown)
		}
		if len(r.Connections) > 1 {
			line("  %s", c.Verdict)
		}
	}
	paint := output.Red
	if r.Arrives {
		paint = output.Green
	}
	line("")
	line("%s", p.Paint(paint, r.Verdict))
	return err
}
