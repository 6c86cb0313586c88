// Package trace answers why one end of a connection can or cannot reach another: what the network policies say, what OVN does with the
// first packet, and which object it is that decides.
package trace

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy/oracle"
)

// Options are what a trace depends on besides its ends.
type Options struct {
	Objects *inspect.Objects
	NB      *database.Snapshot
	Access  access.Access
	// Namespace is that of ends that are named without one.
	Namespace string
	// Protocol is TCP, UDP or SCTP.
	Protocol corev1.Protocol
	// IPv6 makes ends that are given by name have their IPv6 addresses. Else these are those of IPv4, or of the only family that they have.
	IPv6 bool
	// Via is the node by which packets from outside come in; empty means that of the destination.
	Via string
	// NoFlows leaves out what the flows of the node do where the packet begins.
	NoFlows bool
}

// Report is the answer.
type Report struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Protocol string `json:"protocol"`
	// Address is where the packets are sent to, ADDRESS:PORT.
	Address string `json:"address"`
	// Connections has one for each endpoint of a service, else one.
	Connections []Connection `json:"connections"`
	// Arrives tells whether all of them do.
	Arrives bool `json:"arrives"`
	// Unknown: of some it cannot be told, and no other one fails to arrive.
	Unknown bool   `json:"unknown,omitempty"`
	Verdict string `json:"verdict"`
}

// Connection is what happens to one.
type Connection struct {
	// Endpoint is ADDRESS:PORT behind a service, and Name whose that is.
	Endpoint string `json:"endpoint,omitempty"`
	Name     string `json:"name,omitempty"`
	// Allowed is what the network policies say, Why how they come to it.
	Allowed bool     `json:"allowed"`
	Why     []string `json:"why"`
	// Fate is what OVN does: delivered, leaves (by the external bridge), dropped, rejected; Path how.
	Fate string   `json:"fate"`
	Path []string `json:"path"`
	// Flows is what the Open vSwitch of the node does where the packet begins, as far as that node; FlowsUnknown why it cannot be told.
	Flows        []string `json:"flows,omitempty"`
	FlowsUnknown string   `json:"flowsUnknown,omitempty"`
	Arrives      bool     `json:"arrives"`
	Unknown      bool     `json:"unknown,omitempty"`
	Verdict      string   `json:"verdict"`
}

type tracer struct {
	Options
	v4      bool
	cluster *oracle.Cluster
	flows   *inspect.Flows
}

// Trace follows the first packet of a connection between two ends: a pod, node or address, and a pod, service, node or address with a port.
func Trace(ctx context.Context, o Options, source, destination string) (*Report, error) {
	t := &tracer{Options: o, v4: !o.IPv6, cluster: newCluster(o.Objects), flows: inspect.NewFlows(o.Access)}
	from, to, err := t.ends(source, destination)
	if err != nil {
		return nil, err
	}
	if from.service != nil {
		return nil, fmt.Errorf("source %s: connections do not come from services", from)
	}
	if from.address.Is4() != to.address.Is4() {
		return nil, fmt.Errorf("%s and %s are not of one family", from.address, to.address)
	}
	if err := t.choosePort(to); err != nil {
		return nil, err
	}
	r := &Report{From: from.String(), To: to.String(), Protocol: string(o.Protocol), Address: netip.AddrPortFrom(to.address, to.port).String()}
	endpoints, only, err := t.endpoints(from, to)
	if err != nil {
		return nil, err
	}
	for _, e := range endpoints {
		c, err := t.connection(ctx, leg{from: from, to: to, endpoint: e, several: len(endpoints) > 1})
		if err != nil {
			return nil, err
		}
		r.Connections = append(r.Connections, *c)
	}
	r.conclude(only, to)
	return r, nil
}

// conclude sums up. Node is where the connection begins, if the endpoints depend on it.
func (r *Report) conclude(node string, to *place) {
	if len(r.Connections) == 0 {
		r.Verdict = fmt.Sprintf("rejected: %s has no endpoint that is ready for port %d", to, to.port)
		if node != "" {
			r.Verdict += ", for what comes from node " + node
		}
		return
	}
	arrive, unknown := 0, 0
	for _, c := range r.Connections {
		switch {
		case c.Arrives:
			arrive++
		case c.Unknown:
			unknown++
		}
	}
	r.Arrives, r.Unknown = arrive == len(r.Connections), unknown > 0 && arrive+unknown == len(r.Connections)
	r.Verdict = r.Connections[0].Verdict
	if len(r.Connections) > 1 {
		r.Verdict = fmt.Sprintf("%d of %d endpoints are reached", arrive, len(r.Connections))
		for _, c := range r.Connections {
			if !c.Arrives {
				r.Verdict += fmt.Sprintf("; %s (%s): %s", c.Endpoint, c.Name, c.Verdict)
				break
			}
		}
	}
}

// choosePort takes the only port that there is, when none was given.
func (t *tracer) choosePort(to *place) error {
	var ports []string
	var only uint16
	offer := func(protocol corev1.Protocol, port uint16) {
		if protocol == t.Protocol {
			ports, only = append(ports, fmt.Sprint(port)), port
		}
	}
	switch {
	case to.port != 0 && to.service == nil:
		return t.noNodePort(to)
	case to.service != nil:
		for _, p := range to.service.Ports {
			if p.Port == to.port && p.Protocol == t.Protocol {
				return nil
			}
			offer(p.Protocol, p.Port)
		}
	case to.pod != nil:
		for _, p := range kube.NewPod(to.pod).Ports {
			offer(p.Protocol, p.Port)
		}
	}
	switch {
	case to.port != 0:
		return fmt.Errorf("%s has no port %d/%s; it has %s", to, to.port, t.Protocol, strings.Join(append(ports, "no other"), ", "))
	case len(ports) != 1:
		return fmt.Errorf("which port of %s? Add :PORT (%s ports that it names: %s)", to, t.Protocol, strings.Join(append(ports, "no other"), ", "))
	}
	to.port = only
	return nil
}

// noNodePort refuses node ports: ovn-trace does not know the template variables that stand for nodes' addresses.
func (t *tracer) noNodePort(to *place) error {
	if to.node == "" || to.pod != nil {
		return nil
	}
	for i := range t.Objects.Services {
		s := kube.NewService(&t.Objects.Services[i])
		for _, p := range s.Ports {
			if p.NodePort == to.port && p.Protocol == t.Protocol {
				return fmt.Errorf("port %d is a node port of service %s: ovn-trace cannot follow those, trace service/%s:%d instead", to.port, s.Key(), s.Key(), p.Port)
			}
		}
	}
	return nil
}

// leg is a connection, and the endpoint behind its destination, nil where there is none, that is to be followed, of several or the only one.
type leg struct {
	from, to, endpoint *place
	several            bool
}

// connection follows the packet to the destination, or to that endpoint behind it.
func (t *tracer) connection(ctx context.Context, l leg) (*Connection, error) {
	from, to, end, c := l.from, l.to, l.to, &Connection{}
	if l.endpoint != nil {
		end = l.endpoint
		c.Endpoint, c.Name = netip.AddrPortFrom(end.address, end.port).String(), end.String()
	}
	p, err := t.first(from, to, t.entry(end))
	if err != nil {
		return nil, err
	}
	flow := oracle.Flow{From: oracleEnd(from), To: oracleEnd(end), Protocol: t.Protocol, Port: end.port}
	flow.From.Address = p.source.Addr()
	if from.node != "" && to.service != nil { // The gateway router is what the endpoint sees, unless it is on the node itself.
		flow.From.Address = from.address
	}
	wanted := t.cluster.Judge(flow)
	c.Allowed, c.Why = wanted.Allowed, strings.Split(wanted.Why, "; ")
	s, err := t.way(ctx, p, l)
	if err != nil {
		return nil, err
	}
	c.Fate, c.Path = s.fate, s.path
	var unknown error
	if c.Flows, unknown = t.ofproto(ctx, p, from); unknown != nil {
		c.FlowsUnknown = unknown.Error()
	}
	t.judge(c, s, wanted, flow, end)
	return c, nil
}

// way is what OVN does with a packet.
func (t *tracer) way(ctx context.Context, p *packet, l leg) (*story, error) {
	endpoint := l.endpoint
	if endpoint == nil {
		return t.follow(ctx, p, l, nil)
	}
	balancer := t.balancer(l)
	if balancer == nil {
		by := fmt.Sprintf("OVN: no load balancer leads from %s to the endpoint", netip.AddrPortFrom(l.to.address, l.to.port))
		return &story{fate: Rejected, by: by, path: []string{by}}, nil
	}
	if !l.several {
		return t.follow(ctx, p, l, nil)
	}
	s, err := t.follow(ctx, p, l, endpoint)
	if err == nil { // When it is told the endpoint, ovn-trace does not show the load balancer.
		s.path = slices.Insert(s.path, 0, "the destination becomes "+netip.AddrPortFrom(endpoint.address, endpoint.port).String()+", by "+describe(balancer))
	}
	return s, err
}

func (t *tracer) follow(ctx context.Context, p *packet, l leg, chosen *place) (*story, error) {
	hops, err := t.ovn(ctx, p, chosen)
	if err != nil {
		return nil, err
	}
	if hops, err = t.onwards(ctx, p, l, hops); err != nil {
		return nil, err
	}
	return t.tell(ctx, hops)
}

// entry is the node by which packets from outside come in.
func (t *tracer) entry(end *place) string {
	switch {
	case t.Via != "":
		return t.Via
	case end.pod != nil:
		return end.pod.Spec.NodeName
	}
	return end.node
}

// connectionStates is how many times a packet may meet connection tracking; ovn-trace takes it for one of an established connection
// when it is not told otherwise.
const connectionStates = 24

// patience is how many seconds ovn-trace may take, which for itself would wait for a database for ever.
const patience = "60"

// ovn asks ovn-trace.
func (t *tracer) ovn(ctx context.Context, p *packet, endpoint *place) ([]Hop, error) {
	args := []string{"--detailed", "--no-leader-only"}
	for range connectionStates {
		args = append(args, "--ct=new")
	}
	if endpoint != nil {
		args = append(args, "--lb-dst="+netip.AddrPortFrom(endpoint.address, endpoint.port).String())
	}
	args = append(args, p.microflow(wire(string(t.Protocol))))
	sb := ovndb.SB()
	text, err := access.Output(ctx, t.Access, access.Beside(sb), database.Shell(sb, `exec timeout `+patience+` ovn-trace --db="$db" "$@"`, args...)...)
	if err != nil {
		return nil, err
	}
	hops := parse(text)
	if len(hops) == 0 {
		return nil, fmt.Errorf("ovn-trace says nothing of packet %s: %s", p.microflow(wire(string(t.Protocol))), text)
	}
	return hops, nil
}
