//go:build integration

package master

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

const insideVariable = "OVNKUBE_MASTERTEST_INSIDE"

// onItsOwn runs body in network, mount and process namespaces of its own, which vanish with it.
func onItsOwn(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	if os.Getenv(insideVariable) == t.Name() {
		body(t)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), insideVariable+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC, Pdeathsig: syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("inside: %v\n%s", err, out)
	}
}

// host is a node's Open vSwitch (userspace datapath) and OVN controller, and namespaces that are plugged into it.
type host struct {
	t   *testing.T
	dir string
}

func (h *host) sh(format string, args ...any) {
	h.t.Helper()
	command := fmt.Sprintf(format, args...)
	if out, err := exec.Command("sh", "-ec", command).CombinedOutput(); err != nil {
		h.t.Fatalf("%s: %v: %s", command, err, out)
	}
}

func (h *host) daemon(args ...string) {
	h.t.Helper()
	args = append(args, "-vconsole:warn", "-vsyslog:off", "-vfile:off")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+h.dir, "OVN_RUNDIR="+h.dir)
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

// newHost is the host of node n2, connected to the southbound database.
func newHost(t *testing.T, sb *ovsdbtest.Server) *host {
	vs := ovsdbtest.Start(t, ovsdbtest.VSwitch())
	h := &host{t: t, dir: filepath.Dir(strings.TrimPrefix(vs.Endpoint(), "unix:"))}
	h.sh("mount --make-rprivate / && mount -t proc proc /proc && mount -t tmpfs tmpfs /run && ip link set lo up")
	vs.Ctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev", "fail_mode=secure",
		"--", "add-br", "br-ex", "--", "set", "Bridge", "br-ex", "datapath_type=netdev",
		"--", "set", "Open_vSwitch", ".", "external_ids:system-id=id-n2", "external_ids:hostname=n2", `external_ids:ovn-remote="`+sb.Endpoint()+`"`,
		"external_ids:ovn-encap-type=geneve", "external_ids:ovn-encap-ip=192.0.2.2", "external_ids:ovn-bridge-mappings=physnet:br-ex",
		"external_ids:ovn-bridge-datapath-type=netdev")
	h.daemon("ovs-vswitchd", vs.Endpoint())
	h.daemon("ovn-controller", vs.Endpoint())
	h.sh("ovs-vsctl --db=%s --timeout=10 init", vs.Endpoint())
	return h
}

// podHost is newHost with pod a2 on it, in a namespace of its own.
func (l *live) podHost(t *testing.T) *host {
	h := newHost(t, l.sb)
	pod, _ := l.pods.Get("ns/a2")
	own := strings.Fields(l.address("a2"))
	h.plug("pod", "br-int", 1400, fmt.Sprintf("external_ids:iface-id=ns_a2 external_ids:iface-id-ver=%s", pod.UID))
	h.sh(`ip -n pod link set eth0 address %s
		ip -n pod addr add %s/23 dev eth0; ip -n pod addr add %s/64 dev eth0 nodad
		ip -n pod route add default via 10.128.0.1; ip -n pod route add default via fd01::1`, addr.MAC(netip.MustParseAddr(own[0])), own[0], own[1])
	return h
}

// plug makes a namespace and plugs its eth0 into a bridge.
func (h *host) plug(name, bridge string, mtu int, external string) {
	h.t.Helper()
	h.sh(`ip netns add %[1]s; ip link add v%[1]s type veth peer name eth0 netns %[1]s
		ip -n %[1]s link set lo up; ip -n %[1]s link set eth0 mtu %[2]d up; ip link set v%[1]s up
		ip netns exec %[1]s ethtool -K eth0 tx off > /dev/null; ethtool -K v%[1]s tx off > /dev/null`, name, mtu)
	h.sh("ovs-vsctl --db=%s --timeout=10 add-port %s v%s -- set Interface v%s %s", "unix:"+filepath.Join(h.dir, "db.sock"), bridge, name, name, external)
}

// in calls f on a thread in a namespace; sockets that f makes stay there.
func (h *host) in(namespace string, f func() error) {
	h.t.Helper()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // For good: the thread ends with the goroutine.
		ns, err := os.Open("/run/netns/" + namespace)
		if err == nil {
			defer ns.Close()
			if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
				err = f()
			}
		}
		result <- err
	}()
	if err := <-result; err != nil {
		h.t.Fatalf("in %s: %v", namespace, err)
	}
}

// serve answers UDP packets on a port with their senders' addresses.
func (h *host) serve(namespace, port string) {
	h.in(namespace, func() error {
		for _, network := range []string{"udp4", "udp6"} {
			c, err := net.ListenPacket(network, ":"+port)
			if err != nil {
				return err
			}
			h.t.Cleanup(func() { _ = c.Close() })
			go answer(c.(*net.UDPConn))
		}
		return nil
	})
}

// answer sends from the address that was asked, whichever the route back would choose. What says "hold" is answered together
// with the next that does not.
func answer(c *net.UDPConn) {
	_ = setPacketInfo(c)
	buffer, control := make([]byte, 2000), make([]byte, 200)
	var held []string
	for {
		n, m, _, from, err := c.ReadMsgUDPAddrPort(buffer, control)
		if err != nil {
			return
		}
		if source := from.Addr().Unmap().String(); !slices.Contains(held, source) {
			held = append(held, source)
		}
		if string(buffer[:n]) != "hold" {
			_, _, _ = c.WriteMsgUDPAddrPort([]byte(strings.Join(held, " ")), control[:m], from)
			held = nil
		}
	}
}

func setPacketInfo(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	})
}

func (h *host) dial(namespace, address, port string) *net.UDPConn {
	h.t.Helper()
	var conn *net.UDPConn
	h.in(namespace, func() error {
		c, err := net.Dial("udp", net.JoinHostPort(address, port))
		if err == nil {
			conn = c.(*net.UDPConn)
		}
		return err
	})
	h.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ask returns the answer to a packet.
func (h *host) ask(c *net.UDPConn, limit time.Duration) string {
	buffer := make([]byte, 100)
	_, _ = c.Write([]byte("?"))
	_ = c.SetReadDeadline(time.Now().Add(limit))
	n, err := c.Read(buffer)
	if err != nil {
		return "nothing"
	}
	return string(buffer[:n])
}

// reach returns a connection on which there is an answer, and that. Until the flows are there, each try is a connection of its own.
func (h *host) reach(namespace, address, port string) (*net.UDPConn, string) {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c := h.dial(namespace, address, port)
		if got := h.ask(c, 200*time.Millisecond); got != "nothing" || time.Now().After(deadline) {
			return c, got
		}
	}
}

// askThrice sends three packets before there is an answer. Each is a packet of a connection that the one before has made.
func (h *host) askThrice(c *net.UDPConn) string {
	for range 2 {
		_, _ = c.Write([]byte("hold"))
		time.Sleep(50 * time.Millisecond)
	}
	return h.ask(c, time.Second)
}

// pathMTU sends packets that must not be fragmented until it is told that they are too big, and returns the MTU it was told.
func (h *host) pathMTU(c *net.UDPConn, v4 bool, size int) int {
	level, discover, mtu := unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_MTU
	if v4 {
		level, discover, mtu = unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_MTU
	}
	raw, err := c.SyscallConn()
	if err != nil {
		h.t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, discover, 2 /* IP_PMTUDISC_DO */) })
	if err != nil {
		h.t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err := c.Write(make([]byte, size)); errors.Is(err, unix.EMSGSIZE) {
			break
		}
	}
	told := 0
	_ = raw.Control(func(fd uintptr) { told, err = unix.GetsockoptInt(int(fd), level, mtu) })
	if err != nil {
		h.t.Fatal(err)
	}
	return told
}

// Real packets, from a pod to the outside and from the outside to a pod, also through services; what is too big for pods is
// answered so that the sender understands it.
func TestGatewayPackets(t *testing.T) { onItsOwn(t, testGatewayPackets) }

func testGatewayPackets(t *testing.T) {
	l := newLive(t)
	l.noSNAT = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:5::/48")}
	ovsdbtest.StartNorthd(t, l.nb, l.sb)
	l.addGatewayNode(2, names.GatewayModeShared)
	l.run()
	l.await("pods are served", func() bool { return l.ports() == 2 && l.quiet() })

	h, own := l.podHost(t), strings.Fields(l.address("a2"))
	h.plug("world", "br-ex", 1500, "external_ids:x=y")
	h.sh(`for a in 172.18.0.1/24 192.0.2.200/32 198.51.100.7/32; do ip -n world addr add $a dev eth0; done
		for a in fd00:172:18::1/64 2001:db8::1/128 2001:db8:5::7/128; do ip -n world addr add $a dev eth0 nodad; done
		ip -n world route add 10.128.0.0/14 via 172.18.0.12; ip -n world route add fd01::/48 via fd00:172:18::12`)
	// What the host sends to services comes to the gateway router so.
	h.plug("host", "br-ex", 1400, "external_ids:x=y")
	h.sh(`ip -n host link set eth0 address %s
		ip -n host addr add 169.254.169.2/29 dev eth0; ip -n host addr add fd69::2/125 dev eth0 nodad
		for a in 169.254.169.4 fd69::4; do ip -n host neigh add $a lladdr 02:42:ac:12:00:12 dev eth0; done
		ip -n host route add 172.30.0.0/16 via 169.254.169.4; ip -n host route add fd02::/112 via fd69::4`, names.MasqueradeNextHopMAC())
	h.serve("world", "7000")
	h.serve("pod", "8080")
	l.newServices(t,
		testService{name: "inside", number: 1, endpoints: []string{"a2"}},
		testService{name: "local", number: 2, endpoints: []string{"a2"}, change: func(s *kube.Service) { withNodePorts(s); s.ExternalLocal = true }},
	)

	for _, c := range []struct{ what, from, to, port, seen string }{
		{"egress", "pod", "192.0.2.200 2001:db8::1", "7000", "172.18.0.12 fd00:172:18::12"},
		{"egress to the next hop", "pod", "172.18.0.1 fd00:172:18::1", "7000", "172.18.0.12 fd00:172:18::12"},
		{"egress without SNAT", "pod", "198.51.100.7 2001:db8:5::7", "7000", own[0] + " " + own[1]},
		{"ingress without NAT", "world", own[0] + " " + own[1], "8080", "172.18.0.1 fd00:172:18::1"},
		// With the policy Cluster a packet passes connection tracking more often than the userspace datapath allows.
		{"node port, policy Local", "world", "172.18.0.12 fd00:172:18::12", "30002", "172.18.0.1 fd00:172:18::1"},
		{"host to service", "host", "172.30.0.1 fd02::1", "80", "100.64.0.2 fd98::2"},
		{"to itself", "pod", "172.30.0.1 fd02::1", "80", "169.254.169.5 fd69::5"},
	} {
		seen := strings.Fields(c.seen)
		for i, to := range strings.Fields(c.to) {
			conn, got := h.reach(c.from, to, c.port)
			if got != seen[i] {
				t.Errorf("%s: %s answers to %s, want %s", c.what, to, got, seen[i])
			}
			if c.from == "host" { // On a connection of its own, that nobody has answered yet.
				if got := h.askThrice(h.dial(c.from, to, c.port)); got != seen[i] {
					t.Errorf("%s: three packets before an answer come from %s, want %s", c.what, got, seen[i])
				}
			}
			if c.from == "world" {
				if got := h.pathMTU(conn, i == 0, 1440); got != 1400 {
					t.Errorf("%s: path MTU to %s is %d, want 1400", c.what, to, got)
				}
			}
		}
	}
}
