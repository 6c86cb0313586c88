package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/selector"
)

// Options are what a policy's rows depend on besides the policy.
type Options struct {
	Families Families
	Logging  Logging
	// Numbers returns what a name for a port means on selected pods: each number once, in order.
	Numbers func(selector.Selector, selector.PortName) []uint16
}

// Result is what a policy wants.
type Result struct {
	// Desired are the policy's ACLs, as members of the groups below.
	nbstate.Desired
	// Groups are the pods that the ACLs are for; each needs its GroupRows. The first is that of all pods of the policy.
	Groups []selector.Selector
	// Peers are the pods that the ACLs name as the other end; each needs its PeerRows.
	Peers []selector.Selector
}

// Rows is a policy's ACLs. They depend on which pods there are only by the numbers that names of ports stand for.
func Rows(p *Policy, o Options) Result {
	t := translation{policy: p, Options: o, acls: map[string]int{}, groups: map[string]bool{}, peers: map[string]bool{}}
	t.needGroup(p.Pods)
	for i := range p.Rules {
		t.rule(&p.Rules[i])
	}
	for i := range t.lines {
		t.write(&t.lines[i])
	}
	return t.result
}

// line is one ACL to be.
type line struct {
	rule  *Rule
	rules []int // that say this
	pods  selector.Selector
	// others and ports are parts of the match; empty: all.
	others, ports string
	// peers are those that others names.
	peers []selector.Selector
	// about tells ACLs of one rule apart: a number of a named port.
	about string
	// group and match are made of the rest.
	group, match string
}

type translation struct {
	Options
	policy *Policy
	result Result
	lines  []line
	acls   map[string]int // index in lines by what is matched
	// groups and peers are the texts of those of the result.
	groups, peers map[string]bool
}

func (t *translation) rule(r *Rule) {
	others, any := "", true
	if !r.Everybody {
		others, any = t.Families.peers(r.field(), r.Peers, r.Blocks)
	}
	if any && r.Ports.All {
		t.line(line{rule: r, pods: t.policy.Pods, others: others, peers: r.Peers})
	}
	if ports, some := portRanges(r.Ports.Ranges); any && some {
		t.line(line{rule: r, pods: t.policy.Pods, others: others, peers: r.Peers, ports: ports})
	}
	for _, name := range r.Ports.Names {
		switch {
		case r.Ingress && any:
			t.ingressByName(r, others, name)
		case !r.Ingress:
			t.egressByName(r, name)
		}
	}
}

func (r *Rule) field() string {
	if r.Ingress {
		return "src"
	}
	return "dst"
}

// ingressByName: the name is that of a port of the policy's own pods, so each number has a group of pods.
func (t *translation) ingressByName(r *Rule, others string, name selector.PortName) {
	for _, number := range t.Numbers(t.policy.Pods, name) {
		port := selector.Port{PortName: name, Number: number}
		t.line(line{rule: r, pods: t.policy.Pods.WithPort(port), others: others, peers: r.Peers, ports: portNumber(name.Protocol, number)})
	}
}

// egressByName: the name is that of a port of the other end, so each number has other pods at the other end. Addresses that are no pod's
// have no named ports.
func (t *translation) egressByName(r *Rule, name selector.PortName) {
	byNumber := map[uint16][]selector.Selector{}
	var numbers []uint16
	for _, pods := range r.destinations(t.policy.Pods) {
		for _, number := range t.Numbers(pods, name) {
			byNumber[number] = append(byNumber[number], pods)
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	for _, number := range slices.Compact(numbers) {
		port := selector.Port{PortName: name, Number: number}
		l := line{rule: r, pods: t.policy.Pods, ports: portNumber(name.Protocol, number), about: fmt.Sprintf("%s=%d", name, number)}
		var terms []string
		var whole []selector.Selector
		for _, pods := range byNumber[number] {
			pods = pods.WithPort(port)
			if !r.whole(pods) {
				if within, any := t.Families.podsWithin(r.field(), pods, r.Blocks); any {
					terms, l.peers = append(terms, within), append(l.peers, pods)
				}
				continue
			}
			whole = append(whole, pods)
		}
		if is, any := t.Families.peers(r.field(), whole, nil); any {
			terms, l.peers = append(terms, is), append(l.peers, whole...)
		}
		if l.others = anyOf(terms); l.others != "" {
			t.line(l)
		}
	}
}

// whole tells whether all pods of a selector among the rule's destinations are meant, not only those within its blocks.
func (r *Rule) whole(pods selector.Selector) bool {
	pods.Port = nil
	return r.Everybody || r.names(pods)
}

func (t *translation) needPeers(pods ...selector.Selector) {
	for _, p := range pods {
		if text := p.String(); !t.peers[text] {
			t.peers[text] = true
			t.result.Peers = append(t.result.Peers, p)
		}
	}
}

func (t *translation) needGroup(pods selector.Selector) {
	if text := pods.String(); !t.groups[text] {
		t.groups[text] = true
		t.result.Groups = append(t.result.Groups, pods)
	}
}

// line adds an ACL, or a rule to the ACL that says the same already.
func (t *translation) line(l line) {
	l.group = names.PolicyPortGroup(l.pods.String())
	l.match = l.says()
	if i, ok := t.acls[l.match]; ok {
		if of := &t.lines[i]; !slices.Contains(of.rules, l.rule.Index) {
			of.rules = append(of.rules, l.rule.Index)
		}
		return
	}
	t.acls[l.match] = len(t.lines)
	l.rules = []int{l.rule.Index}
	t.lines = append(t.lines, l)
}

// says is the match. Its first field tells directions apart.
func (l *line) says() string {
	parts := []string{end(l.rule.Ingress) + " == @" + l.group}
	for _, part := range []string{l.others, l.ports} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 1 {
		parts = append(parts, "ip")
	}
	return strings.Join(parts, " && ")
}

// end is the field that says which pod an ACL is for.
func end(ingress bool) string {
	if ingress {
		return "outport"
	}
	return "inport"
}

func (t *translation) write(l *line) {
	t.needGroup(l.pods)
	t.needPeers(l.peers...)
	p, d := t.policy, direction(l.rule.Ingress)
	id := fmt.Sprintf("NP:%s:%s:%s:%d:%s", p.Namespace, p.Name, d, l.rule.Index, l.group)
	if l.about != "" {
		id += ":" + l.about
	}
	name := aclName(p.Namespace+":"+p.Name, fmt.Sprintf("%s:%d", d, l.rule.Index))
	acl := newACL(l.rule.Ingress, nbdb.ACLActionAllowRelated, names.ACLPolicyAllow, l.match)
	t.Logging.apply(acl, name, t.Logging.Allow)
	acl.ExternalIDs = map[string]string{names.ACLDirectionKey: d, names.ACLRulesKey: joinInts(l.rules)}
	t.result.Rows = append(t.result.Rows, nbstate.Row{ID: id, Model: acl})
	t.result.Members = append(t.result.Members, member(nbdb.PortGroupTable, l.group, "acls", id))
}

// newACL makes a rule for what is sent to pods, or for what they send: that one is applied after load balancing, to the real endpoint.
func newACL(ingress bool, action nbdb.ACLAction, priority int, match string) *nbdb.ACL {
	acl := &nbdb.ACL{Action: action, Direction: nbdb.ACLDirectionToLport, Priority: priority, Match: match}
	if !ingress {
		acl.Direction, acl.Options = nbdb.ACLDirectionFromLport, map[string]string{"apply-after-lb": "true"}
	}
	return acl
}

// maxACLName is what the schema allows; ovn-nb(5), ACL name.
const maxACLName = 63

// aclName is what log messages show. What is too long is cut in the middle: the end says which rule it is.
func aclName(object, what string) string {
	name := "NP:" + object
	if room := maxACLName - len(what) - 1; len(name) > room {
		name = name[:room]
	}
	return name + ":" + what
}

func member(table, parent, column, value string) nbstate.Member {
	return nbstate.Member{Parent: nbstate.Key{Table: table, ID: parent}, Column: column, Value: value}
}

func joinInts(in []int) string {
	var out []string
	for _, i := range in {
		out = append(out, strconv.Itoa(i))
	}
	return strings.Join(out, ",")
}
