package openflow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What diff-flows says becomes the smallest bundle that leaves others' flows alone.
func TestChanges(t *testing.T) {
	cases := []struct {
		name, diff string
		want       []string
	}{
		{"nothing", "", nil},
		{"new", "+table=1 priority=14,icmp6,icmp_type=136 cookie=0xdeff105 actions=output:2,LOCAL\n",
			[]string{"add cookie=0xdeff105 table=1 priority=14,icmp6,icmp_type=136 actions=output:2,LOCAL"}},
		{"too many", "-priority=9,in_port=2 cookie=0xdeff105 actions=drop\n",
			[]string{"delete_strict cookie=0xdeff105/-1 priority=9,in_port=2"}},
		{"other actions: replaced, not deleted", "-priority=9 cookie=0xdeff105 actions=drop\n+priority=9 cookie=0xdeff105 actions=NORMAL\n",
			[]string{"add cookie=0xdeff105 priority=9 actions=NORMAL"}},
		{"somebody else's", "-priority=9,udp cookie=0x5 idle_timeout=3 actions=drop\n-priority=8,udp actions=drop\n", nil},
		{"in place of somebody else's", "-priority=0 actions=NORMAL\n+priority=0 cookie=0xdeff105 actions=NORMAL\n",
			[]string{"add cookie=0xdeff105 priority=0 actions=NORMAL"}},
		{"another encoding", "-priority=1,ip cookie=0xdeff105 actions=ct(table=0,zone=1)\n+priority=1,ip cookie=0xdeff105 actions=ct(table=0,zone=1)\n", nil},
		{"additions come first", "-priority=3 cookie=0xdeff105 actions=drop\n+priority=2 cookie=0xdeff105 actions=drop\n",
			[]string{"add cookie=0xdeff105 priority=2 actions=drop", "delete_strict cookie=0xdeff105/-1 priority=3"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			changed, err := changes([]byte(c.diff), 0xdeff105)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, change := range changed {
				got = append(got, change.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := changes([]byte("ovs-ofctl: help\n"), 1); err == nil {
		t.Error("took noise for flows")
	}
}

func TestText(t *testing.T) {
	f := Flow{Table: 1, Priority: 5, Match: []Field{InPort(Local), Transport(false, SCTP), IPDst(netip.MustParsePrefix("fd02::9/112")), PortDst(80)},
		Actions: []Action{CT{Zone: 3, Commit: true, Mark: 2, Table: 4}.Action(), SetIPSrc(netip.MustParseAddr("fd69::2")), SetIPDst(netip.MustParseAddr("10.0.0.1")), Output(Local), ContinueIn(0)}}
	want := "priority=5,sctp6,in_port=LOCAL,ipv6_dst=fd02::/112,tp_dst=80,table=1,idle_timeout=0,cookie=0x0000000000000007,actions=" +
		"ct(commit,table=4,zone=3,exec(set_field:0x2->ct_mark)),set_field:fd69::2->ipv6_src,set_field:10.0.0.1->ip_dst,local,resubmit(,0)"
	got, err := f.Text(7)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("text (-want +got), %v:\n%s", err, diff)
	}
	if got, err := (Flow{}).Text(0); err != nil || got != "priority=0,table=0,idle_timeout=0,actions=drop" {
		t.Errorf("no actions are %q, %v", got, err)
	}
	if got, err := (Flow{Match: []Field{PortDst(80)}, Actions: []Action{CT{}.Action(), SetIPSrc(netip.Addr{}), Output(-7)}}).Text(0); err == nil {
		t.Errorf("an impossible port is %q", got)
	}
}

func TestSocketBeside(t *testing.T) {
	for endpoint, want := range map[string]string{
		"unix:/run/ovs/db.sock": "/run/ovs/br-ex.mgmt", "tcp:127.0.0.1:6640": "/var/run/openvswitch/br-ex.mgmt",
	} {
		if got := SocketBeside(endpoint, "br-ex"); got != want {
			t.Errorf("beside %s: %s, want %s", endpoint, got, want)
		}
	}
}

// The watcher answers questions whether it is alive, passes on changes, and ends with the switch.
func TestWatch(t *testing.T) {
	ours, theirs := net.Pipe()
	notified, ended := make(chan struct{}, 9), make(chan error, 1)
	m := newMonitor(ours, 7, func() { notified <- struct{}{} })
	go func() { ended <- m.run() }()
	if err := theirs.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	expect := func(want byte) {
		t.Helper()
		kind, _, _, err := receive(theirs)
		if err != nil || kind != want {
			t.Fatalf("received message %d (%v), want %d", kind, err, want)
		}
	}
	send := func(m []byte) {
		t.Helper()
		if _, err := theirs.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	expect(typeHello)
	expect(typeStatsRequest)
	send(message(typeHello, 0, nil))
	send(message(typeStatsReply, 0, make([]byte, 16)))
	<-notified
	send(message(typeEchoRequest, 0, []byte("alive?")))
	expect(typeEchoReply)
	if len(notified) > 0 {
		t.Error("an echo passed for a change")
	}
	theirs.Close()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v", err)
	}
}

func TestWatchRefused(t *testing.T) {
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- newMonitor(ours, 7, func() {}).run() }()
	for range 2 {
		if _, _, _, err := receive(theirs); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := theirs.Write(message(typeError, 0, make([]byte, 4))); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a refusal is no error")
	}
}

// From one list of ours to another it is a step of what differs, whatever the bridge calls it.
func TestDelta(t *testing.T) {
	have := map[string]string{"priority=1,ip": "priority=1,ip,actions=drop", "priority=2,ip": "priority=2,ip,actions=drop", "priority=3,ip": "priority=3,ip,actions=drop"}
	want := []rendered{
		{"priority=1,ip", "priority=1,ip,actions=drop"}, {"priority=2,ip", "priority=2,ip,actions=NORMAL"},
		{"priority=4,ip", "priority=4,ip,actions=drop"}, {"priority=4,ip", "priority=4,ip,actions=drop"},
	}
	var got []string
	for _, c := range delta(have, want, 7) {
		got = append(got, c.String())
	}
	if diff := cmp.Diff([]string{"add priority=2,ip,actions=NORMAL", "add priority=4,ip,actions=drop", "delete_strict cookie=0x7/-1,priority=3,ip"}, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// Changes are counted one by one, whatever arrives; those of others' flows in tables where none of ours are do not matter.
func TestUpdates(t *testing.T) {
	change := func(table byte, cookie uint64) []byte {
		out := make([]byte, 32)
		out[1], out[updateTable] = 32, table
		binary.BigEndian.PutUint64(out[updateCookie:], cookie)
		return out
	}
	abbreviation := []byte{0, 8, 0, 3, 0, 0, 0, 0}
	ours := (&Keeper{Learned: []int{5}}).tablesOf([]Flow{{Table: 1}, {Table: 5}})
	for name, c := range map[string]struct {
		changes [][]byte
		want    uint64
	}{
		"nothing":               {nil, 0},
		"ours":                  {[][]byte{change(1, 7)}, 1},
		"three":                 {[][]byte{change(1, 7), abbreviation, change(1, 8)}, 3},
		"our cookie elsewhere":  {[][]byte{change(2, 7)}, 1},
		"somebody's, elsewhere": {[][]byte{change(2, 8), change(1, 7)}, 1},
		"learned, and ours":     {[][]byte{change(5, 0), change(5, 7)}, 1},
		"too short":             {[][]byte{{0, 0, 0}}, 1},
		"too long":              {[][]byte{{255, 255}}, 1},
	} {
		if got := ours.count(7, append(make([]byte, updatesOffset), bytes.Join(c.changes, nil)...)); got != c.want {
			t.Errorf("%s: %d changes, want %d", name, got, c.want)
		}
	}
	if got := ours.count(7, make([]byte, 3)); got != 0 {
		t.Errorf("%d changes in half a header", got)
	}
}
