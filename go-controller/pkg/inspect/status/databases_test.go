package status

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// server is a member in the text of cluster/status, of node1, node2 or another machine.
type server struct {
	id, address string
	// heard is how long ago; negative for the member that answers.
	heard time.Duration
	match int
}

const self = -1

var (
	one   = server{"1111", "172.18.0.11", self, 7}
	two   = server{"2222", "172.18.0.12", time.Second, 7}
	three = server{"3333", "172.18.0.13", time.Second, 7}
)

func (s server) silent() server          { s.heard = time.Hour; return s }
func (s server) self() server            { s.heard = self; return s }
func (s server) at(match int) server     { s.match = match; return s }
func (s server) called(id string) server { s.id = id; return s }
func (s server) asked(role, leader, status string, others ...server) string {
	b := fmt.Sprintf("%s\nName: OVN_Northbound\nCluster ID: aaaa (aaaa-1)\nServer ID: %s (%s-1)\nAddress: ssl:%s:6643\nStatus: %s\nRole: %s\nTerm: 4\nLeader: %s\n\nElection timer: 1000\nLog: [2, 8]\nServers:\n",
		s.id, s.id, s.id, s.address, status, role, leader)
	for i := range others {
		if others[i].heard == self {
			others[i].heard = time.Second
		}
	}
	for _, m := range append(others, s.self()) {
		b += fmt.Sprintf("    %s (%s at ssl:%s:6643)", m.id, m.id, m.address)
		if m.heard == self {
			b += " (self)"
		}
		if role == "leader" {
			b += fmt.Sprintf(" next_index=8 match_index=%d", m.match)
		}
		if m.heard != self {
			b += fmt.Sprintf(" last msg %d ms ago", m.heard.Milliseconds())
		}
		b += "\n"
	}
	return b
}

const well = "cluster member"

// What a cluster says is told with the names of nodes; a follower's word is not enough.
func TestCluster(t *testing.T) {
	leader := two.asked("leader", "self", well, one.at(5), three)
	for _, c := range []struct {
		name string
		// any is what a server says that is asked without saying which, named what node2's does.
		any, named string
		state      State
		detail     string
		next       string
		members    []Member
	}{
		{"well, asked the leader", one.asked("leader", "self", well, two, three), "", OK, "cluster of 3, leader node1, term 4", "", nil},
		{"well, asked a follower, then the leader", one.asked("follower", "2222", well, two, three.silent()), leader, OK, "cluster of 3, leader node2, term 4", "", []Member{
			{"3333 (ssl:172.18.0.13:6643)", "ssl:172.18.0.13:6643", "follower", new(uint64(0))}, {"node1", "ssl:172.18.0.11:6643", "follower", new(uint64(2))}, {"node2", "ssl:172.18.0.12:6643", "leader", new(uint64(0))}}},
		{"a member is silent", one.asked("leader", "self", well, two.silent(), three), "", Degraded, "cluster of 3, leader node1, term 4, not heard of: node2", "on node2", nil},
		{"a member is silent, asked a follower", one.asked("follower", "2222", well, two, three), two.asked("leader", "self", well, one, three.silent()), Degraded,
			"leader node2, term 4, not heard of: 3333 (ssl:172.18.0.13:6643)", "docs/databases.md", nil},
		{"a follower, whose leader cannot be asked", one.asked("follower", "2222", well, two, three.silent()), "", Unknown, "node1 answers, and lost members are known to the leader only", "leader", nil},
		{"a follower, whose leader runs elsewhere", one.asked("follower", "3333", well, two, three), "", Unknown, "which cannot be asked: database nb on 172.18.0.13", "leader", nil},
		{"one was replaced, and is still counted", one.asked("leader", "self", well, two, two.called("4444").silent()), "", Degraded, "not heard of: node2 4444 (ssl:172.18.0.12:6643)", "replace", nil},
		{"a member leaves", one.asked("leader", "self", "leaving cluster", two, three), "", Degraded, "node1: leaving cluster", "log of the database on node1", nil},
		{"no leader", one.asked("candidate", "unknown", well, two.silent(), three), "", Failed, "no leader: cluster member; node1 has not heard of node2", "start the members", nil},
		{"not understood", "Name: x\n", "", Degraded, "cluster status lacks", "ovnkube db status nb", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.access.Answers[`["_Server"`] = strings.ReplaceAll(standalone, "standalone", "clustered")
			w.access.Answers["database nb: ovs-appctl"] = c.any
			if c.named != "" {
				w.access.Answers["database nb on node2: ovs-appctl"] = c.named
			}
			r := w.read(t)
			f := r.Findings[0]
			if f.Part != "nb database" || f.State != c.state || !strings.Contains(f.Detail, c.detail) || !strings.Contains(f.Next, c.next) || (f.Next == "") != (c.state == OK) {
				t.Errorf("%+v, want %s, %q, next %q", f, c.state, c.detail, c.next)
			}
			if c.members != nil {
				if diff := cmp.Diff(c.members, r.Databases[0].Members); diff != "" {
					t.Errorf("members (-want +got):\n%s", diff)
				}
			}
		})
	}
}
