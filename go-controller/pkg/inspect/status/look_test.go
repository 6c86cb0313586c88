package status

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
)

// looked is what lookScript says on a node with one tunnel; state and wrong are values in the format of RFC 7047.
func looked(remote, state, wrong string) string {
	return "ovnkube ovnkube version v1.2.3 0123abc\novs ovs-vswitchd (Open vSwitch) 3.5.0\novn ovn-controller 25.03.0\nOpen vSwitch Library 3.5.0\nagent listens\n" +
		`tunnels {"data":[[["map",[["csum","true"],["key","flow"],["remote_ip","` + remote + `"]]],` + state + `,` + wrong + `,["map",[["rx_packets",12],["tx_packets",34]]]],` +
		`[["map",[["remote_ip","flow"]]],["set",[]],["set",[]],["map",[]]]],"headings":["options","link_state","error","statistics"]}` + "\n"
}

// silent is what it says while ovsdb-server does not answer.
const silent = "ovnkube ovnkube version v1.2.3 0123abc\novs ovs-vswitchd (Open vSwitch) 3.5.0\novn ovn-controller 25.03.0\ntunnels \n"

// Tunnels that there should be, and are not or do not work, are told, and so are agents that are processes and do not run.
func TestLook(t *testing.T) {
	const none = `["set",[]]`
	for _, c := range []struct {
		name, said string
		want       string
	}{
		{"well", looked("172.18.0.12", `"up"`, none), ""},
		{"its link is not known", looked("172.18.0.12", none, none), ""},
		{"no link", looked("172.18.0.12", `"down"`, none), "node1: the tunnel to node2 (172.18.0.12) is down"},
		{"an error", looked("172.18.0.12", none, `"no such device"`), "node1: the tunnel to node2 (172.18.0.12) is down: no such device"},
		{"no tunnel", looked("172.18.0.99", `"up"`, none), "node1: no tunnel to node2 (172.18.0.12)"},
		{"no agent", strings.Replace(looked("172.18.0.12", `"up"`, none), "agent listens\n", "", 1), "node1: the agent does not run"},
		{"no Open vSwitch", silent, "node1: Open vSwitch does not answer"},
		{"it cannot be understood", "tunnels what?", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.access.Answers["node node1: sh -c"] = c.said
			for _, f := range w.read(t).Findings {
				if f.Part == "nodes" && (strings.Contains(f.Detail, "; ") != (c.want != "") || !strings.HasSuffix(f.Detail, c.want)) {
					t.Errorf("%+v, want %q", f, c.want)
				}
			}
		})
	}
}

// What else a node tells is shown also when its Open vSwitch does not answer; of tunnels nothing is known then.
func TestLookWithoutOpenVSwitch(t *testing.T) {
	w := newWorld(t)
	w.verbose = true
	w.access.Answers["node node1: sh -c"] = silent
	r := w.read(t)
	n := r.Nodes[0]
	want := Versions{OVNKube: "v1.2.3 0123abc", OVS: "3.5.0", OVN: "25.03.0"}
	if n.Versions == nil || *n.Versions != want || n.NotSeen != "" || len(n.TunnelsTo) > 0 {
		t.Errorf("versions %+v, tunnels %+v, not seen %q; want %+v and no tunnels", n.Versions, n.TunnelsTo, n.NotSeen, want)
	}
	var b bytes.Buffer
	if err := r.Write(output.NewPrinter(&b, output.Table), true); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`node1 +Open vSwitch does not answer .*  \?  `).MatchString(b.String()) || strings.Contains(b.String(), "0 of 0") {
		t.Errorf("want the tunnels that are up to be unknown:\n%s", b.String())
	}
}

// Pods tell of agents: nodes are not looked into, of which there may be many, unless that is asked for.
func TestLookOnlyWhenAsked(t *testing.T) {
	for _, verbose := range []bool{false, true} {
		w := newWorld(t)
		w.verbose = verbose
		up := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
		w.objects.Pods = append(w.objects.Pods, agent("a", "node1", up), agent("b", "node2", up))
		w.read(t)
		if asked := strings.Contains(strings.Join(w.access.Ran, "\n"), "node node1:"); asked != verbose {
			t.Errorf("verbose %v: node1 was looked into: %v", verbose, asked)
		}
	}
}
