//go:build integration

package cni

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

func (w *world) wantNothingLeft() {
	w.Helper()
	if left := w.leftovers(); len(left) > 0 {
		w.Errorf("left behind: %v", left)
	}
}

// wantUnplugged is for after DEL: ports are gone at its answer, veths soon after.
func (w *world) wantUnplugged() {
	w.Helper()
	if ports := w.run("ovs-vsctl", "list-ports", names.IntegrationBridge); ports != "" {
		w.Errorf("left behind: ports %q", ports)
	}
	w.eventually("veths gone", func() bool { return len(w.leftovers()) == 0 })
}

// in runs a command in the pod's network namespace.
func (w *world) in(p *pod, command ...string) string {
	w.Helper()
	return w.run("ip", append([]string{"netns", "exec", filepath.Base(p.netns)}, command...)...)
}

func wantCNICode(t testing.TB, err error, code uint, texts ...string) {
	t.Helper()
	var cni *types.Error
	if !errors.As(err, &cni) || cni.Code != code {
		t.Errorf("got %v (%+v), want code %d", err, cni, code)
		return
	}
	for _, text := range texts {
		if !strings.Contains(cni.Error(), text) {
			t.Errorf("error %q lacks %q", cni.Error(), text)
		}
	}
}

// A pod has what its annotation says, its port what operators look for, and DEL takes all of it away.
func TestAttachment(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	dual := w.newPod(1)
	only4, only6 := w.newPod(2), w.newPod(3)
	only4.network.Addresses, only4.network.Gateways, only4.network.Routes = only4.network.Addresses[:1], only4.network.Gateways[:1], nil
	only6.network.Addresses, only6.network.Gateways, only6.network.Routes = only6.network.Addresses[1:], only6.network.Gateways[1:], nil
	only6.network.MAC = addr.MAC(only6.network.Addresses[0].Addr())
	for _, p := range []*pod{dual, only4, only6} {
		w.annotate(p)
		result := w.mustCNI("ADD", p, nil)
		w.mustCNI("CHECK", p, result)
	}

	addresses := w.in(dual, "ip", "-o", "addr", "show", "dev", "eth0")
	for _, want := range []string{"10.128.0.11/23", "fd01::11/64"} {
		if !strings.Contains(addresses, want) {
			t.Errorf("address %s is missing:\n%s", want, addresses)
		}
	}
	if strings.Contains(addresses, "tentative") {
		t.Errorf("an address is not usable yet:\n%s", addresses)
	}
	routes := w.in(dual, "ip", "route") + w.in(dual, "ip", "-6", "route")
	for _, want := range []string{"default via 10.128.0.1", "default via fd01::1", "192.0.2.0/24 via 10.128.0.3"} {
		if !strings.Contains(routes, want) {
			t.Errorf("route %q is missing:\n%s", want, routes)
		}
	}
	link := w.in(dual, "ip", "link", "show", "eth0")
	if !strings.Contains(link, "mtu 1400") || !strings.Contains(link, dual.network.MAC.String()) {
		t.Errorf("wrong MTU or MAC:\n%s", link)
	}
	if got := w.in(only4, "ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global"); got != "" {
		t.Errorf("IPv6 address in an IPv4 cluster: %s", got)
	}
	host := w.run("ip", "-d", "link", "show", dual.hostName())
	for _, want := range []string{"NOARP", "UP", "mtu 1400", "addrgenmode none", "alias k8s.ovn.org/sandbox=" + dual.sandbox + " default/pod1"} {
		if !strings.Contains(host, want) {
			t.Errorf("the host's end lacks %q:\n%s", want, host)
		}
	}
	if got := w.run("ip", "-o", "addr", "show", "dev", dual.hostName()); got != "" {
		t.Errorf("the host's end has addresses: %s", got)
	}
	ids := w.run("ovs-vsctl", "get", "Interface", dual.hostName(), "external_ids")
	for _, want := range []string{
		`iface-id=default_pod1`, `iface-id-ver="` + dual.uid + `"`, `attached_mac="0a:58:0a:80:00:0b"`, `ip_addresses="10.128.0.11/23,fd01::11/64"`,
		`sandbox="` + dual.sandbox + `"`, `pod-if-name=eth0`, `"k8s.ovn.org/network"=default`, `"k8s.ovn.org/nad"=default`,
	} {
		if !strings.Contains(ids, want) {
			t.Errorf("external_ids lack %s: %s", want, ids)
		}
	}
	if got := w.run("ovs-vsctl", "get", "Port", dual.hostName(), "other_config"); got != `{transient="true"}` {
		t.Errorf("other_config of the port is %s", got)
	}

	w.exchange(dual, only4, dual.network.Addresses[0].Addr(), only4.network.Addresses[0].Addr())
	w.exchange(dual, only6, dual.network.Addresses[1].Addr(), only6.network.Addresses[0].Addr())

	for _, p := range []*pod{dual, only4, only6} {
		w.mustCNI("DEL", p, nil)
	}
	w.wantUnplugged()
	for _, p := range []*pod{dual, only4, only6} {
		if got := w.in(p, "ip", "-o", "link"); strings.Contains(got, "eth0") {
			t.Errorf("DEL left %s", got)
		}
	}
}

// exchange sends 1 MB by TCP from pod to pod, which fails when checksums are left to offload.
func (w *world) exchange(from, to *pod, fromAddr, toAddr netip.Addr) {
	w.Helper()
	const size = 1 << 20
	var l net.Listener
	w.inNetns(to, func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(toAddr, 8080).String())
		return err
	})
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.Copy(conn, io.LimitReader(conn, size))
	}()
	var conn net.Conn
	w.inNetns(from, func() (err error) {
		d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(fromAddr, 0))}
		conn, err = d.Dial("tcp", l.Addr().String())
		return err
	})
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	go conn.Write(make([]byte, size))
	if n, err := io.Copy(io.Discard, io.LimitReader(conn, size)); n != size {
		w.Errorf("%s to %s: %d of %d bytes came back: %v", from.name, to.name, n, size, err)
	}
}

// The host's own stack does not answer a pod, whatever the pod sends to its end of the veth.
func TestHostDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	t.Cleanup(func() {
		w.run("ip", "addr", "flush", "dev", "lo", "scope", "global")
		w.run("ip", "route", "flush", "10.128.0.0/23")
	})
	w.run("ip", "addr", "add", "10.128.0.2/32", "dev", "lo")
	w.run("ip", "addr", "add", "fd01::2/128", "dev", "lo")
	w.run("ip", "route", "add", "10.128.0.0/23", "dev", "lo")
	for _, knob := range []string{"all", "default", "lo"} {
		os.WriteFile("/proc/sys/net/ipv4/conf/"+knob+"/rp_filter", []byte("0"), 0)
	}
	p := w.newPod(1)
	w.annotate(p)
	w.mustCNI("ADD", p, nil)
	// Without flows of OVN, so that only the host could answer.
	w.run("ovs-vsctl", "del-port", p.hostName())
	link := w.run("ip", "-o", "link", "show", p.hostName())
	mac := strings.Fields(link[strings.Index(link, "link/ether")+len("link/ether"):])[0]
	ping := func(a string) bool {
		return exec.Command("ip", "netns", "exec", filepath.Base(p.netns), "ping", "-c", "1", "-W", "1", a).Run() == nil
	}
	ping("10.128.0.2")
	if got := w.in(p, "ip", "neigh", "show", "10.128.0.2"); strings.Contains(got, "lladdr") {
		t.Errorf("the host answered ARP for one of its addresses: %s", got)
	}
	w.in(p, "ip", "neigh", "replace", "10.128.0.2", "lladdr", mac, "dev", "eth0", "nud", "permanent")
	w.in(p, "ip", "neigh", "replace", "fd01::2", "lladdr", mac, "dev", "eth0", "nud", "permanent")
	os.WriteFile("/proc/sys/net/ipv4/conf/"+p.hostName()+"/rp_filter", []byte("0"), 0)
	w.run("ip", "route", "add", "10.128.0.11/32", "dev", p.hostName())
	if ping("10.128.0.2") || ping("fd01::2") {
		t.Error("the host took frames from the pod past OVN")
	}
	if ping("ff02::1%eth0") {
		t.Error("the host answered a multicast ping")
	}
	// The same frames arrive when the guard is away: the test can fail.
	w.run("nft", "delete", "table", "inet", names.NFTPodTable)
	w.in(p, "ip", "neigh", "show")
	w.run("ip", "neigh", "replace", "10.128.0.11", "lladdr", p.network.MAC.String(), "dev", p.hostName(), "nud", "permanent")
	if !ping("10.128.0.2") {
		t.Error("without the guard the host does not answer either: this test proves nothing")
	}
}

func (w *world) inNetns(p *pod, f func() error) {
	w.Helper()
	if err := inNetnsOf(p.netns, f); err != nil {
		w.Fatal(err)
	}
}

func TestAddTwiceOnRealOVS(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	p := w.newPod(1)
	w.annotate(p)
	first := w.mustCNI("ADD", p, nil)
	uuid := w.run("ovs-vsctl", "get", "Port", p.hostName(), "_uuid")
	index := w.in(p, "cat", "/sys/class/net/eth0/ifindex")
	second := w.mustCNI("ADD", p, nil)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	if got := w.run("ovs-vsctl", "get", "Port", p.hostName(), "_uuid"); got != uuid {
		t.Error("the port was made anew")
	}
	if got := w.in(p, "cat", "/sys/class/net/eth0/ifindex"); got != index {
		t.Error("the veth was made anew")
	}
}

// What an agent that was killed in the middle has left is completed by the next ADD.
func TestAddAfterCrashOnRealOVS(t *testing.T) {
	w := newWorld(t)
	a := w.startAgent()
	n := 0
	for name, crash := range map[string]func(at attachment){
		"veth only": func(at attachment) { must(t, kernel{}.Create(at.veth)) },
		"port only": func(at attachment) { must(t, a.ports.Add(context.Background(), at.port)) },
		"not configured": func(at attachment) {
			must(t, kernel{}.Create(at.veth))
			must(t, a.ports.Add(context.Background(), at.port))
		},
		"veth gone": func(at attachment) { must(t, kernel{}.Delete(at.veth.HostName)) },
	} {
		n++
		p := w.newPod(n)
		t.Run(name, func(t *testing.T) {
			w.annotate(p)
			if name == "veth gone" {
				w.mustCNI("ADD", p, nil)
			}
			r, err := decode(protocol.Request{Command: "ADD", ContainerID: p.sandbox, Netns: p.netns, IfName: "eth0", Args: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=" + p.name})
			must(t, err)
			crash(a.plan(r, podInfo{UID: p.uid}, p.network))
			w.mustCNI("CHECK", p, w.mustCNI("ADD", p, nil))
			w.mustCNI("DEL", p, nil)
			w.wantUnplugged()
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A new sandbox of a pod takes the logical port over; the old sandbox's late DEL does not harm it.
func TestNewSandboxTakesOver(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	p := w.newPod(1)
	w.annotate(p)
	w.mustCNI("ADD", p, nil)
	old := *p
	w.sandboxes++
	p.sandbox, p.netns = strings.Replace(p.sandbox, "1", "f", 1), "/run/netns/cni-second"
	w.addNetns("cni-second")
	result := w.mustCNI("ADD", p, nil)
	if ports := w.run("ovs-vsctl", "list-ports", names.IntegrationBridge); ports != p.hostName() {
		t.Errorf("ports are %q: two claim one logical port", ports)
	}
	w.mustCNI("DEL", &old, nil)
	w.mustCNI("CHECK", p, result)
}

func TestAddFailsCleanly(t *testing.T) {
	w := newWorld(t)
	a := w.startAgent()
	// whenAtWork calls f once the agent works on the pod's ADD.
	whenAtWork := func(p *pod, f func()) {
		go func() {
			for range 10_000 {
				if a.sandboxes.busy(p.sandbox) {
					f()
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
	}
	t.Run("interface exists", func(t *testing.T) {
		p := w.newPod(1)
		w.annotate(p)
		w.in(p, "ip", "link", "add", "eth0", "type", "bridge")
		_, err := w.cni(context.Background(), "ADD", p, nil)
		wantCNICode(t, err, protocol.ErrPlumbing, "veth:", "eth0", "exists")
		w.wantNothingLeft()
	})
	t.Run("no namespace", func(t *testing.T) {
		p := w.newPod(2)
		w.annotate(p)
		p.netns = "/run/netns/none"
		_, err := w.cni(context.Background(), "ADD", p, nil)
		wantCNICode(t, err, types.ErrInvalidNetNS, "/run/netns/none")
		w.wantNothingLeft()
	})
	t.Run("no flows", func(t *testing.T) {
		p := w.newPod(3)
		w.annotateOnly(p)
		c := client(w.socket())
		c.Limits.Total = 3 * time.Second
		response, err := c.Do(context.Background(), w.request("ADD", p))
		must(t, err)
		wantCNICode(t, response.Error, types.ErrTryAgainLater, "flows:", "default_pod3", "ovn-sbctl")
		w.wantNothingLeft()
	})
	t.Run("namespace removed meanwhile", func(t *testing.T) {
		p := w.newPod(4)
		whenAtWork(p, func() { exec.Command("ip", "netns", "del", filepath.Base(p.netns)).Run() })
		begin := time.Now()
		_, err := w.cni(context.Background(), "ADD", p, nil)
		wantCNICode(t, err, protocol.ErrCancelled, "annotation:", "removed")
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("noticed after %v", took)
		}
		w.wantNothingLeft()
	})
	t.Run("plugin killed", func(t *testing.T) {
		p := w.newPod(5)
		w.annotateOnly(p) // no logical port: waits for flows
		ctx, cancel := context.WithCancel(context.Background())
		whenAtWork(p, func() { time.AfterFunc(300*time.Millisecond, cancel) })
		if _, err := w.cni(ctx, "ADD", p, nil); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		w.eventually("nothing left", func() bool { return len(w.leftovers()) == 0 })
	})
	t.Run("pod replaced", func(t *testing.T) {
		p := w.newPod(6)
		w.annotateOnly(p)
		whenAtWork(p, func() { w.deletePod(p) })
		_, err := w.cni(context.Background(), "ADD", p, nil)
		wantCNICode(t, err, protocol.ErrPodGone, "default/pod6")
		w.wantNothingLeft()
	})
}

func (w *world) request(command string, p *pod) protocol.Request {
	return protocol.Request{
		Command: command, ContainerID: p.sandbox, Netns: p.netns, IfName: "eth0",
		Args:   "K8S_POD_NAMESPACE=default;K8S_POD_NAME=" + p.name + ";K8S_POD_UID=" + p.uid,
		Config: []byte(`{"cniVersion":"1.1.0","name":"n","type":"t"}`),
	}
}

func TestDelOfWhatIsGone(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	p := w.newPod(1)
	w.annotate(p)
	w.mustCNI("DEL", p, nil) // never attached
	w.mustCNI("ADD", p, nil)
	w.deletePod(p)
	w.run("ip", "netns", "del", filepath.Base(p.netns))
	for range 2 {
		w.mustCNI("DEL", p, nil)
	}
	w.wantUnplugged()
}

// An agent that ends between the answer to DEL and the deletion of the veth leaves that to the next one.
func TestNextAgentDeletesVeth(t *testing.T) {
	w := newWorld(t)
	a := w.startAgent()
	a.unplug.grace = time.Hour
	p, alive := w.newPod(1), w.newPod(2)
	for _, p := range []*pod{p, alive} {
		w.annotate(p)
		w.mustCNI("ADD", p, nil)
	}
	w.mustCNI("DEL", p, nil)
	if diff := cmp.Diff([]string{"port " + alive.hostName(), "veth " + p.hostName(), "veth " + alive.hostName()}, w.leftovers()); diff != "" {
		t.Errorf("at the answer:\n%s", diff)
	}
	a.stop()
	w.startAgent()
	w.mustCNI("DEL", p, nil)
	want := []string{"port " + alive.hostName(), "veth " + alive.hostName()}
	w.eventually("the veth is gone", func() bool { return cmp.Equal(want, w.leftovers()) })
}

// A sandbox that is attached again before its veth was deleted keeps the new one.
func TestAddAfterDelKeepsVeth(t *testing.T) {
	w := newWorld(t)
	a := w.startAgent()
	p := w.newPod(1)
	w.annotate(p)
	w.mustCNI("ADD", p, nil)
	w.mustCNI("DEL", p, nil)
	result := w.mustCNI("ADD", p, nil)
	must(t, a.unplug.deleteAll(context.Background()))
	w.mustCNI("CHECK", p, result)
}

func TestCheckNamesDifferences(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	p := w.newPod(1)
	w.annotate(p)
	for name, test := range map[string]struct {
		breaks func()
		texts  []string
	}{
		"address":              {func() { w.in(p, "ip", "addr", "del", "10.128.0.11/23", "dev", "eth0") }, []string{"lacks address 10.128.0.11/23", "lacks route 0.0.0.0/0 via 10.128.0.1"}},
		"IPv6 route":           {func() { w.in(p, "ip", "-6", "route", "del", "default") }, []string{"lacks route ::/0 via fd01::1"}},
		"MAC":                  {func() { w.in(p, "ip", "link", "set", "eth0", "address", "0a:58:0a:80:00:99") }, []string{"has MAC 0a:58:0a:80:00:99"}},
		"MTU":                  {func() { w.in(p, "ip", "link", "set", "eth0", "mtu", "1300") }, []string{"has MTU 1300 and not 1400"}},
		"pod down":             {func() { w.in(p, "ip", "link", "set", "eth0", "down") }, []string{"eth0 is down"}},
		"host down":            {func() { w.run("ip", "link", "set", p.hostName(), "down") }, []string{"veth " + p.hostName() + " is down"}},
		"offload":              {func() { w.inNetns(p, func() error { return setTxChecksumForTest("eth0") }) }, []string{"leaves checksums to offload"}},
		"veth":                 {func() { w.run("ip", "link", "del", p.hostName()) }, []string{"veth " + p.hostName() + " is gone"}},
		"port":                 {func() { w.run("ovs-vsctl", "del-port", p.hostName()) }, []string{"port " + p.hostName() + " is gone"}},
		"port for another pod": {func() { w.run("ovs-vsctl", "set", "Interface", p.hostName(), "external_ids:iface-id=default_other") }, []string{"default_other"}},
		"flows":                {func() { w.run("ovn-nbctl", "lsp-del", "default_pod1") }, []string{"ovn-installed"}},
	} {
		t.Run(name, func(t *testing.T) {
			w.logicalPort(p)
			result := w.mustCNI("ADD", p, nil)
			w.mustCNI("CHECK", p, result)
			test.breaks()
			var err error
			// Open vSwitch and OVN take a moment to notice some of it.
			w.eventually("CHECK fails", func() bool { _, err = w.cni(context.Background(), "CHECK", p, result); return err != nil })
			wantCNICode(t, err, protocol.ErrCheck, test.texts...)
			w.mustCNI("DEL", p, nil)
		})
	}
	w.wantUnplugged()
}

// A later plugin of the list may change routes: CHECK goes by the final result.
func TestCheckAllowsForChainedPlugins(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	p := w.newPod(1)
	w.annotate(p)
	result := w.mustCNI("ADD", p, nil)
	result.Routes = slices.DeleteFunc(result.Routes, func(r *types.Route) bool { return r.Dst.String() == "192.0.2.0/24" })
	w.in(p, "ip", "route", "del", "192.0.2.0/24")
	w.in(p, "ip", "addr", "add", "198.51.100.1/32", "dev", "eth0")
	w.mustCNI("CHECK", p, result)
}

func TestGCOnRealOVS(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	kept, stale, half := w.newPod(1), w.newPod(2), w.newPod(3)
	for _, p := range []*pod{kept, stale, half} {
		w.annotate(p)
		w.mustCNI("ADD", p, nil)
	}
	w.run("ovs-vsctl", "del-port", half.hostName())
	w.run("ovs-vsctl", "add-port", names.IntegrationBridge, "foreign", "--", "set", "Interface", "foreign", "type=internal")
	conf := map[string]any{
		"cniVersion": "1.1.0", "name": names.CNINetworkName, "type": names.CNIPlugin,
		"cni.dev/valid-attachments": []map[string]string{{"containerID": kept.sandbox, "ifname": "eth0"}},
	}
	if _, err := w.cniConf(context.Background(), "GC", nil, conf); err != nil {
		t.Fatal(err)
	}
	left := w.leftovers()
	slices.Sort(left)
	if diff := cmp.Diff([]string{"port " + kept.hostName(), "port foreign", "veth " + kept.hostName()}, left); diff != "" {
		t.Error(diff)
	}
}

// At boot the database still has the ports of pods that are no more.
func TestPortsWithoutVethGoAtStart(t *testing.T) {
	w := newWorld(t)
	a := w.startAgent()
	p, alive := w.newPod(1), w.newPod(2)
	for _, p := range []*pod{p, alive} {
		w.annotate(p)
		w.mustCNI("ADD", p, nil)
	}
	a.stop()
	w.run("ip", "link", "del", p.hostName())
	w.startAgent()
	if diff := cmp.Diff([]string{"port " + alive.hostName(), "veth " + alive.hostName()}, w.leftovers()); diff != "" {
		t.Error(diff)
	}
}

func TestStatusOnRealOVS(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	conf := map[string]any{"cniVersion": "1.1.0", "name": names.CNINetworkName, "type": names.CNIPlugin}
	if _, err := w.cniConf(context.Background(), "STATUS", nil, conf); err != nil {
		t.Error(err)
	}
	stopDaemon(w.daemons["ovn-controller"]) // it would make the bridge again
	w.run("ovs-vsctl", "--no-wait", "del-br", names.IntegrationBridge)
	var err error
	w.eventually("STATUS fails", func() bool { _, err = w.cniConf(context.Background(), "STATUS", nil, conf); return err != nil })
	wantCNICode(t, err, types.ErrPluginNotAvailable, "br-int")
}

// A pod that is created while the agent is away is attached as soon as the agent is back.
func TestAddDuringRestart(t *testing.T) {
	w := newWorld(t)
	a := w.startAgent()
	p, q := w.newPod(1), w.newPod(2)
	w.annotate(p)
	results := make(chan error, 2)
	// q is under way when the agent stops (it waits for its annotation), p comes while it is away.
	go func() { _, err := w.cni(context.Background(), "ADD", q, nil); results <- err }()
	w.eventually("ADD at work", func() bool { return a.sandboxes.busy(q.sandbox) })
	a.stop()
	go func() { _, err := w.cni(context.Background(), "ADD", p, nil); results <- err }()
	w.annotate(q)
	time.Sleep(500 * time.Millisecond)
	begin := time.Now()
	w.startAgent()
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("attached %v after the agent's return", took)
	}
}

// Neither a restart of the local database nor a bridge that comes late fails an ADD.
func TestAddWhileDatabaseRestarts(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	p := w.newPod(1)
	w.annotate(p)
	stopDaemon(w.daemons["local ovsdb-server"])
	result := make(chan error, 1)
	go func() { _, err := w.cni(context.Background(), "ADD", p, nil); result <- err }()
	time.Sleep(500 * time.Millisecond)
	os.Remove(w.path("db.sock"))
	os.Remove(w.path("local.ctl"))
	w.startLocalDatabase()
	select {
	case err := <-result:
		must(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("ADD does not end")
	}
	w.mustCNI("DEL", p, nil)
	w.wantUnplugged()
}

func TestOnlyRootIsServed(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	// Even where somebody has opened the doors.
	for dir := filepath.Dir(w.socket()); dir != "/tmp"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	must(t, os.Chmod(w.socket(), 0o777))
	out, err := exec.Command("setpriv", "--reuid=65534", "--clear-groups", "env", "CNI_COMMAND=STATUS", "CNI_PATH=/", "OVNKUBE_CNI_SOCKET="+w.socket(),
		"sh", "-c", `echo '{"cniVersion":"1.1.0","name":"n","type":"t"}' | `+shimBinary()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not root") {
		t.Errorf("got %v: %s", err, out)
	}
}

// Sixty pods at once are attached, work, and go without a trace.
func TestManyAtOnce(t *testing.T) {
	const many = 60
	w := newWorld(t)
	w.startAgent()
	pods := make([]*pod, many)
	for n := range pods {
		pods[n] = w.newPod(n)
		w.annotate(pods[n])
	}
	results := make([]*types100.Result, many)
	together(pods, func(n int, p *pod) { results[n] = w.tryCNI("ADD", p, nil) })
	together(pods, func(n int, p *pod) { w.tryCNI("CHECK", p, results[n]) })
	if ports := strings.Fields(w.run("ovs-vsctl", "list-ports", names.IntegrationBridge)); len(ports) != many {
		t.Errorf("%d ports for %d pods", len(ports), many)
	}
	w.exchange(pods[0], pods[many-1], pods[0].network.Addresses[0].Addr(), pods[many-1].network.Addresses[0].Addr())
	together(pods, func(_ int, p *pod) { w.tryCNI("DEL", p, nil) })
	w.wantUnplugged()
}

func together(pods []*pod, f func(n int, p *pod)) {
	var wg sync.WaitGroup
	for n, p := range pods {
		wg.Go(func() { f(n, p) })
	}
	wg.Wait()
}

// tryCNI is mustCNI for goroutines.
func (w *world) tryCNI(command string, p *pod, prev *types100.Result) *types100.Result {
	result, err := w.cni(context.Background(), command, p, prev)
	if err != nil {
		w.Errorf("%s %s: %v", command, p.name, err)
	}
	return result
}

// Pods that come and go at random, with plugins killed and repeated, leave nothing.
func TestChurn(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	var pods []*pod
	for n := range 20 {
		p := w.newPod(n)
		w.annotate(p)
		pods = append(pods, p)
	}
	together(pods, func(n int, p *pod) {
		for round := range 3 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(5+13*((n+round)%4))*time.Millisecond)
			w.cni(ctx, "ADD", p, nil)
			cancel()
			if (n+round)%2 == 0 {
				w.tryCNI("ADD", p, nil)
			}
			w.tryCNI("DEL", p, nil)
		}
	})
	w.wantUnplugged()
}
