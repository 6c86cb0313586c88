package trace

import (
	"regexp"
	"strings"
)

// Hop is a logical flow that a packet meets, as ovn-trace(8) shows it with --detailed.
type Hop struct {
	// Pipeline is "ingress" or "egress"; Datapath, Inport and Outport are its logical switch or router and ports.
	Pipeline, Datapath, Inport, Outport string
	// Stage is the name of the flow's table, Match its match, UUID the first eight digits of its own.
	Stage, Match, UUID string
	Actions            []string
}

// has tells whether one of the hop's actions begins so.
func (h *Hop) has(action string) bool {
	for _, a := range h.Actions {
		if strings.HasPrefix(a, action) {
			return true
		}
	}
	return false
}

var (
	// pipelineLine: ingress(dp="node1", inport="shop_web").
	pipelineLine = regexp.MustCompile(`^\s*(ingress|egress)\((.*)\)$`)
	pipelineWord = regexp.MustCompile(`(dp|inport|outport)="([^"]*)"`)
	// flowLine: " 8. ls_in_acl (northd.c:6809): ip && !ct.est, priority 1, uuid 792fea9a".
	flowLine = regexp.MustCompile(`^\s*\d+\. (\w+)(?: \([^)]*\))?: (.*), priority (\d+), uuid ([0-9a-f]{8})$`)
	// outputLine: /* output to "shop_web", type "" */.
	outputLine = regexp.MustCompile(`^/\* output to "([^"]*)", type "([^"]*)" \*/$`)
)

// parse reads what ovn-trace --detailed prints.
func parse(text string) []Hop {
	var hops []Hop
	var at Hop
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := pipelineLine.FindStringSubmatch(line); m != nil {
			at = Hop{Pipeline: m[1]}
			for _, w := range pipelineWord.FindAllStringSubmatch(m[2], -1) {
				switch w[1] {
				case "dp":
					at.Datapath = w[2]
				case "inport":
					at.Inport = w[2]
				case "outport":
					at.Outport = w[2]
				}
			}
			continue
		}
		if m := flowLine.FindStringSubmatch(line); m != nil {
			hop := at
			hop.Stage, hop.Match, hop.UUID = m[1], m[2], m[4]
			hops = append(hops, hop)
			continue
		}
		if n := len(hops); n > 0 && strings.HasPrefix(line, "    ") {
			hops[n-1].Actions = append(hops[n-1].Actions, strings.TrimSpace(line))
		}
	}
	return hops
}

// Fates of packets.
const (
	Delivered = "delivered" // to a logical port behind which is a pod or a host
	Leaves    = "leaves"    // by the external bridge
	Dropped   = "dropped"
	Rejected  = "rejected"
	Unknown   = "unknown"
)

// fate is what becomes of the packet, the port it comes out of, and the index of the hop that decides.
func fate(hops []Hop) (what, port string, decides int) {
	for i := range hops {
		h := &hops[i]
		switch {
		case h.has("drop;"):
			return Dropped, "", i
		case h.has("reject {"):
			return Rejected, "", i
		}
		for _, a := range h.Actions {
			m := outputLine.FindStringSubmatch(a)
			switch {
			case m == nil:
			case m[2] == "":
				return Delivered, m[1], i
			case m[2] == "localnet":
				return Leaves, m[1], i
			}
		}
	}
	// OVN drops what no flow is for without saying so.
	if n := len(hops); n > 0 && !hops[n-1].has("output;") {
		return Dropped, "", n - 1
	}
	return Unknown, "", len(hops) - 1
}
