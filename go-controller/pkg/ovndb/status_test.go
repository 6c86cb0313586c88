package ovndb

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func parsed(t *testing.T, name string) Status {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseStatus(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The texts are answers of Open vSwitch 3.1's servers.
func TestParseStatus(t *testing.T) {
	for name, want := range map[string]Status{
		"leader": {
			Database: "OVN_Northbound", ClusterID: "a9a43707-a286-4be2-b8a0-05524b65f85d", ServerID: "cde7b832-5a06-494b-8f78-003e36c56a38",
			Address: "tcp:127.0.0.1:7643", Status: "cluster member", Role: "leader", Term: 2, Leader: "self",
			ElectionTimer: 2 * time.Second, LogFirst: 2, LogNext: 7, Disconnections: 1,
			Servers: []Server{
				{ID: "d07c", Address: "tcp:127.0.0.3:7643", NextIndex: 7, MatchIndex: 5, LastMessage: 4681 * time.Millisecond},
				{ID: "427d", Address: "tcp:127.0.0.2:7643", NextIndex: 7, MatchIndex: 6, LastMessage: 656 * time.Millisecond},
				{ID: "cde7", Address: "tcp:127.0.0.1:7643", Self: true, NextIndex: 3, MatchIndex: 6, LastMessage: -1},
				{ID: "43bb", Address: "tcp:127.0.0.3:7643", NextIndex: 7, MatchIndex: 6, LastMessage: 656 * time.Millisecond},
			},
		},
		"joining": {
			Database: "OVN_Northbound", ServerID: "427d7085-3551-4518-a01f-24fe4f4b6b21", Address: "tcp:127.0.0.2:7643",
			Status: "joining cluster", Role: "follower", ElectionTimer: time.Second, LogFirst: 1, LogNext: 1,
		},
		"candidate": {
			Database: "OVN_Northbound", ClusterID: "a9a43707-a286-4be2-b8a0-05524b65f85d", ServerID: "43bb0e03-7e30-44a5-80ee-390116e4994b",
			Address: "ssl:[fd00::3]:6643", Status: "cluster member", Role: "candidate", Term: 11, ElectionTimer: 16 * time.Second,
			LogFirst: 2, LogNext: 7, NotCommitted: 3, NotApplied: 1, Disconnections: 12,
			Servers: []Server{
				{ID: "427d", Address: "ssl:[fd00::2]:6643", LastMessage: 60 * time.Millisecond},
				{ID: "d07c", Address: "ssl:[fd00::4]:6643", LastMessage: -1},
				{ID: "43bb", Address: "ssl:[fd00::3]:6643", Self: true, LastMessage: -1},
			},
		},
	} {
		if diff := cmp.Diff(want, parsed(t, name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseStatusRefuses(t *testing.T) {
	for _, text := range []string{"", "Name: x\n", "Name: x\nServer ID: 1 (1)\nRole: leader\nTerm: many\n", "Name: x\nElection timer: soon\n"} {
		if s, err := ParseStatus(text); err == nil {
			t.Errorf("%q was read as %+v", text, s)
		}
	}
}

func FuzzParseStatus(f *testing.F) {
	for _, name := range []string{"leader", "joining", "candidate"} {
		text, err := os.ReadFile("testdata/" + name + ".txt")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("Election timer:  \n")
	f.Fuzz(func(_ *testing.T, text string) { _, _ = ParseStatus(text) })
}
