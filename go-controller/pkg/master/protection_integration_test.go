//go:build integration

package master

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

// A pod that asks at full speed for a service without endpoints makes ovn-controller write a refusal for each packet, unless it is
// kept from it. Refusals go on meanwhile, and all get theirs afterwards.
func TestFloodOfRefusals(t *testing.T) { onItsOwn(t, testFloodOfRefusals) }

func testFloodOfRefusals(t *testing.T) {
	l := newLive(t)
	ovsdbtest.StartNorthd(t, l.nb, l.sb)
	l.addGatewayNode(2, names.GatewayModeShared)
	l.run()
	l.await("pods are served", func() bool { return l.ports() == 2 && l.quiet() })
	h := l.podHost(t)
	h.sh("ip netns exec pod sysctl -qw net.ipv4.icmp_ratelimit=0")
	l.newServices(t, testService{name: "none", number: 3})

	for _, c := range []struct{ vip, icmp string }{{"172.30.0.3", "ip4:icmp"}, {"fd02::3", "ip6:ipv6-icmp"}} {
		refusals := h.countRefusals("pod", c.icmp)
		h.until("a datagram to "+c.vip+" is refused", func() bool {
			h.knock("pod", c.vip)
			return refusals.Load() > 0
		})
		const limit, burst, length = 500, 500, 4 * time.Second
		before, busy, began := refusals.Load(), h.cpu("ovn-controller"), time.Now()
		sent := h.flood("pod", c.vip, length)
		// What is on its way still counts, and so does the time until the last has been read.
		got, took := int64(0), time.Since(began)
		for n := refusals.Load() - before; n != got; n = refusals.Load() - before {
			got, took = n, time.Since(began)
			time.Sleep(time.Second)
		}
		t.Logf("MEASURED: %s: %d datagrams, the last answered after %v, %d refused, ovn-controller busy for %v", c.vip, sent, took.Round(time.Millisecond), got, h.cpu("ovn-controller")-busy)
		if most := int64(burst + limit*took.Seconds()*1.3); got > most {
			t.Errorf("%s: %d refusals, at most %d were to be made", c.vip, got, most)
		}
		if got <= burst {
			t.Errorf("%s: only %d refusals: within the limit they must go on after the first %d", c.vip, got, burst)
		}
		h.until("after the flood a datagram to "+c.vip+" is refused", func() bool {
			n := refusals.Load()
			h.knock("pod", c.vip)
			time.Sleep(50 * time.Millisecond)
			return refusals.Load() > n
		})
	}
}

func (h *host) until(what string, done func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("never: %s", what)
		}
	}
}

// countRefusals counts the messages "port unreachable" that arrive in a namespace.
func (h *host) countRefusals(namespace, network string) *atomic.Int64 {
	h.t.Helper()
	var count atomic.Int64
	h.in(namespace, func() error {
		c, err := net.ListenPacket(network, "")
		if err != nil {
			return err
		}
		h.t.Cleanup(func() { _ = c.Close() })
		_ = c.(*net.IPConn).SetReadBuffer(8 << 20)
		go func() {
			for buffer := make([]byte, 2000); ; {
				n, _, err := c.ReadFrom(buffer)
				if err != nil {
					return
				}
				// RFC 792 and RFC 4443.
				if n > 1 && (buffer[0] == 3 && buffer[1] == 3 || buffer[0] == 1 && buffer[1] == 4) {
					count.Add(1)
				}
			}
		}()
		return nil
	})
	return &count
}

// knock sends one datagram.
func (h *host) knock(namespace, to string) {
	h.t.Helper()
	h.in(namespace, func() error {
		c, err := net.Dial("udp", net.JoinHostPort(to, "80"))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("?"))
		return err
	})
}

// flood sends as fast as it goes, and returns how many datagrams went.
func (h *host) flood(namespace, to string, length time.Duration) int {
	h.t.Helper()
	sent := 0
	h.in(namespace, func() error {
		c, err := net.ListenPacket("udp", "")
		if err != nil {
			return err
		}
		defer c.Close()
		target := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(to), 80))
		for deadline := time.Now().Add(length); time.Now().Before(deadline); {
			if _, err := c.WriteTo([]byte("?"), target); err == nil {
				sent++
			}
		}
		return nil
	})
	return sent
}

// cpu is the processor time that a daemon has used so far; there is only one of the name in the test's own process namespace.
func (h *host) cpu(name string) time.Duration {
	h.t.Helper()
	pids, err := exec.Command("pgrep", "-x", name).Output()
	if err != nil {
		h.t.Fatalf("pgrep %s: %v", name, err)
	}
	stat, err := os.ReadFile("/proc/" + strings.Fields(string(pids))[0] + "/stat")
	if err != nil {
		h.t.Fatal(err)
	}
	// proc(5): utime and stime are the 12th and 13th after the name, in hundredths of a second.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	total := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			h.t.Fatal(err)
		}
		total += n
	}
	return time.Duration(total) * 10 * time.Millisecond
}
