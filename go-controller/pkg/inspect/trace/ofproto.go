package trace

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// flows is what ofproto/trace shows of a packet in a node's Open vSwitch: see ovs-vswitchd(8).
type flows struct {
	// rounds are what happens between two recirculations: the packet goes to the datapath, for connection tracking or a hash, and comes back.
	rounds []round
}

type round struct {
	steps []flow
	// datapath are the actions that the datapath gets.
	datapath string
	// replaced are addresses and ports that NAT has changed before, as the trace shows them.
	replaced string
}

// flow is an OpenFlow flow that the packet meets.
type flow struct {
	bridge, table, match, cookie string
	// actions are its actions, and what the trace says of each.
	actions []string
}

var (
	bridgeLine = regexp.MustCompile(`^\s*bridge\("([^"]+)"\)$`)
	// stepLine: " 46. reg0=0x200/0x200,reg15=0x5,metadata=0x4, priority 2000, cookie 0x2a803819".
	stepLine     = regexp.MustCompile(`^\s*(\d+)\. (?:(.*), )?priority (\d+)(?:, cookie 0x([0-9a-f]+))?$`)
	missLine     = regexp.MustCompile(`^\s*\d+\. No match\.$`)
	datapathLine = regexp.MustCompile(`^Datapath actions: (.*)$`)
	modifiedLine = regexp.MustCompile(`^ Modified flow: (.+)$`)
)

// parseFlows reads what ofproto/trace prints.
func parseFlows(text string) *flows {
	out := &flows{}
	bridge, replaced := "", ""
	now, miss := &round{}, false
	var long branch
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n ")
		if long.has(line) {
			continue
		}
		if m := bridgeLine.FindStringSubmatch(line); m != nil {
			bridge = m[1]
		} else if m := stepLine.FindStringSubmatch(line); m != nil {
			miss = false
			now.steps = append(now.steps, flow{bridge: bridge, table: m[1], match: m[2], cookie: cookie(m[4])})
		} else if missLine.MatchString(line) {
			miss = true // Tables for look-ups alone: that nothing is found drops nothing.
		} else if m := modifiedLine.FindStringSubmatch(line); m != nil {
			replaced = strings.TrimSpace(m[1])
		} else if m := datapathLine.FindStringSubmatch(line); m != nil {
			now.datapath, now.replaced = m[1], replaced
			out.rounds = append(out.rounds, *now)
			now, replaced = &round{}, ""
		} else if n := len(now.steps); n > 0 && strings.HasPrefix(line, " ") && (!miss || strings.TrimSpace(line) != "drop") {
			now.steps[n-1].actions = append(now.steps[n-1].actions, strings.TrimSpace(line))
		}
	}
	return out
}

// branch is what happens to packets that are too long, which the trace shows first, further to the right than the action that asks for the length. It is not
// what happens to this packet.
type branch struct {
	indent         int
	expected, open bool
}

// has tells whether a line belongs to the branch.
func (b *branch) has(line string) bool {
	indent := len(line) - len(strings.TrimLeft(line, " "))
	switch {
	case strings.Contains(line, " check_pkt_larger("):
		*b = branch{indent: indent, expected: true}
	case b.expected && indent > b.indent:
		b.open = true
		return true
	case b.open:
		*b = branch{}
	}
	return false
}

// cookie is one as the UUIDs of logical flows begin: with all its zeros.
func cookie(digits string) string {
	if digits == "" {
		return ""
	}
	return strings.Repeat("0", max(0, uuidDigits-len(digits))) + digits
}

// device is a port of Open vSwitch.
type device struct{ name, logical, remote string }

// String says what is behind the port.
func (d device) String() string {
	switch {
	case d.logical != "":
		return d.name + " (" + d.logical + ")"
	case d.remote != "":
		return d.name + " (tunnel to " + d.remote + ")"
	}
	return d.name
}

// devices lists the ports of a node's bridges, by their OpenFlow numbers in br-int: those of others are not unique.
func devices(ctx context.Context, a access.Access, node string) (map[int]device, error) {
	text, err := access.Output(ctx, a, access.On(node), "ovs-vsctl", "--timeout=10", "--format=json", "--columns=name,ofport,external_ids,options", "list", "Interface")
	if err != nil {
		return nil, err
	}
	own, err := access.Output(ctx, a, access.On(node), "ovs-vsctl", "--timeout=10", "list-ifaces", names.IntegrationBridge)
	if err != nil {
		return nil, err
	}
	return parseDevices(text, strings.Fields(own))
}

func parseDevices(text string, own []string) (map[int]device, error) {
	var table struct{ Data [][]json.RawMessage }
	if err := json.Unmarshal([]byte(text), &table); err != nil {
		return nil, fmt.Errorf("read the list of interfaces: %w", err)
	}
	out := map[int]device{}
	for _, row := range table.Data {
		var name string
		var port int
		if len(row) != 4 || json.Unmarshal(row[0], &name) != nil || json.Unmarshal(row[1], &port) != nil || port < 0 || !slices.Contains(own, name) {
			continue
		}
		out[port] = device{name, pairsOf(row[2])[names.IfaceID], pairsOf(row[3])["remote_ip"]}
	}
	return out, nil
}

// pairsOf reads an OVSDB map: ["map",[["key","value"],…]], RFC 7047, section 5.1.
func pairsOf(text json.RawMessage) map[string]string {
	var parts []json.RawMessage
	var pairs [][2]string
	if json.Unmarshal(text, &parts) != nil || len(parts) != 2 || json.Unmarshal(parts[1], &pairs) != nil {
		return nil
	}
	out := map[string]string{}
	for _, p := range pairs {
		out[p[0]] = p[1]
	}
	return out
}

// ofproto asks the Open vSwitch of the node where a packet begins, and puts its answer into words. What comes by the external bridge is not followed.
func (t *tracer) ofproto(ctx context.Context, p *packet, from *place) ([]string, error) {
	node := from.node
	if from.own() {
		node = from.pod.Spec.NodeName
	}
	if t.NoFlows || node == "" || p.inport == names.ExternalLocalnetPort(node) {
		return nil, nil
	}
	ports, err := devices(ctx, t.Access, node)
	if err != nil {
		return nil, err
	}
	in := 0
	for number, d := range ports {
		if d.logical == p.inport {
			in = number
		}
	}
	if in == 0 {
		return nil, fmt.Errorf("no port of %s on node %s is plugged in for %s", names.IntegrationBridge, node, p.inport)
	}
	text, err := access.Output(ctx, t.Access, access.On(node), "ovs-appctl", "--timeout=20", "ofproto/trace", names.IntegrationBridge, p.openFlow(in, wire(string(t.Protocol))))
	if err != nil {
		return nil, err
	}
	f := parseFlows(text)
	if len(f.rounds) == 0 {
		return nil, fmt.Errorf("ofproto/trace of %s says nothing: %s", names.IntegrationBridge, text)
	}
	drops, err := t.deciding(ctx, f)
	if err != nil {
		return nil, err
	}
	return append([]string{fmt.Sprintf("comes in at port %d, %s", in, ports[in])}, f.tell(ports, drops)...), nil
}

// openFlow is the packet in the language of ovs-fields(7).
func (p *packet) openFlow(in int, protocol string) string {
	source, destination, ttl := "nw_src", "nw_dst", "nw_ttl"
	if !p.source.Addr().Is4() {
		source, destination, protocol = "ipv6_src", "ipv6_dst", protocol+"6"
	}
	return fmt.Sprintf("in_port=%d,%s,dl_src=%s,dl_dst=%s,%s=%s,%s=%s,%s=64,tp_src=%d,tp_dst=%d", in, protocol, p.sourceMAC, p.destinationMAC,
		source, p.source.Addr(), destination, p.destination.Addr(), ttl, p.source.Port(), p.destination.Port())
}

// decision is why a packet is dropped: by which flow of the last round, and the row that it comes from, where that is known.
type decision struct {
	flow *flow
	row  string
}

// deciding finds the flow by which a packet is dropped, nil if it is not: where one flow decides and a later one acts, the former.
func (t *tracer) deciding(ctx context.Context, f *flows) (decision, error) {
	last := f.rounds[len(f.rounds)-1]
	if last.datapath != "drop" || len(last.steps) == 0 {
		return decision{}, nil
	}
	out := decision{flow: &last.steps[len(last.steps)-1]}
	var hops []Hop
	var of []*flow
	for i := len(last.steps) - 1; i >= max(0, len(last.steps)-deciders); i-- {
		if s := &last.steps[i]; s.cookie != "" {
			hops, of = append(hops, Hop{UUID: s.cookie, Stage: "ls_in_acl"}), append(of, s)
		}
	}
	rows, err := t.rowsOf(ctx, hops)
	if err != nil {
		return decision{}, err
	}
	for i, h := range hops {
		if r := rows[h.UUID]; r != nil {
			return decision{of[i], describe(r)}, nil
		}
	}
	return out, nil
}

// deciders is how many of the last flows may have to do with the end of a packet.
const deciders = 3

// outputs are the actions that let a packet out, and what the trace says of tunnels.
var (
	outputAction = regexp.MustCompile(`^output:(\d+)$`)
	tunnelling   = regexp.MustCompile(`^-> tunneling to (\S+) via (\S+)$`)
	zones        = regexp.MustCompile(`ct\((?:[a-z]+,)*zone=(\d+)[^()]*\),recirc\(`)
)

// tell puts flows into words. Ports are those of br-int; drops is why the packet is dropped, if it is.
func (f *flows) tell(ports map[int]device, drops decision) []string {
	var out []string
	for i := range f.rounds {
		r := &f.rounds[i]
		if r.replaced != "" {
			out = append(out, "NAT: it is "+r.replaced+" now")
		}
		out = append(out, r.tell(ports)...)
		if m := zones.FindStringSubmatch(r.datapath); m != nil && i < len(f.rounds)-1 {
			out = append(out, fmt.Sprintf("%d flows, then connection tracking in zone %s", len(r.steps), m[1]))
		}
	}
	last := &f.rounds[len(f.rounds)-1]
	switch {
	case drops.flow != nil:
		s := drops.flow
		line := fmt.Sprintf("%d flows; dropped in table %s of %s", len(last.steps), s.table, s.bridge)
		if s.cookie != "" {
			line += ", flow 0x" + strings.TrimLeft(s.cookie, "0")
		}
		if drops.row != "" {
			line += ", " + drops.row
		}
		out = append(out, line)
	case strings.HasPrefix(last.datapath, "hash("), strings.Contains(last.datapath, ",hash("):
		out = append(out, "the load balancer's group chooses an endpoint by a hash of the packet: ofproto/trace does not go on from there")
	}
	return append(out, "datapath: "+shortened(last.datapath))
}

// tell says where a round lets the packet out.
func (r *round) tell(ports map[int]device) (out []string) {
	for _, s := range r.steps {
		for i, a := range s.actions {
			m := outputAction.FindStringSubmatch(a)
			switch {
			case m != nil && s.bridge == names.IntegrationBridge:
				number, _ := strconv.Atoi(m[1])
				line := fmt.Sprintf("table %s of %s: out at port %s", s.table, s.bridge, m[1])
				if d, ok := ports[number]; ok {
					line += ", " + d.String()
				}
				if i+2 < len(s.actions) {
					if t := tunnelling.FindStringSubmatch(s.actions[i+2]); t != nil {
						line += ", to " + t[1] + " by way of " + t[2]
					}
				}
				out = append(out, line)
			case m != nil:
				out = append(out, fmt.Sprintf("table %s of %s: out at port %s", s.table, s.bridge, m[1]))
			case strings.HasPrefix(a, "controller("):
				out = append(out, fmt.Sprintf("table %s of %s: to ovn-controller", s.table, s.bridge))
			}
		}
	}
	return out
}

// longest is how much of the datapath's actions is shown, in bytes.
const longest = 200

func shortened(actions string) string {
	if len(actions) > longest {
		return actions[:longest] + "…"
	}
	return cmp.Or(actions, "nothing")
}
