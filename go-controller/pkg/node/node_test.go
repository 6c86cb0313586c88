package node

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/client-go/rest"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/bridge"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/vswitchdb"
)

func TestChooseNIC(t *testing.T) {
	recorded := ovs.State{ExternalIDs: map[string]string{names.UplinkRecord: `{"nic":"eth3"}`}}
	foreign := ovs.State{Ports: map[string]ovs.PortState{
		"br-ex": {Port: ovs.Port{Name: "br-ex", Bridge: "br-ex", Type: ovs.Internal}},
		"eth5":  {Port: ovs.Port{Name: "eth5", Bridge: "br-ex"}},
		"patch": {Port: ovs.Port{Name: "patch", Bridge: "br-ex", Type: "patch"}},
	}}
	cases := []struct {
		name       string
		state      ovs.State
		configured string
		defaults   []string
		want       string
	}{
		{"of the default route", ovs.State{}, "", []string{"eth0", "eth1"}, "eth0"},
		{"configured", ovs.State{}, "eth1", []string{"eth0"}, "eth1"},
		{"taken over before", recorded, "", []string{"br-ex"}, "eth3"},
		{"taken over before, now another is configured: the planner refuses it", recorded, "eth1", nil, "eth1"},
		{"the bridge is configured", recorded, "br-ex", nil, "eth3"},
		{"somebody else has made the bridge", foreign, "", []string{"br-ex"}, "eth5"},
		{"no default route", ovs.State{}, "", nil, ""},
		{"a broken record", ovs.State{ExternalIDs: map[string]string{names.UplinkRecord: "?"}}, "", []string{"eth0"}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := chooseNIC(c.state, c.configured, c.defaults)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestSystemID(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	inDatabase := ovs.State{ExternalIDs: map[string]string{names.OVSSystemID: "from-database"}}
	cases := []struct {
		name, file, want string
		state            ovs.State
	}{
		{"the database's comes first", write("a", "from-file\n"), "from-database", inDatabase},
		{"the distribution's file", write("b", "from-file\n"), "from-file", ovs.State{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got, err := resolveSystemID(c.state, c.file); got != c.want || err != nil {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
	t.Run("a new one is kept", func(t *testing.T) {
		file := filepath.Join(dir, "new")
		first, err := resolveSystemID(ovs.State{}, file)
		if err != nil || first == "" {
			t.Fatal(first, err)
		}
		if second, err := resolveSystemID(ovs.State{}, file); second != first || err != nil {
			t.Errorf("%q, then %q, %v", first, second, err)
		}
	})
	t.Run("one that cannot be kept is an error", func(t *testing.T) {
		if id, err := resolveSystemID(ovs.State{}, filepath.Join(dir, "no", "such", "folder")); err == nil {
			t.Errorf("got %q", id)
		}
	})
}

func TestChassisSettings(t *testing.T) {
	cfg := config.Node{NodeName: "n1", SouthboundRemote: []string{"tcp:172.18.0.1:6642", "tcp:172.18.0.2:6642"}, MonitorAll: true}
	fresh := chassisSettings(cfg, "id", ovs.Netdev, netip.MustParseAddr("172.18.0.11"), false)
	for key, want := range map[string]string{
		"system-id": "id", "hostname": "n1", "ovn-remote": "tcp:172.18.0.1:6642,tcp:172.18.0.2:6642",
		"ovn-encap-type": "geneve", "ovn-encap-ip": "172.18.0.11", "ovn-bridge-mappings": "physnet:br-ex",
		"ovn-monitor-all": "true", "ovn-bridge-datapath-type": "netdev", "ovn-ofctrl-wait-before-clear": "0",
		"ovn-cms-options": "ovnkube", "ovn-remote-probe-interval": "10000",
	} {
		if fresh[key] != want {
			t.Errorf("%s is %q, want %q", key, fresh[key], want)
		}
	}
	cfg.SouthboundRemote, cfg.MonitorAll = cfg.SouthboundRemote[:1], false
	settled := chassisSettings(cfg, "id", ovs.Netdev, netip.MustParseAddr("172.18.0.11"), true)
	if got := settled["ovn-remote-probe-interval"]; got != "100000" {
		t.Errorf("the only database server is given up after %s ms", got)
	}
	if got := settled["ovn-monitor-all"]; got != "false" {
		t.Errorf("ovn-monitor-all is %q, want what was configured", got)
	}
	if settled["ovn-ofctrl-wait-before-clear"] == "0" {
		t.Error("flows of a running node would be cleared when ovn-controller restarts")
	}
	// What is set is cleaned up, but for what others may rely on.
	for _, key := range chassisKeys() {
		if _, ok := fresh[key]; !ok {
			t.Errorf("%s is removed but never set", key)
		}
		delete(fresh, key)
	}
	if len(fresh) != 2 || fresh["system-id"] == "" || fresh["hostname"] == "" {
		t.Errorf("left behind: %v", fresh)
	}
}

func TestIntegrationBridgeRemembersPods(t *testing.T) {
	port := func(name, sandbox string) ovs.PortState {
		return ovs.PortState{Port: ovs.Port{Name: name, Bridge: "br-int", ExternalIDs: map[string]string{
			"sandbox": sandbox, "iface-id": "default_" + name, "ovn-installed": "true",
		}}}
	}
	full := ovs.WithBridgeID(ovs.State{Ports: map[string]ovs.PortState{"a": port("a", "1"), "b": port("b", "2"), "plain": port("plain", "")}}, "br-int", "first")
	gone := ovs.State{}
	back := ovs.WithBridgeID(ovs.State{Ports: map[string]ovs.PortState{"a": port("a", "1")}}, "br-int", "second")
	exists := func(name string) (bool, error) { return name != "b", nil }
	var i integration
	names := func(s ovs.State) []string {
		t.Helper()
		ports, err := i.lostPorts(s, exists)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, p := range ports {
			if p.ExternalIDs["ovn-installed"] != "" || !p.Transient {
				t.Errorf("%+v", p)
			}
			out = append(out, p.Name)
		}
		return out
	}
	for step, c := range []struct {
		state ovs.State
		want  []string
	}{
		{gone, nil}, // nothing is known yet
		{full, nil},
		{gone, []string{"a"}}, // b's device is gone
		{gone, []string{"a"}}, // not made yet
		{back, nil},
		{gone, []string{"a"}}, // b is forgotten
	} {
		if diff := cmp.Diff(c.want, names(c.state)); diff != "" {
			t.Errorf("step %d: %s", step, diff)
		}
	}
}

func TestHasFlows(t *testing.T) {
	mp0 := func(id, installed string) ovs.State {
		return ovs.State{Ports: map[string]ovs.PortState{names.ManagementPort: ovs.WithID(ovs.PortState{
			Port: ovs.Port{Name: names.ManagementPort, ExternalIDs: map[string]string{names.OVNInstalled: installed}}, OFPort: 1,
		}, id)}}
	}
	start := time.Now()
	var i integration
	for step, c := range []struct {
		state   ovs.State
		carrier bool
		after   time.Duration
		want    bool
	}{
		{ovs.State{}, false, 0, false},                    // a new node
		{mp0("1", ""), true, 0, false},                    // ovn-controller has not claimed it yet
		{mp0("1", "true"), true, time.Second, true},       // it has
		{mp0("1", ""), true, 2 * time.Second, true},       // ovn-controller restarts
		{mp0("1", "true"), false, 3 * time.Second, false}, // ovs-vswitchd is gone, with the flows
		{mp0("1", "true"), true, 5 * time.Second, false},  // it is back; ovn-controller should fill the bridge at once
		{mp0("1", "true"), true, 14 * time.Second, true},  // it has had its time
		{mp0("2", ""), true, 15 * time.Second, false},     // a new port, on a new bridge
		{ovs.State{}, false, 16 * time.Second, false},     // no port
		{mp0("2", "true"), true, 17 * time.Second, true},
	} {
		got, again := i.hasFlows(c.state, c.carrier, start.Add(c.after))
		if got != c.want {
			t.Errorf("step %d: %t", step, got)
		}
		if got && again != 0 {
			t.Errorf("step %d: ask again after %v", step, again)
		}
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	a, err := New(config.Node{EncapPort: 6081}, Options{Registerer: registry, RESTConfig: &rest.Config{Host: "http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	if a.Ready() == nil {
		t.Error("ready before it runs")
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 5 || len(families[0].GetMetric()) != len(a.loops.all())+2 { // and what services need
		t.Errorf("%d families, %v: %v", len(families), err, families)
	}
}

func TestNewRefusesOtherEncapPorts(t *testing.T) {
	_, err := New(config.Node{EncapPort: 6082}, Options{})
	if err == nil || !strings.Contains(err.Error(), "--encap-port 6082") {
		t.Errorf("%v", err)
	}
}

// Pods' ports change the integration bridge all the time; the management port need not be looked at then.
func TestPodsOnly(t *testing.T) {
	secure := "secure"
	before := vswitchdb.Bridge{UUID: "1", Name: "br-int", FailMode: &secure, Ports: []string{"a"}, ExternalIDs: map[string]string{"a": "b"}}
	for name, test := range map[string]struct {
		change func(b *vswitchdb.Bridge)
		want   bool
	}{
		"a pod comes":        {func(b *vswitchdb.Bridge) { b.Ports = []string{"a", "b"} }, true},
		"a pod goes":         {func(b *vswitchdb.Bridge) { b.Ports = nil }, true},
		"another fail mode":  {func(b *vswitchdb.Bridge) { b.FailMode = nil; b.Ports = nil }, false},
		"other external IDs": {func(b *vswitchdb.Bridge) { b.ExternalIDs = map[string]string{} }, false},
		"another datapath":   {func(b *vswitchdb.Bridge) { b.DatapathType = "netdev" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			after := before.DeepCopy()
			test.change(after)
			if got := podsOnly(&before, after); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
	external := vswitchdb.Bridge{UUID: "2", Name: "br-ex", Ports: []string{"a"}}
	if podsOnly(&external, &vswitchdb.Bridge{UUID: "2", Name: "br-ex"}) {
		t.Error("the external bridge has no pods")
	}
	if podsOnly(&vswitchdb.Port{Name: "br-int"}, &vswitchdb.Port{Name: "br-int"}) {
		t.Error("a port is no bridge")
	}
}

// Tunnels end at the address by which Kubernetes knows the node, if it is the uplink's and of the family of the pools.
func TestEncapAddress(t *testing.T) {
	record := func(prefixes ...string) (r bridge.Record) {
		for _, p := range prefixes {
			r.Addresses = append(r.Addresses, hostnet.Address{Prefix: netip.MustParsePrefix(p)})
		}
		return r
	}
	both := record("172.18.0.11/24", "172.18.0.12/24", "fd00::1/64", "fd00::2/64")
	for _, c := range []struct {
		uplink bridge.Record
		known  string
		v4     bool
		want   string
	}{
		{both, "", true, "172.18.0.11"},
		{both, "172.18.0.12 fd00::2", true, "172.18.0.12"},
		{both, "172.18.0.12 fd00::2", false, "fd00::2"},
		{both, "192.0.2.1", true, "172.18.0.11"},
		{both, "fd00::2", true, "172.18.0.11"},
		{record("fd00::1/64", "fd00::2/64"), "fd00::2", true, "fd00::2"},
	} {
		var known []netip.Addr
		for _, a := range strings.Fields(c.known) {
			known = append(known, netip.MustParseAddr(a))
		}
		if got := encapAddress(c.uplink, known, c.v4).String(); got != c.want {
			t.Errorf("%v known as %q, IPv4 %t: %s, want %s", c.uplink.Addresses, c.known, c.v4, got, c.want)
		}
	}
}

// A bridge whose fail mode was changed gets another set of OpenFlow's versions each time, and no time to lose.
func TestRefill(t *testing.T) {
	var i integration
	now := time.Now()
	seen := ovs.Bridge{Name: names.IntegrationBridge, FailMode: ovs.FailSecure}
	observed := func() ovs.State { return ovs.State{Bridges: map[string]ovs.Bridge{seen.Name: seen}} }
	want := integrationBridge(ovs.Netdev)
	i.refill(ovs.State{}, &want, now)
	if want.Protocols != nil || !i.emptied.IsZero() {
		t.Errorf("there is no bridge, but %v", want.Protocols)
	}
	secure, other := ovs.FailSecure, "standalone"
	for _, mode := range []*string{nil, &secure, &other} {
		if got := losesFlows(&vswitchdb.Bridge{Name: names.IntegrationBridge, FailMode: mode}); got != (mode != &secure) {
			t.Errorf("fail mode %v: %t", mode, got)
		}
	}
	for range 3 {
		want := integrationBridge(ovs.Netdev)
		i.refill(observed(), &want, now)
		same := len(seen.Protocols) == 0 && len(want.Protocols) == len(protocols())
		if len(want.Protocols) < 4 || same || slices.Equal(want.Protocols, seen.Protocols) || i.emptied != now {
			t.Errorf("after %v come %v, emptied %v", seen.Protocols, want.Protocols, i.emptied)
		}
		seen.Protocols = want.Protocols
	}
}

// What ovn-controller has written beside the bridge is shown as numbers; what it has not, or what cannot be read, as 0.
func TestConfigurationMetrics(t *testing.T) {
	ids := map[string]string{"ovn-nb-cfg": "7", "ovn-nb-cfg-ts": "1800000000500"}
	want := `# HELP ovnkube_node_ovn_configuration Number of the configuration (nb_cfg) that the node's ovn-controller has put into flows.
# TYPE ovnkube_node_ovn_configuration gauge
ovnkube_node_ovn_configuration %s
# HELP ovnkube_node_ovn_configuration_timestamp_seconds When that was, in seconds since 1970; 0: never.
# TYPE ovnkube_node_ovn_configuration_timestamp_seconds gauge
ovnkube_node_ovn_configuration_timestamp_seconds %s
`
	c := newCollector(nil, func() map[string]string { return ids })
	if err := testutil.CollectAndCompare(c, strings.NewReader(fmt.Sprintf(want, "7", "1.8000000005e+09"))); err != nil {
		t.Error(err)
	}
	ids = map[string]string{"ovn-nb-cfg": "-1"}
	if err := testutil.CollectAndCompare(c, strings.NewReader(fmt.Sprintf(want, "0", "0"))); err != nil {
		t.Error(err)
	}
}
