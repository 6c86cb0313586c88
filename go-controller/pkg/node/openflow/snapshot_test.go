package openflow

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const written = `# ports
OFPST_PORT_DESC reply (OF1.5) (xid=0x2):
 1(eth0-a): addr:0a:58:0a:80:02:04
     config:     0
     state:      LIVE
 LOCAL(br-int): addr:ae:6d:d2:6d:3d:43
# options
NXT_TLV_TABLE_REPLY (xid=0x2):
 max option space=256 max fields=64
 mapping table:
  class  type  length  match field
 ------  ----  ------  --------------
  0x102  0x80       4  tun_metadata0
# groups
OFPST_GROUP_DESC reply (OF1.5) (xid=0x2):
 group_id=2,type=select,selection_method=dp_hash,bucket=bucket_id:0,weight:100,actions=ct(commit,table=16)
# meters
OFPST_METER_CONFIG reply (OF1.5) (xid=0x2):
meter=1 pktps burst stats bands=
type=drop rate=10 burst_size=20
type=drop rate=30 burst_size=40
# flows
 cookie=0xf6c4a1b2, table=0, priority=100,in_port=1 actions=load:0x1->NXM_NX_REG13[],resubmit(,8)
 table=8, priority=0 actions=drop
`

// What Open vSwitch says becomes what it takes.
func TestParseSnapshot(t *testing.T) {
	s, err := parseSnapshot([]byte(written))
	if err != nil {
		t.Fatal(err)
	}
	want := &snapshot{
		ports:   map[string]string{"eth0-a": "1", "br-int": "LOCAL"},
		options: []string{"{class=0x102,type=0x80,len=4}->tun_metadata0"},
		groups:  []string{"group_id=2,type=select,selection_method=dp_hash,bucket=bucket_id:0,weight:100,actions=ct(commit,table=16)"},
		meters:  []string{"meter=1,pktps,burst,stats,bands=type=drop,rate=10,burst_size=20,type=drop,rate=30,burst_size=40"},
		flows: []string{
			"cookie=0xf6c4a1b2, table=0, priority=100,in_port=1 actions=load:0x1->NXM_NX_REG13[],resubmit(,8)",
			"table=8, priority=0 actions=drop",
		},
	}
	if d := cmp.Diff(want, s, cmp.AllowUnexported(snapshot{})); d != "" {
		t.Error(d)
	}
	marked := "cookie=0x9,table=0, priority=100,in_port=1 actions=load:0x1->NXM_NX_REG13[],resubmit(,8)\ncookie=0x9,table=8, priority=0 actions=drop\n"
	if d := cmp.Diff(marked, s.marked(9).String()); d != "" {
		t.Error(d)
	}
	if got := s.learned(); len(got) > 0 {
		t.Errorf("flows are learned in %v, want none", got)
	}
	s.flows = append(s.flows, "table=18, actions=learn(table=78,idle_timeout=30,delete_learned,cookie=0x1),learn(table=5,OXM_OF_METADATA[]),resubmit(,78)")
	if d := cmp.Diff([]int{78, 5}, s.learned()); d != "" {
		t.Error(d)
	}
	if _, err := parseSnapshot([]byte(written[:300])); err == nil {
		t.Error("half a copy passes for a whole one")
	}
}

// A controller that removes everything before it writes is told from one that has written already.
func TestCountSeen(t *testing.T) {
	const ours, theirs = 9, 7
	change := func(event uint16, cookie uint64) []byte {
		b := make([]byte, updateLength)
		binary.BigEndian.PutUint16(b, updateLength)
		binary.BigEndian.PutUint16(b[updateEvent:], event)
		binary.BigEndian.PutUint64(b[updateCookie:], cookie)
		return b
	}
	const added, modified = 0, 2
	learned := func(b []byte) []byte {
		b[updateTable] = 78
		return b
	}
	judged := allTables().without([]int{78})
	for _, tc := range []struct {
		name    string
		changes [][]byte
		want    changesSeen
	}{
		{"nothing", nil, changesSeen{}},
		{"what is given back", [][]byte{change(added, ours), change(added, ours)}, changesSeen{}},
		{"a controller that comes later", [][]byte{change(eventDeleted, ours), change(added, theirs)}, changesSeen{gone: 1, written: 1, first: seenGone}},
		{"one that was there already", [][]byte{change(added, ours), change(modified, theirs), change(eventDeleted, ours)}, changesSeen{gone: 1, written: 1, first: seenWritten}},
		{"a client through a flow that learns", [][]byte{learned(change(added, theirs)), learned(change(eventDeleted, theirs))}, changesSeen{gone: 1, written: 1}},
		{"a learned flow that ends", [][]byte{learned(change(eventDeleted, ours))}, changesSeen{gone: 1}},
		{"a controller after a client", [][]byte{learned(change(added, theirs)), change(eventDeleted, ours)}, changesSeen{gone: 1, written: 1, first: seenGone}},
		{"one that begins anew", [][]byte{change(eventDeleted, theirs), change(added, theirs)}, changesSeen{gone: 1, written: 1, first: seenGone}},
	} {
		body := make([]byte, updatesOffset)
		for _, c := range tc.changes {
			body = append(body, c...)
		}
		if got := countSeen(ours, &judged, body); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// Flows that were given back, and those that they make, are told from a controller's.
func TestOthersFlow(t *testing.T) {
	for line, want := range map[string]bool{
		"OFPST_FLOW reply (OF1.5) (xid=0x2):":                                           false,
		" cookie=0x9, table=8, priority=5,ip actions=drop":                              false,
		" cookie=0x90, table=8, priority=5,ip actions=drop":                             true,
		" cookie=0x9, priority=5 actions=learn(table=78,cookie=0x7)":                    false,
		" cookie=0x7, table=78, idle_timeout=30, tcp,metadata=0x1 actions=load:0x1->[]": false,
		" cookie=0x7, table=7, tcp actions=resubmit(,78),learn(table=78,cookie=0x9)":    true,
		" priority=5 actions=drop":                                                      true,
	} {
		if got := othersFlow(line, 9, []int{78}); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

// A copy that fails is made again later and later, and one that succeeds ends that.
func TestCopiesThatFail(t *testing.T) {
	s := guarding{Guard: &Guard{}}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		s.changed = time.Time{}
		s.failed(t.Context(), errors.New("no space left on device"))
		if s.pause != want*time.Second || s.changed.IsZero() {
			t.Errorf("the next one is after %v (%v), want %v s", s.pause, s.changed, int64(want))
		}
	}
	s.failed(t.Context(), nil)
	if s.pause != 0 || s.complaint != "" {
		t.Errorf("after one that succeeds: %v, %q", s.pause, s.complaint)
	}
}
