package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Limits of looking into nodes: how many at a time, and how long each may take.
const (
	looksAtOnce = 16
	lookTime    = 15 * time.Second
)

// Versions are those of the programs that run on a node; empty is what could not be asked.
type Versions struct {
	OVNKube string `json:"ovnkube,omitempty"`
	// OVS is ovs-vswitchd's, OVN ovn-controller's.
	OVS string `json:"ovs,omitempty"`
	OVN string `json:"ovn,omitempty"`
}

// Tunnel leads from a node to another one.
type Tunnel struct {
	Node   string `json:"node"`
	Remote string `json:"remote"`
	// State is up, down or missing. Up: there is a way for packets; whether they arrive the other end knows.
	State string `json:"state"`
	// Error is what Open vSwitch says of it.
	Error string `json:"error,omitempty"`
	// Received and Sent are packets since Open vSwitch was started.
	Received int `json:"received"`
	Sent     int `json:"sent"`
}

// States of tunnels.
const (
	tunnelUp      = "up"
	tunnelDown    = "down"
	tunnelMissing = "missing"
)

// lookScript tells on a node, a line each, of the versions and, as JSON, of the tunnels. The socket of an agent that has ended is not in
// the kernel's list any more: proc_net(5).
const lookScript = `echo "ovnkube $(ovnkube --version 2>/dev/null)"
echo "ovs $(ovs-appctl --timeout=5 version 2>/dev/null)"
echo "ovn $(ovn-appctl --timeout=5 -t ovn-controller version 2>/dev/null)"
grep -q ' ` + names.CNISocket + `$' /proc/net/unix && echo "agent listens"
echo "tunnels $(ovs-vsctl --timeout=5 --format=json --columns=options,link_state,error,statistics find Interface type=geneve)"`

// seen is what a look into a node has found.
type seen struct {
	versions Versions
	listens  bool
	// ovsSilent: ovsdb-server does not answer, which alone knows the tunnels.
	ovsSilent bool
	tunnels   []tunnelRow
}

// tunnelRow is a row of Interface: ovs-vswitchd.conf.db(5).
type tunnelRow struct {
	remote           netip.Addr
	linkState, error string
	received, sent   int
}

// look looks into all nodes that are registered.
func (r *Reader) look(ctx context.Context, nodes []Node) {
	var group errgroup.Group
	group.SetLimit(looksAtOnce)
	found := make([]*seen, len(nodes))
	for i := range nodes {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, lookTime)
			defer cancel()
			text, err := access.Output(ctx, r.Access, access.On(nodes[i].Name), "sh", "-c", lookScript)
			if err == nil {
				found[i], err = parseLook(text)
			}
			if err != nil {
				nodes[i].NotSeen = firstLine(err.Error())
			}
			return nil
		})
	}
	_ = group.Wait() // What could not be looked into says so itself.
	for i, s := range found {
		if s != nil {
			nodes[i].saw(s, nodes)
		}
	}
}

func parseLook(text string) (*seen, error) {
	s := &seen{}
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "ovnkube": // ovnkube version VERSION REVISION
			_, s.versions.OVNKube, _ = strings.Cut(rest, "version ")
		case "ovs":
			s.versions.OVS = last(rest)
		case "ovn":
			s.versions.OVN = last(rest)
		case "agent":
			s.listens = true
		case "tunnels":
			if s.ovsSilent = rest == ""; s.ovsSilent {
				continue
			}
			if err := s.parseTunnels(rest); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func last(words string) string {
	all := strings.Fields(words)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// parseTunnels reads the rows of lookScript's columns, in the format of RFC 7047, 5.1.
func (s *seen) parseTunnels(text string) error {
	var table struct{ Data [][]json.RawMessage }
	if err := json.Unmarshal([]byte(text), &table); err != nil {
		return fmt.Errorf("tunnels %q: %w", text, err)
	}
	for _, row := range table.Data {
		if len(row) != 4 {
			return errors.New("tunnels: unexpected columns")
		}
		options, counts := map[string]string{}, map[string]int{}
		if err := errors.Join(parseMap(row[0], options), parseMap(row[3], counts)); err != nil {
			return fmt.Errorf("tunnels: %w", err)
		}
		remote, err := netip.ParseAddr(options["remote_ip"])
		if err != nil {
			continue // Somebody else's, to wherever its flows say.
		}
		out := tunnelRow{remote: remote, received: counts["rx_packets"], sent: counts["tx_packets"]}
		_ = json.Unmarshal(row[1], &out.linkState) // An empty set, where they are not known.
		_ = json.Unmarshal(row[2], &out.error)
		s.tunnels = append(s.tunnels, out)
	}
	return nil
}

// parseMap reads ["map", [[KEY, VALUE], …]].
func parseMap[V any](text json.RawMessage, into map[string]V) error {
	var word string
	var pairs [][2]json.RawMessage
	if err := json.Unmarshal(text, &[]any{&word, &pairs}); err != nil {
		return err
	}
	for _, pair := range pairs {
		var key string
		var value V
		if err := errors.Join(json.Unmarshal(pair[0], &key), json.Unmarshal(pair[1], &value)); err != nil {
			return err
		}
		into[key] = value
	}
	return nil
}

// saw takes over what was found on a node; with the others it makes the tunnels that there should be.
func (n *Node) saw(s *seen, nodes []Node) {
	n.Versions = &s.versions
	if n.agentIsProcess && !s.listens {
		n.Agent = "the agent does not run"
	}
	if s.ovsSilent {
		n.OpenVSwitch = "Open vSwitch does not answer"
		return
	}
	for i := range nodes {
		other := &nodes[i]
		if other.Name == n.Name || !other.Registered || !n.Registered {
			continue
		}
		tunnels := make([]Tunnel, 0, len(other.Tunnels))
		for _, end := range other.Tunnels {
			tunnels = append(tunnels, s.tunnel(other.Name, last(end)))
		}
		if there := slices.DeleteFunc(slices.Clone(tunnels), func(t Tunnel) bool { return t.State == tunnelMissing }); len(there) > 0 {
			tunnels = there // One of a node's addresses is enough.
		}
		n.TunnelsTo = append(n.TunnelsTo, tunnels...)
	}
}

func (s *seen) tunnel(node, end string) Tunnel {
	out := Tunnel{Node: node, Remote: end, State: tunnelMissing}
	at := slices.IndexFunc(s.tunnels, func(r tunnelRow) bool { return r.remote.String() == end })
	if at < 0 {
		return out
	}
	r := s.tunnels[at]
	out.State, out.Error, out.Received, out.Sent = tunnelUp, r.error, r.received, r.sent
	if r.error != "" || r.linkState == "down" {
		out.State = tunnelDown
	}
	return out
}

// badTunnel is the first one that is not up.
func (n *Node) badTunnel() string {
	at := slices.IndexFunc(n.TunnelsTo, func(t Tunnel) bool { return t.State != tunnelUp })
	if at < 0 {
		return ""
	}
	t := n.TunnelsTo[at]
	if t.State == tunnelMissing {
		return fmt.Sprintf("no tunnel to %s (%s)", t.Node, t.Remote)
	}
	return strings.TrimSuffix(fmt.Sprintf("the tunnel to %s (%s) is down: %s", t.Node, t.Remote, t.Error), ": ")
}

// tunnelsUp sums the tunnels up.
func (n *Node) tunnelsUp() string {
	if n.Versions == nil || n.OpenVSwitch != "" {
		return ""
	}
	up := 0
	for _, t := range n.TunnelsTo {
		if t.State == tunnelUp {
			up++
		}
	}
	return fmt.Sprintf("%d of %d", up, len(n.TunnelsTo))
}
