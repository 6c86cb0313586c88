//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/e2e/places"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// podMTU leaves 100 bytes of the underlay's 1500 for Geneve.
const podMTU = 1400

// protocols of mustReach.
const (
	icmp = "icmp"
	tcp  = "tcp"
	udp  = "udp"
)

// reach asks the test program in another pod who we are, or pings, and returns the address it saw.
func reach(ctx context.Context, from, to traffic.Place, is4 bool, proto string, at uint16) (netip.Addr, error) {
	dst := to.Address(is4)
	switch proto {
	case icmp:
		return netip.Addr{}, traffic.Ping(ctx, from, dst, traffic.PingOptions{})
	case tcp:
		return seenAddress(httpGet(ctx, from, port(dst, at), "/clientip"))
	case udp:
		return seenAddress(traffic.Ask(ctx, from, "udp", port(dst, at), "clientip"))
	}
	return netip.Addr{}, fmt.Errorf("unknown protocol %q", proto)
}

func seenAddress(answer string, err error) (netip.Addr, error) {
	if err != nil {
		return netip.Addr{}, err
	}
	ap, err := netip.ParseAddrPort(strings.TrimSpace(answer))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("answer %q: %w", answer, err)
	}
	return ap.Addr().Unmap(), nil
}

// httpGet fetches a path over a connection of its own.
func httpGet(ctx context.Context, from traffic.Place, at netip.AddrPort, path string) (string, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return from.Dial(ctx, "tcp", at)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", at, resp.Status)
	}
	return string(body), err
}

// mustReach fails unless from reaches to over a protocol, in every family of the lab, and returns the
// address that the other side saw last. A pod's neighbours may learn of it a moment after it is ready.
func (e *env) mustReach(from, to traffic.Place, proto string, at uint16) netip.Addr {
	e.Helper()
	var seen netip.Addr
	for _, is4 := range e.families() {
		seen = e.mustReachFamily(from, to, is4, proto, at)
	}
	return seen
}

func (e *env) mustReachFamily(from, to traffic.Place, is4 bool, proto string, at uint16) netip.Addr {
	e.Helper()
	began := time.Now()
	for try := 1; ; try++ {
		ctx, cancel := context.WithTimeout(e.ctx, time.Second)
		seen, err := reach(ctx, from, to, is4, proto, at)
		cancel()
		if err == nil {
			if waited := time.Since(began); try > 1 && waited > 100*time.Millisecond {
				e.measured("%s → %s (%s): reached at try %d, after %v", from, to, proto, try, waited.Round(time.Millisecond))
			}
			return seen
		}
		if time.Since(began) > patience || e.ctx.Err() != nil {
			e.Errorf("%s does not reach %s at %s over %s: %v", from, to, to.Address(is4), proto, err)
			return netip.Addr{}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func testReachability(e *env) {
	near, far := e.Nodes()[0], e.Nodes()[1]
	type end struct {
		traffic.Place
		machine   string
		host      bool
		http, udp uint16
	}
	places := e.startAll(
		newPod(e.ns, "a", onNode(near)),
		newPod(e.ns, "b", onNode(near)),
		newPod(e.ns, "c", onNode(far)),
		newPod(e.ns, "host-near", onNode(near), hostNetwork),
		newPod(e.ns, "host-far", onNode(far), hostNetwork),
	)
	var ends []end
	for i, p := range places {
		x := end{Place: p, machine: near, http: httpPort, udp: udpPort}
		if i == 2 || i == 4 {
			x.machine = far
		}
		if i >= 3 {
			x.host, x.http, x.udp = true, hostHTTPPort, hostUDPPort
		}
		ends = append(ends, x)
	}
	// A node speaks to pods with the management port's address, to nodes with its own.
	own := map[string][]netip.Addr{}
	for i, n := range []string{near, far} {
		own[ends[3+i].Name] = append(e.machine(n).Addresses, e.managementAddresses(n)...)
	}
	pairs := 0
	for _, from := range ends {
		for _, to := range ends {
			if from.Name == to.Name {
				continue
			}
			for _, is4 := range e.families() {
				pairs++
				e.mustReachFamily(from.Place, to.Place, is4, icmp, 0)
				for proto, at := range map[string]uint16{tcp: to.http, udp: to.udp} {
					seen := e.mustReachFamily(from.Place, to.Place, is4, proto, at)
					want := []netip.Addr{from.Address(is4)}
					if from.host {
						want = own[from.Name]
					} else if to.host && from.machine != to.machine { // Outside, for pods.
						want = e.machine(from.machine).Addresses
					}
					if seen.IsValid() && !slices.Contains(want, seen) {
						e.Errorf("%s → %s over %s: the other side saw %s, want one of %v", from, to, proto, seen, want)
					}
				}
			}
		}
	}
	e.measured("%d directed pairs reached over ICMP, TCP and UDP", pairs)
}

// managementAddresses are the addresses of a node's management port.
func (e *env) managementAddresses(node string) []netip.Addr {
	e.Helper()
	prefixes, err := places.Addresses(e.machine(node).NetNS, names.ManagementPort)
	e.must(err)
	var out []netip.Addr
	for _, p := range prefixes {
		out = append(out, p.Addr())
	}
	return out
}

func testPacketSizes(e *env) {
	near, far := e.Nodes()[0], e.Nodes()[1]
	p := e.startAll(newPod(e.ns, "a", onNode(near)), newPod(e.ns, "b", onNode(near)), newPod(e.ns, "c", onNode(far)))
	for _, x := range p {
		mtu, err := linkMTU(x.NetNS, "eth0")
		e.must(err)
		if mtu != podMTU {
			e.Errorf("%s: MTU of eth0 is %d, want %d", x, mtu, podMTU)
		}
	}
	hosts := []traffic.Place{e.machine(near), e.machine(far)}
	for _, c := range []struct {
		name     string
		from, to traffic.Place
	}{
		{"same node", p[0], p[1]}, {"cross node", p[0], p[2]}, {"cross node, back", p[2], p[0]},
		{"node to its pod", hosts[0], p[0]}, {"node to a pod elsewhere", hosts[0], p[2]},
	} {
		for _, is4 := range e.families() {
			e.checkSizes(c.name, c.from, c.to, is4)
		}
	}
}

// checkSizes sends packets that just fit, that do not fit, and a lot of data.
func (e *env) checkSizes(name string, from, to traffic.Place, is4 bool) {
	e.Helper()
	e.mustReachFamily(from, to, is4, icmp, 0)
	dst, header := to.Address(is4), 48
	if is4 {
		header = 28
	}
	ping := func(size int, df bool) error {
		ctx, cancel := context.WithTimeout(e.ctx, 5*time.Second)
		defer cancel()
		// Twice: what passes is the question here, not how reliably.
		err := traffic.Ping(ctx, from, dst, traffic.PingOptions{Size: size, DontFragment: df})
		if err != nil && (!df || size <= podMTU-header) {
			err = traffic.Ping(ctx, from, dst, traffic.PingOptions{Size: size, DontFragment: df})
		}
		return err
	}
	if err := ping(podMTU-header, true); err != nil {
		e.Errorf("%s: packets of %d bytes do not pass: %v", name, podMTU, err)
	}
	if err := ping(podMTU-header+1, true); err == nil {
		e.Errorf("%s: an unfragmented packet of %d bytes passed an MTU of %d", name, podMTU+1, podMTU)
	}
	if err := ping(4000, false); err != nil {
		e.Errorf("%s: fragmented packets do not pass: %v", name, err)
	}
	echo, err := traffic.ServeEcho(to, port(dst, 7007))
	e.must(err)
	defer echo.Close()
	for _, size := range []int{1, 1372, 1400, 8000} {
		e.eventually(func() error { // What passes is the question, not whether nothing is ever lost.
			ctx, cancel := context.WithTimeout(e.ctx, 2*time.Second)
			defer cancel()
			if err := traffic.EchoOnce(ctx, from, "udp", echo.At, size); err != nil {
				return fmt.Errorf("%s: datagram of %d bytes: %w", name, size, err)
			}
			return nil
		})
	}
	const bulk = 16 << 20
	ctx, cancel := context.WithTimeout(e.ctx, 20*time.Second)
	defer cancel()
	took, err := traffic.Transfer(ctx, from, to, port(dst, 7008), bulk)
	if err != nil {
		e.Errorf("%s: transfer of %d MiB: %v", name, bulk>>20, err)
		return
	}
	e.measured("%s, IPv%s: %d MiB over TCP in %v, %.0f Mbit/s", name, map[bool]string{true: "4", false: "6"}[is4], bulk>>20,
		took.Round(time.Millisecond), bulk*8/took.Seconds()/1e6)
}

// acquaint lets pods' gateway routers find out their neighbours' MACs: OVN may lose the first packets to one that it has not met.
func (e *env) acquaint(pods []traffic.Place, neighbours ...traffic.Place) {
	e.Helper()
	for _, pod := range pods {
		for _, neighbour := range neighbours {
			for _, is4 := range e.families() {
				e.mustReachFamily(pod, neighbour, is4, icmp, 0)
			}
		}
	}
	e.nb("--wait=hv", "sync") // What was found out is in the nodes' flows.
}

func testEgress(e *env) {
	outside := e.machine("outside")
	for i, node := range e.Nodes()[:2] {
		pod := e.start(fmt.Sprintf("client-%d", i), onNode(node))
		host := e.machine(node)
		e.acquaint([]traffic.Place{pod}, outside)
		for _, is4 := range e.families() {
			for _, network := range []string{tcp, udp} {
				seen, err := e.seenOutside(pod, outside, network, is4)
				if err != nil {
					e.Errorf("%s on %s → outside over %s: %v", pod, node, network, err)
				} else if seen != host.Address(is4) {
					e.Errorf("%s on %s → outside over %s came from %s, want the node's address %s", pod, node, network, seen, host.Address(is4))
				}
			}
			ctx, cancel := context.WithTimeout(e.ctx, 15*time.Second)
			took, err := traffic.Transfer(ctx, pod, outside, port(outside.Address(is4), 7009), 8<<20)
			cancel()
			if err != nil {
				e.Errorf("%s on %s → outside, 8 MiB: %v", pod, node, err)
			} else {
				e.measured("pod to a host outside: 8 MiB in %v", took.Round(time.Millisecond))
			}
		}
	}
}

// seenOutside sends something to a server outside and returns the address that it came from.
func (e *env) seenOutside(from, outside traffic.Place, network string, is4 bool) (netip.Addr, error) {
	at := port(outside.Address(is4), 7010)
	ctx, cancel := context.WithTimeout(e.ctx, 2*time.Second)
	defer cancel()
	seen := make(chan netip.Addr, 1)
	if network == udp {
		c, err := outside.ListenUDP(at)
		if err != nil {
			return netip.Addr{}, err
		}
		defer c.Close()
		go func() {
			var b [64]byte
			n, from, err := c.ReadFromUDPAddrPort(b[:])
			if err == nil {
				_, _ = c.WriteToUDPAddrPort(b[:n], from)
				seen <- from.Addr().Unmap()
			}
		}()
	} else {
		l, err := outside.ListenTCP(at)
		if err != nil {
			return netip.Addr{}, err
		}
		defer l.Close()
		go func() {
			c, err := l.AcceptTCP()
			if err == nil {
				_, _ = io.CopyN(c, c, 8)
				seen <- c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
				_ = c.Close()
			}
		}()
	}
	if err := traffic.EchoOnce(ctx, from, network, at, 8); err != nil {
		return netip.Addr{}, err
	}
	return <-seen, nil
}
