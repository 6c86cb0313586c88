package status

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
)

// Write writes the report: to people one screen, with nodes one by one if that is asked for; to programs all of it.
func (r *Report) Write(p *output.Printer, verbose bool) error {
	if !p.ForPeople() {
		return p.Print(output.Result{Object: r})
	}
	findings := output.Result{Columns: []output.Column{{Name: "PART"}, {Name: "STATE"}, {Name: "DETAIL"}, {Name: "NEXT STEP"}}}
	for _, f := range r.Findings {
		findings.Rows = append(findings.Rows, []string{f.Part, paint(p, f.State), f.Detail, f.Next})
	}
	if err := p.Print(findings); err != nil {
		return err
	}
	if verbose {
		if err := r.writeDetails(p); err != nil {
			return err
		}
	}
	verdict := "The network is " + paint(p, r.State)
	if r.State == Unknown {
		verdict = "Whether the network is well " + p.Paint(output.Yellow, "cannot be told")
	}
	_, err := fmt.Fprintf(p.Out, "\n%s.\n", verdict)
	return err
}

// members are those of databases that are clusters.
func (r *Report) members() output.Result {
	out := output.Result{Columns: []output.Column{{Name: "DATABASE"}, {Name: "MEMBER"}, {Name: "ROLE"}, {Name: "BEHIND"}, {Name: "ADDRESS"}}}
	for _, d := range r.Databases {
		for _, m := range d.Members {
			behind := "?"
			if m.Behind != nil {
				behind = fmt.Sprint(*m.Behind)
			}
			out.Rows = append(out.Rows, []string{d.Name, m.Node, m.Role, behind, m.Address})
		}
	}
	return out
}

func (r *Report) writeDetails(p *output.Printer) error {
	nodes := output.Result{Columns: []output.Column{{Name: "NODE"}, {Name: "STATE"}, {Name: "SUBNETS"}, {Name: "GATEWAY"}, {Name: "TUNNEL END"}, {Name: "TUNNELS UP"}, {Name: "LAG"}, {Name: "PODS"}}}
	programs := output.Result{Columns: []output.Column{{Name: "NODE"}, {Name: "OVNKUBE"}, {Name: "OPEN VSWITCH"}, {Name: "OVN"}}}
	for i := range r.Nodes {
		n := &r.Nodes[i]
		state := string(OK)
		if w := n.wrong(); w != "" {
			state = p.Paint(output.Yellow, w)
		}
		nodes.Rows = append(nodes.Rows, []string{n.Name, state, strings.Join(n.Subnets, ","), n.GatewayMode, strings.Join(n.Tunnels, ","), cmp.Or(n.tunnelsUp(), "?"), fmt.Sprint(n.Lag), fmt.Sprint(n.Ports)})
		if v := n.Versions; v != nil {
			programs.Rows = append(programs.Rows, []string{n.Name, cmp.Or(v.OVNKube, "?"), cmp.Or(v.OVS, "?"), cmp.Or(v.OVN, "?")})
		} else {
			programs.Rows = append(programs.Rows, []string{n.Name, "? " + n.NotSeen, "?", "?"})
		}
	}
	features := output.Result{Columns: []output.Column{{Name: "FEATURE"}, {Name: "ON"}, {Name: "REASON"}}}
	for _, f := range r.Features {
		on := "no"
		if f.On {
			on = "yes"
		}
		features.Rows = append(features.Rows, []string{f.Name, on, f.Reason})
	}
	for _, table := range []output.Result{r.members(), nodes, programs, features} {
		if len(table.Rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintln(p.Out); err != nil {
			return err
		}
		if err := p.Print(table); err != nil {
			return err
		}
	}
	return nil
}

func paint(p *output.Printer, s State) string {
	switch s {
	case OK:
		return p.Paint(output.Green, string(s))
	case Degraded, Unknown:
		return p.Paint(output.Yellow, string(s))
	}
	return p.Paint(output.Red, string(s))
}
