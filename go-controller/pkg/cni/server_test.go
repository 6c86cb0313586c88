package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/ovsport"
	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/plumb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

const (
	sandboxA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	sandboxB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	netnsOK  = "/proc/self/ns/net"
)

var dual = annotations.PodNetwork{
	Addresses: []netip.Prefix{netip.MustParsePrefix("10.128.0.5/23"), netip.MustParsePrefix("fd01::5/64")},
	MAC:       net.HardwareAddr{0x0a, 0x58, 10, 128, 0, 5},
	Gateways:  []netip.Addr{netip.MustParseAddr("10.128.0.1"), netip.MustParseAddr("fd01::1")},
	Routes:    []annotations.Route{{Destination: netip.MustParsePrefix("192.0.2.0/24"), NextHop: netip.MustParseAddr("10.128.0.3")}},
}

func wire(command, sandbox, uid string) protocol.Request {
	return protocol.Request{
		Version: protocol.Version, Command: command, ContainerID: sandbox, Netns: netnsOK, IfName: "eth0",
		Args:   "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_UID=" + uid,
		Config: json.RawMessage(`{"cniVersion":"1.1.0","name":"n","type":"t"}`), TimeoutMS: 10_000,
	}
}

// begin starts a request and returns how to wait for its error.
func (f *fixture) begin(ctx context.Context, r protocol.Request) func() error {
	done := make(chan error, 1)
	go func() {
		_, err := f.serveRequest(ctx, r)
		done <- err
	}()
	return func() error { return <-done }
}

func wantCode(t *testing.T, err error, code uint, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want code %d", code)
	}
	e := toCNI(err)
	if e.Code != code {
		t.Errorf("code %d, want %d: %v", e.Code, code, err)
	}
	for _, text := range texts {
		if !strings.Contains(e.Error(), text) {
			t.Errorf("error %q lacks %q", e.Error(), text)
		}
	}
}

func TestAddResult(t *testing.T) {
	f := newFixture(t)
	f.pods.put("ns/p", annotated("u1", dual), false)
	raw, err := f.serveRequest(context.Background(), wire("ADD", sandboxA, "u1"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"cniVersion":"1.1.0",
	  "interfaces":[{"name":"aaaaaaaaaaaaaaa","mtu":1400},{"name":"eth0","mac":"0a:58:0a:80:00:05","mtu":1400,"sandbox":"/proc/self/ns/net"}],
	  "ips":[{"interface":1,"address":"10.128.0.5/23","gateway":"10.128.0.1"},{"interface":1,"address":"fd01::5/64","gateway":"fd01::1"}],
	  "routes":[{"dst":"0.0.0.0/0","gw":"10.128.0.1"},{"dst":"::/0","gw":"fd01::1"},{"dst":"192.0.2.0/24","gw":"10.128.0.3"}]}`
	if diff := cmp.Diff(parse(t, want), parse(t, string(raw))); diff != "" {
		t.Error(diff)
	}
	port, _ := f.ports.Get("aaaaaaaaaaaaaaa")
	ids := map[string]string{
		"iface-id": "ns_p", "iface-id-ver": "u1", "attached_mac": "0a:58:0a:80:00:05", "ip_addresses": "10.128.0.5/23,fd01::5/64",
		"sandbox": sandboxA, "pod-if-name": "eth0", "k8s.ovn.org/network": "default", "k8s.ovn.org/nad": "default", "ovn-installed": "true",
	}
	if diff := cmp.Diff(ids, port.ExternalIDs); diff != "" {
		t.Error(diff)
	}
}

func parse(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Runtimes get the result in the version of their configuration, and what plugins before us have made.
func TestAddVersionsAndPrevResult(t *testing.T) {
	for _, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		f := newFixture(t)
		f.pods.put("ns/p", annotated("u1", dual), false)
		r := wire("ADD", sandboxA, "u1")
		r.Config = json.RawMessage(`{"cniVersion":"` + version + `","name":"n","type":"t","prevResult":{"cniVersion":"` + version + `",
			"interfaces":[{"name":"before"}],"ips":[{"version":"4","address":"192.0.2.9/32","interface":0}]}}`)
		raw, err := f.serveRequest(context.Background(), r)
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		var got struct {
			CNIVersion string
			Interfaces []types100.Interface
			IPs        []struct {
				Interface int
				Address   string
			}
		}
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		if got.CNIVersion != version || len(got.Interfaces) != 3 || got.Interfaces[0].Name != "before" || len(got.IPs) != 3 {
			t.Errorf("%s: %s", version, raw)
		} else if i := got.IPs[1].Interface; got.Interfaces[i].Name != "eth0" {
			t.Errorf("%s: address belongs to interface %d: %s", version, i, raw)
		}
	}
}

// A repeated ADD gives the same result and changes nothing.
func TestAddTwice(t *testing.T) {
	f := newFixture(t)
	f.pods.put("ns/p", annotated("u1", dual), false)
	first, err := f.serveRequest(context.Background(), wire("ADD", sandboxA, "u1"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.serveRequest(context.Background(), wire("ADD", sandboxA, "u1"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(first), string(second)); diff != "" {
		t.Error(diff)
	}
	if f.ports.writes != 1 {
		t.Errorf("the port was written %d times", f.ports.writes)
	}
}

// What an ADD that was cut has left is completed.
func TestAddAfterCrash(t *testing.T) {
	a := func(f *fixture) attachment {
		r, err := decode(wire("ADD", sandboxA, "u1"))
		if err != nil {
			t.Fatal(err)
		}
		return f.plan(r, annotated("u1", dual), dual)
	}
	for name, crash := range map[string]func(f *fixture){
		"veth only":                 func(f *fixture) { f.kernel.Create(a(f).veth) },
		"port only":                 func(f *fixture) { f.ports.Add(context.Background(), a(f).port) },
		"not configured":            func(f *fixture) { f.kernel.Create(a(f).veth); f.ports.Add(context.Background(), a(f).port) },
		"port of another pod's UID": func(f *fixture) { p := a(f).port; p.LogicalPortVersion = "u0"; f.ports.Add(context.Background(), p) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.pods.put("ns/p", annotated("u1", dual), false)
			crash(f)
			if _, err := f.serveRequest(context.Background(), wire("ADD", sandboxA, "u1")); err != nil {
				t.Fatal(err)
			}
			want := a(f)
			if d, _ := f.kernel.Differences(want.veth); len(d) > 0 {
				t.Error(d)
			}
			if port, _ := f.ports.Get(want.port.Name); len(port.Differences(want.port)) > 0 {
				t.Error(port.Differences(want.port))
			}
		})
	}
}

// A veth must not get the name of one that ovs-vswitchd still holds, and no other pod waits for that.
func TestAddAgainWaitsForSwitch(t *testing.T) {
	f := newFixture(t)
	f.pods.put("ns/p", annotated("u1", dual), false)
	for n, step := range []struct {
		command string
		syncs   int
	}{{"ADD", 0}, {"DEL", 0}, {"ADD", 1}, {"ADD", 1}} {
		if _, err := f.serveRequest(context.Background(), wire(step.command, sandboxA, "u1")); err != nil {
			t.Fatal(err)
		}
		if f.ports.syncs != step.syncs {
			t.Errorf("step %d: waited %d times for ovs-vswitchd, want %d", n, f.ports.syncs, step.syncs)
		}
	}
}

func TestAddWaitsForAnnotation(t *testing.T) {
	f := newFixture(t)
	f.pods.put("ns/p", podInfo{UID: "u1", RuntimeUID: "u1"}, false)
	wait := f.begin(context.Background(), wire("ADD", sandboxA, "u1"))
	f.pods.put("ns/p", annotated("u1", dual), false)
	if err := wait(); err != nil {
		t.Fatal(err)
	}
}

// The watch may still show the pod's predecessor, whose address must not be used.
func TestAddWaitsForTheRightPod(t *testing.T) {
	f := newFixture(t)
	old := dual
	old.MAC = net.HardwareAddr{0x0a, 0x58, 10, 128, 0, 99}
	f.pods.put("ns/p", annotated("u0", old), false)
	f.pods.put("ns/p", annotated("u1", dual), true)
	wait := f.begin(context.Background(), wire("ADD", sandboxA, "u1"))
	time.Sleep(doubtAfter + 200*time.Millisecond) // past the look at the API server, which knows the pod
	f.pods.put("ns/p", annotated("u1", dual), false)
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if port, _ := f.ports.Get("aaaaaaaaaaaaaaa"); port.ExternalIDs[names.IfaceMAC] != dual.MAC.String() {
		t.Errorf("the port has the predecessor's MAC: %v", port.ExternalIDs)
	}
}

// Whether a pod exists that the watch has never shown, the API server says.
func TestAddUnknownPod(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(f *fixture)
		text    string
	}{
		"no pod":    {func(*fixture) {}, "there is no pod ns/p"},
		"other pod": {func(f *fixture) { f.pods.put("ns/p", annotated("u2", dual), false) }, "UID u2 and not u1"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			test.prepare(f)
			begin := time.Now()
			_, err := f.serveRequest(context.Background(), wire("ADD", sandboxA, "u1"))
			wantCode(t, err, protocol.ErrPodGone, test.text)
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("found out after %v only", took)
			}
		})
	}
}

// The mirror of a static pod has a UID of its own, and the logical port knows that one.
func TestAddStaticPod(t *testing.T) {
	f := newFixture(t)
	info := annotated("mirror-uid", dual)
	info.RuntimeUID = "hash"
	f.pods.put("ns/p", info, false)
	if _, err := f.serveRequest(context.Background(), wire("ADD", sandboxA, "hash")); err != nil {
		t.Fatal(err)
	}
	if port, _ := f.ports.Get("aaaaaaaaaaaaaaa"); port.ExternalIDs[names.IfaceIDVer] != "mirror-uid" {
		t.Errorf("iface-id-ver is %q", port.ExternalIDs[names.IfaceIDVer])
	}
}

// Whatever ends an ADD early, the error says what, and nothing stays behind.
func TestAddGivenUp(t *testing.T) {
	missing := podInfo{UID: "u1", RuntimeUID: "u1"}
	terminating := annotated("u1", dual)
	terminating.Terminating = true
	moved := dual
	moved.MAC = net.HardwareAddr{0x0a, 0x58, 10, 128, 0, 6}
	for name, test := range map[string]struct {
		pod   podInfo
		event func(f *fixture, hangUp context.CancelCauseFunc)
		code  uint
		texts []string
	}{
		"no annotation in time":           {pod: missing, code: types.ErrTryAgainLater, texts: []string{"annotation:", "k8s.ovn.org/pod-networks", "ns/p", "master"}},
		"no flows in time":                {pod: annotated("u1", dual), code: types.ErrTryAgainLater, texts: []string{"flows:", "ovs-vsctl list Interface aaaaaaaaaaaaaaa"}},
		"deleted before annotation":       {pod: missing, event: func(f *fixture, _ context.CancelCauseFunc) { f.pods.drop("ns/p") }, code: protocol.ErrPodGone, texts: []string{"annotation:"}},
		"replaced before annotation":      {pod: missing, event: func(f *fixture, _ context.CancelCauseFunc) { f.pods.put("ns/p", annotated("u2", dual), false) }, code: protocol.ErrPodGone, texts: []string{"annotation:", "replaced"}},
		"deleted while flows are awaited": {pod: annotated("u1", dual), event: func(f *fixture, _ context.CancelCauseFunc) { f.pods.drop("ns/p") }, code: protocol.ErrPodGone, texts: []string{"flows:"}},
		"replaced meanwhile":              {pod: annotated("u1", dual), event: func(f *fixture, _ context.CancelCauseFunc) { f.pods.put("ns/p", annotated("u2", dual), false) }, code: protocol.ErrPodGone},
		"being deleted":                   {pod: annotated("u1", dual), event: func(f *fixture, _ context.CancelCauseFunc) { f.pods.put("ns/p", terminating, false) }, code: protocol.ErrPodGone},
		"other address meanwhile":         {pod: annotated("u1", dual), event: func(f *fixture, _ context.CancelCauseFunc) { f.pods.put("ns/p", annotated("u1", moved), false) }, code: types.ErrTryAgainLater, texts: []string{"another address"}},
		"runtime gone":                    {pod: annotated("u1", dual), event: func(_ *fixture, hangUp context.CancelCauseFunc) { hangUp(errShimGone) }, code: protocol.ErrCancelled},
		"port removed by somebody":        {pod: annotated("u1", dual), event: func(f *fixture, _ context.CancelCauseFunc) { f.ports.Remove(context.Background(), "aaaaaaaaaaaaaaa") }, code: types.ErrTryAgainLater, texts: []string{"was removed"}},
		"DEL of the sandbox": {pod: annotated("u1", dual), event: func(f *fixture, _ context.CancelCauseFunc) {
			f.serveRequest(context.Background(), wire("DEL", sandboxA, ""))
		}, code: protocol.ErrCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.ports.mute = true
			f.pods.put("ns/p", test.pod, false)
			r := wire("ADD", sandboxA, "u1")
			if test.event == nil {
				r.TimeoutMS = 100
			}
			ctx, hangUp := context.WithCancelCause(context.Background())
			defer hangUp(nil)
			wait := f.begin(ctx, r)
			if test.event != nil {
				if test.pod.Annotations != nil {
					f.awaitPort(t)
				} else {
					time.Sleep(50 * time.Millisecond)
				}
				test.event(f, hangUp)
			}
			wantCode(t, wait(), test.code, test.texts...)
			if left := f.leftovers(); len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

func (f *fixture) awaitPort(t *testing.T) {
	t.Helper()
	for range 1000 {
		if len(f.ports.List()) > 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("ADD made no port")
}

// While the agent stops, ADD leaves what it has made: the shim asks the next agent, which goes on from there.
func TestAddAtShutdown(t *testing.T) {
	f := newFixture(t)
	f.ports.mute = true
	f.pods.put("ns/p", annotated("u1", dual), false)
	ctx, cancel := context.WithCancelCause(context.Background())
	wait := f.begin(ctx, wire("ADD", sandboxA, "u1"))
	f.awaitPort(t)
	cancel(errShutdown)
	if err := wait(); !errors.Is(err, errShutdown) {
		t.Fatal(err)
	}
	if left := f.leftovers(); len(left) != 2 {
		t.Errorf("left %v", left)
	}
}

func TestAddFails(t *testing.T) {
	for name, test := range map[string]struct {
		breaks func(f *fixture)
		code   uint
		texts  []string
	}{
		"veth":            {func(f *fixture) { f.kernel.failCreate = errors.New("no memory") }, protocol.ErrPlumbing, []string{"veth: no memory", "ip -d link show aaaaaaaaaaaaaaa"}},
		"netns gone":      {func(f *fixture) { f.kernel.failCreate = plumb.ErrNoNetns }, types.ErrInvalidNetNS, []string{"veth:"}},
		"configuration":   {func(f *fixture) { f.kernel.failConfigure = errors.New("no address") }, protocol.ErrPlumbing, []string{"configure: no address", "nsenter"}},
		"port":            {func(f *fixture) { f.ports.failAdd = errors.New("constraint") }, protocol.ErrPlumbing, []string{"port: constraint", "ovs-vsctl show"}},
		"port in no time": {func(f *fixture) { f.ports.failAdd = context.DeadlineExceeded }, types.ErrTryAgainLater, []string{"port:"}},
		"bad annotation": {func(f *fixture) {
			f.pods.put("ns/p", podInfo{UID: "u1", RuntimeUID: "u1", Annotations: map[string]string{names.PodNetworksAnnotation: "{"}}, false)
		}, protocol.ErrPlumbing, []string{"annotation:", "kubectl -n ns get pod p"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.pods.put("ns/p", annotated("u1", dual), false)
			test.breaks(f)
			_, err := f.serveRequest(context.Background(), wire("ADD", sandboxA, "u1"))
			wantCode(t, err, test.code, test.texts...)
			if left := f.leftovers(); len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

func TestDel(t *testing.T) {
	for name, test := range map[string]struct {
		sandbox, ifName string
		left            int
	}{
		"attached":                      {sandboxA, "eth0", 0},
		"never attached":                {sandboxB, "eth0", 2},
		"other interface of the pod":    {sandboxA, "net1", 2},
		"sandbox of the same beginning": {sandboxA[:20] + sandboxB[20:], "eth0", 2},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.pods.put("ns/p", annotated("u1", dual), false)
			if _, err := f.serveRequest(context.Background(), wire("ADD", sandboxA, "u1")); err != nil {
				t.Fatal(err)
			}
			f.pods.drop("ns/p")
			r := wire("DEL", test.sandbox, "")
			r.IfName, r.Args, r.Netns, r.Config = test.ifName, "", "", nil
			for range 2 {
				if _, err := f.serveRequest(context.Background(), r); err != nil {
					t.Fatal(err)
				}
			}
			if ports := f.ports.List(); len(ports) != test.left/2 {
				t.Errorf("at the answer there are ports %v", ports)
			}
			if err := f.unplug.deleteAll(context.Background()); err != nil {
				t.Error(err)
			}
			if left := f.leftovers(); len(left) != test.left {
				t.Errorf("left %v", left)
			}
		})
	}
}

// A port that cannot be removed must be heard of, or it would stay for ever.
func TestDelWithoutDatabase(t *testing.T) {
	f := newFixture(t)
	f.ports.down = true
	if _, err := f.serveRequest(context.Background(), wire("DEL", sandboxA, "")); err == nil {
		t.Error("no error")
	}
}

// One sandbox's requests come one after the other, those of others go on meanwhile.
func TestSandboxesAreSerialised(t *testing.T) {
	s := newSandboxes()
	_, releaseA, err := s.acquire(context.Background(), "a", protocol.Add)
	if err != nil {
		t.Fatal(err)
	}
	if _, release, err := s.acquire(context.Background(), "b", protocol.Add); err != nil {
		t.Error(err)
	} else {
		release()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := s.acquire(ctx, "a", protocol.Check); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v while another request is at work", err)
	}
	got := make(chan func())
	go func() {
		_, release, err := s.acquire(context.Background(), "a", protocol.Add)
		if err != nil {
			t.Error(err)
		}
		got <- release
	}()
	select {
	case <-got:
		t.Fatal("two requests at work on one sandbox")
	case <-time.After(50 * time.Millisecond):
	}
	releaseA()
	(<-got)()
	if s.busy("a") || s.busy("b") {
		t.Error("sandboxes stay in memory")
	}
}

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		breaks func(f *fixture)
		texts  []string
	}{
		"all right": {},
		"veth":      {func(f *fixture) { f.kernel.broken["aaaaaaaaaaaaaaa"] = []string{"eth0 is down"} }, []string{"eth0 is down"}},
		"port gone": {func(f *fixture) { f.ports.Remove(context.Background(), "aaaaaaaaaaaaaaa") }, []string{"port aaaaaaaaaaaaaaa is gone"}},
		"no flows":  {func(f *fixture) { delete(f.ports.ports["aaaaaaaaaaaaaaa"].ExternalIDs, names.OVNInstalled) }, []string{"ovn-installed"}},
		"two things at once": {func(f *fixture) {
			f.ports.ports["aaaaaaaaaaaaaaa"].ExternalIDs[names.IfaceID] = "ns_q"
			f.kernel.broken["aaaaaaaaaaaaaaa"] = []string{"eth0 is down"}
		}, []string{"eth0 is down", "ns_q"}},
		"annotation changed": {func(f *fixture) {
			moved := dual
			moved.Addresses = []netip.Prefix{netip.MustParsePrefix("10.128.0.77/23")}
			f.pods.put("ns/p", annotated("u1", moved), false)
		}, []string{"10.128.0.77"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.pods.put("ns/p", annotated("u1", dual), false)
			result, err := f.serveRequest(context.Background(), wire("ADD", sandboxA, "u1"))
			if err != nil {
				t.Fatal(err)
			}
			if test.breaks != nil {
				test.breaks(f)
			}
			r := wire("CHECK", sandboxA, "u1")
			r.Config = json.RawMessage(`{"cniVersion":"1.1.0","name":"n","type":"t","prevResult":` + string(result) + `}`)
			_, err = f.serveRequest(context.Background(), r)
			if test.breaks == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantCode(t, err, protocol.ErrCheck, test.texts...)
		})
	}
}

func TestCheckWithoutPrevResult(t *testing.T) {
	_, err := newFixture(t).serveRequest(context.Background(), wire("CHECK", sandboxA, "u1"))
	wantCode(t, err, types.ErrInvalidNetworkConfig, "prevResult")
}

func TestGC(t *testing.T) {
	setup := func(t *testing.T) *fixture {
		f := newFixture(t)
		f.ports.Add(context.Background(), ovsport.Port{Name: "kept", LogicalPort: "ns_a", Sandbox: sandboxA})
		f.ports.Add(context.Background(), ovsport.Port{Name: "stale", LogicalPort: "ns_b", Sandbox: sandboxB})
		f.ports.Add(context.Background(), ovsport.Port{Name: "foreign", LogicalPort: "x"})
		f.kernel.Create(plumb.Veth{HostName: "kept", Sandbox: sandboxA})
		f.kernel.Create(plumb.Veth{HostName: "stale", Sandbox: sandboxB})
		f.kernel.Create(plumb.Veth{HostName: "half", Sandbox: "cccc"})
		f.kernel.Create(plumb.Veth{HostName: "foreign"})
		return f
	}
	left := func(f *fixture) string {
		var out []string
		for name := range f.ports.ports {
			out = append(out, "port "+name)
		}
		for name := range f.kernel.veths {
			out = append(out, "veth "+name)
		}
		return joinSorted(out)
	}
	gc := func(attachments string) protocol.Request {
		return protocol.Request{Version: 1, Command: "GC", Config: json.RawMessage(`{"cniVersion":"1.1.0","name":"n","type":"t"` + attachments + `}`)}
	}
	const all = "port foreign, port kept, port stale, veth foreign, veth half, veth kept, veth stale"
	valid := `,"cni.dev/valid-attachments":[{"containerID":"` + sandboxA + `","ifname":"eth0"}]`

	t.Run("stale", func(t *testing.T) {
		f := setup(t)
		if _, err := f.serveRequest(context.Background(), gc(valid)); err != nil {
			t.Fatal(err)
		}
		if got, want := left(f), "port foreign, port kept, veth foreign, veth kept"; got != want {
			t.Errorf("left %s, want %s", got, want)
		}
	})
	t.Run("no list", func(t *testing.T) {
		f := setup(t)
		_, err := f.serveRequest(context.Background(), gc(""))
		wantCode(t, err, types.ErrInvalidNetworkConfig, "cni.dev/valid-attachments")
		if got := left(f); got != all {
			t.Errorf("left %s", got)
		}
	})
	t.Run("sandbox at work", func(t *testing.T) {
		f := setup(t)
		_, release, err := f.sandboxes.acquire(context.Background(), sandboxB, "ADD")
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if _, err := f.serveRequest(context.Background(), gc(valid)); err != nil {
			t.Fatal(err)
		}
		if got := left(f); !strings.Contains(got, "port stale") || !strings.Contains(got, "veth stale") {
			t.Errorf("left %s", got)
		}
	})
}

func joinSorted(in []string) string {
	slices.Sort(in)
	return strings.Join(in, ", ")
}

func TestOrphansAreRemoved(t *testing.T) {
	f := newFixture(t)
	f.ports.Add(context.Background(), ovsport.Port{Name: "lost", LogicalPort: "ns_a", Sandbox: sandboxA})
	f.ports.Add(context.Background(), ovsport.Port{Name: "alive", LogicalPort: "ns_b", Sandbox: sandboxB})
	f.ports.Add(context.Background(), ovsport.Port{Name: "foreign", LogicalPort: "x"})
	f.kernel.Create(plumb.Veth{HostName: "alive", Sandbox: sandboxB})
	if err := f.removeOrphans(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.ports.Get("lost"); ok {
		t.Error("the port without veth is still there")
	}
	for _, name := range []string{"alive", "foreign"} {
		if _, ok := f.ports.Get(name); !ok {
			t.Errorf("port %s was removed", name)
		}
	}
}

func TestStatus(t *testing.T) {
	status := protocol.Request{Version: 1, Command: "STATUS", Config: json.RawMessage(`{"cniVersion":"1.1.0","name":"n"}`)}
	for name, test := range map[string]struct {
		breaks func(f *fixture)
		text   string
	}{
		"database":  {func(f *fixture) { f.ports.down = true }, "Open vSwitch database"},
		"bridge":    {func(f *fixture) { f.ports.noBridge = true }, "br-int"},
		"pods":      {func(f *fixture) { f.pods.unsynced = true }, "pods"},
		"node":      {func(f *fixture) { f.opts.Ready = func() error { return errors.New("no mp0") } }, "no mp0"},
		"starting":  {func(f *fixture) { f.serving = make(chan struct{}) }, "not started"},
		"all right": {},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if test.breaks == nil {
				if _, err := f.serveRequest(context.Background(), status); err != nil {
					t.Error(err)
				}
				return
			}
			test.breaks(f)
			_, err := f.serveRequest(context.Background(), status)
			wantCode(t, err, types.ErrPluginNotAvailable, test.text)
		})
	}
}

// The runtime asks for the status every few seconds: that the node is not ready is an answer, not an error of the agent's.
func TestStatusIsNotLoggedAsError(t *testing.T) {
	defer klog.CaptureState().Restore()
	var log bytes.Buffer
	klog.LogToStderr(false)
	klog.SetOutput(&log)
	f := newFixture(t)
	f.ports.noBridge = true
	status := protocol.Request{Version: 1, Command: "STATUS", Config: json.RawMessage(`{"cniVersion":"1.1.0","name":"n"}`)}
	if _, err := f.serveRequest(t.Context(), status); err == nil {
		t.Fatal("no error")
	}
	klog.Flush()
	if log.Len() > 0 {
		t.Errorf("logged: %s", log.String())
	}
	status.Config = json.RawMessage(`nonsense`)
	if _, err := f.serveRequest(t.Context(), status); err == nil {
		t.Fatal("no error")
	}
	klog.Flush()
	if log.Len() == 0 {
		t.Error("a bad request is not logged")
	}
}
