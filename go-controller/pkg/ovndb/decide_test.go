package ovndb

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

const (
	clusterA = "a9a43707-a286-4be2-b8a0-05524b65f85d"
	clusterB = "b9a43707-a286-4be2-b8a0-05524b65f85d"
)

func members() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::3")}
}

// member is the configuration of the n-th of three, of none with 0.
func member(n int) Config {
	c := Config{Kind: NB(), Dir: "/d", RunDir: "/r", SchemaDir: "/s", Port: 6641, RaftPort: 6643, ElectionTimer: 2 * time.Second, CompactBytes: 1000}
	if n > 0 {
		c.Members, c.LocalAddress = members(), members()[n-1]
	}
	return c
}

func TestDecide(t *testing.T) {
	none, away := answer{member: members()[1]}, answer{member: members()[2], err: errors.New("connection refused")}
	inA, inB := answer{member: members()[2], clusterID: clusterA}, answer{member: members()[1], clusterID: clusterB}
	alsoA := answer{member: members()[1], clusterID: clusterA}
	clustered := File{Exists: true, Database: "OVN_Northbound", Clustered: true, ClusterID: clusterA, LocalAddress: "tcp:10.0.0.1:6643"}
	standalone := File{Exists: true, Database: "OVN_Northbound"}
	edit := func(c Config, f func(*Config)) Config { f(&c); return c }
	converting := func(n, converted int) Config {
		return edit(member(n), func(c *Config) { c.Convert = members()[converted-1] })
	}
	for name, tc := range map[string]struct {
		config  Config
		file    File
		answers []answer
		want    decision
		refusal string
	}{
		"standalone, new":                       {config: member(0), want: decision{action: actionCreate}},
		"standalone, again":                     {config: member(0), file: standalone, want: decision{action: actionStart}},
		"first of a new cluster":                {config: member(1), answers: []answer{none, none}, want: decision{action: actionBootstrap}},
		"first, one has not answered":           {config: member(1), answers: []answer{none, away}, want: decision{action: actionWait}},
		"first, its disk is new":                {config: member(1), answers: []answer{away, inA}, want: decision{action: actionJoin, clusterID: clusterA}},
		"first, its cluster is known":           {config: edit(member(1), func(c *Config) { c.ClusterID = clusterA }), answers: []answer{none, none}, want: decision{action: actionJoin, clusterID: clusterA}},
		"second, before all":                    {config: member(2), answers: []answer{away, away}, want: decision{action: actionJoin}},
		"second, after others":                  {config: member(2), answers: []answer{away, inA}, want: decision{action: actionJoin, clusterID: clusterA}},
		"another cluster than wanted answers":   {config: edit(member(2), func(c *Config) { c.ClusterID = clusterB }), answers: []answer{inA}, refusal: "--cluster-id " + clusterB},
		"member again":                          {config: member(1), file: clustered, want: decision{action: actionStart}},
		"another member's file":                 {config: member(2), file: clustered, refusal: "tcp:10.0.0.1:6643"},
		"the same member, now with TLS":         {config: edit(member(1), func(c *Config) { c.TLS = ovsdb.TLSFiles{PrivateKey: "/k", Certificate: "/c", CACertificate: "/a"} }), file: clustered, refusal: "all members change together"},
		"another cluster's file":                {config: edit(member(1), func(c *Config) { c.ClusterID = clusterB }), file: clustered, refusal: clusterB},
		"another database's file":               {config: member(0), file: File{Exists: true, Database: "Open_vSwitch"}, refusal: "Open_vSwitch"},
		"cluster to standalone":                 {config: member(0), file: clustered, refusal: "ovnkube db recover nb"},
		"grows, the others are empty":           {config: member(1), file: standalone, answers: []answer{none, none}, want: decision{action: actionConvert}},
		"grows, one has not answered":           {config: member(1), file: standalone, answers: []answer{none, away}, want: decision{action: actionWait}},
		"grows, others have a cluster":          {config: member(1), file: standalone, answers: []answer{alsoA, inA}, refusal: "10.0.0.2 and fd00::3 say that they have cluster " + clusterA},
		"grows, one has a cluster":              {config: member(1), file: standalone, answers: []answer{none, inA}, refusal: "_db.db is standalone, and fd00::3 say"},
		"grows, whose content counts":           {config: member(1), file: standalone, answers: []answer{away, inA}, refusal: "If this file is the one to keep"},
		"grows, its cluster is known":           {config: edit(member(1), func(c *Config) { c.ClusterID = clusterA }), file: standalone, answers: []answer{none, none}, refusal: "--cluster-id"},
		"grows, but is not the first":           {config: member(2), file: standalone, answers: []answer{none, none}, refusal: "name 10.0.0.2 first in --members"},
		"standalone to cluster, on purpose":     {config: converting(1, 1), file: standalone, want: decision{action: actionConvert}},
		"converted before":                      {config: converting(1, 1), file: clustered, want: decision{action: actionStart}},
		"nothing to convert":                    {config: converting(1, 1), answers: []answer{none, none}, refusal: "no file"},
		"converted while others are lost":       {config: converting(1, 1), file: standalone, answers: []answer{away, away}, want: decision{action: actionConvert}},
		"another has been converted":            {config: converting(1, 1), file: standalone, answers: []answer{away, inA}, refusal: "If this file is the one to keep"},
		"another is to be converted":            {config: converting(1, 2), file: standalone, answers: []answer{away, away}, refusal: "ovnkube db reset nb"},
		"first, another is to be converted":     {config: converting(1, 2), answers: []answer{none, none}, want: decision{action: actionJoin}},
		"converted before, its disk is new":     {config: converting(1, 1), answers: []answer{away, inA}, want: decision{action: actionJoin, clusterID: clusterA}},
		"two clusters answer":                   {config: member(1), answers: []answer{inA, inB}, refusal: clusterB},
		"two clusters answer, one is wanted":    {config: edit(member(1), func(c *Config) { c.ClusterID = clusterA }), answers: []answer{inA, inB}, refusal: clusterB},
		"a member that has not joined yet":      {config: member(1), file: File{Exists: true, Database: "OVN_Northbound", Clustered: true, LocalAddress: "tcp:10.0.0.1:6643"}, want: decision{action: actionStart}},
		"not joined, but its cluster is wanted": {config: edit(member(1), func(c *Config) { c.ClusterID = clusterB }), file: File{Exists: true, Database: "OVN_Northbound", Clustered: true, LocalAddress: "tcp:10.0.0.1:6643"}, want: decision{action: actionStart}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decide(&tc.config, tc.file, tc.answers)
			if tc.refusal != "" {
				if err == nil || !strings.Contains(err.Error(), tc.refusal) {
					t.Fatalf("got %v and error %v, want a refusal with %q", got, err, tc.refusal)
				}
				return
			}
			got.reason = ""
			if err != nil || got != tc.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
}

func TestUpkeep(t *testing.T) {
	c := member(1)
	timer := func(d time.Duration) Config { c := c; c.ElectionTimer = d; return c }
	leader := parsed(t, "leader")
	healthy := leader
	healthy.Servers = leader.Servers[1:]
	follower := leader
	follower.Role = "follower"
	stranger := leader // the newer member is not heard of either: nobody knows who is who
	stranger.Servers = []Server{{ID: "1111", Address: "x", LastMessage: -1}, {ID: "2222", Address: "x", LastMessage: time.Hour}}
	for name, tc := range map[string]struct {
		config Config
		status Status
		size   fileSize
		want   []string
	}{
		"nothing":                     {config: c, status: healthy},
		"a lost disk was replaced":    {config: c, status: leader, want: []string{"cluster/kick OVN_Northbound d07c"}},
		"only the leader kicks":       {config: c, status: follower},
		"none is alive":               {config: c, status: stranger},
		"timer up, a step at a time":  {config: timer(16 * time.Second), status: healthy, want: []string{"cluster/change-election-timer OVN_Northbound 4000"}},
		"timer up, last step":         {config: timer(3 * time.Second), status: healthy, want: []string{"cluster/change-election-timer OVN_Northbound 3000"}},
		"timer down":                  {config: timer(time.Second), status: healthy, want: []string{"cluster/change-election-timer OVN_Northbound 1000"}},
		"file grew":                   {config: c, status: follower, size: fileSize{now: 1000}, want: []string{"ovsdb-server/compact OVN_Northbound"}},
		"file is as big when compact": {config: c, status: follower, size: fileSize{now: 5000, compacted: 3000}},
		"standalone":                  {config: member(0), size: fileSize{now: 1000}, want: []string{"ovsdb-server/compact OVN_Northbound"}},
	} {
		var got []string
		for _, c := range upkeep(&tc.config, tc.status, tc.size) {
			got = append(got, strings.Join(append([]string{c.method}, c.params...), " "))
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestConfig(t *testing.T) {
	c := member(3)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	want := []string{"--no-chdir", "--remote=punix:/r/ovnnb_db.sock", "--remote=ptcp:6641:[fd00::3]",
		"--unixctl=/r/ovnnb_db.ctl", "-vconsole:info", "-vsyslog:off", "-vfile:off", "/d/ovnnb_db.db"}
	if diff := cmp.Diff(want, c.serverArgs()); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	// A standalone database is reached by its socket, and over the network only where somebody has asked for that.
	alone := member(0)
	want = []string{"--no-chdir", "--remote=punix:/r/ovnnb_db.sock", "--remote=db:OVN_Northbound,NB_Global,connections",
		"--unixctl=/r/ovnnb_db.ctl", "-vconsole:info", "-vsyslog:off", "-vfile:off", "/d/ovnnb_db.db"}
	if diff := cmp.Diff(want, alone.serverArgs()); diff != "" {
		t.Errorf("arguments of a standalone server (-want +got):\n%s", diff)
	}
	alone.LocalAddress = netip.MustParseAddr("10.0.0.9")
	if args := alone.serverArgs(); !slices.Contains(args, "--remote=ptcp:6641:10.0.0.9") {
		t.Errorf("a standalone server with an address does not listen there: %q", args)
	}
	for name, change := range map[string]func(*Config){
		"among --members": func(c *Config) { c.LocalAddress = netip.MustParseAddr("10.0.0.9") },
		"twice":           func(c *Config) { c.Members = append(c.Members[:2:2], c.Members[0]) },
		"even number":     func(c *Config) { c.Members = c.Members[1:] },
		"election-timer":  func(c *Config) { c.ElectionTimer = time.Millisecond },
		"belong together": func(c *Config) { c.TLS.PrivateKey = "/key" },
		"everybody":       func(c *Config) { c.TLS = ovsdb.TLSFiles{PrivateKey: "/k", Certificate: "/c", CACertificate: "none"} },
		"port 0":          func(c *Config) { c.RaftPort = 0 },
		"relays do":       func(c *Config) { c.Listen = "6642" },
		"have no role":    func(c *Config) { c.Members, c.Listen = nil, "6642" },
		"it needs sb":     func(c *Config) { c.Members, c.LocalAddress, c.Listen = nil, netip.Addr{}, "6642" },
		"is not among":    func(c *Config) { c.Convert = netip.MustParseAddr("10.0.0.9") },
	} {
		c := member(3)
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
