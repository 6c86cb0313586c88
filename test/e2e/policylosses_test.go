//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// losses tells who lost packets between two ends. What a policy drops ovn-controller logs, packet for packet (the namespace's
// annotation asks for that): the log is the proof. What nobody but the machine has lost is in the counters of Open vSwitch's datapath and of the
// kernel's sockets.
type losses struct {
	policyLab
	from, to traffic.Place
	// at is the end that serves.
	at     netip.AddrPort
	before map[string]int
	logs   map[string]int64
}

// logDrops lets policies of the scenario's namespace log what they drop, until the returned function is called.
func (c policyLab) logDrops() (end func()) {
	c.Helper()
	annotate := func(value string) {
		patch := []byte(`{"metadata":{"annotations":{"k8s.ovn.org/acl-logging":` + value + `}}}`)
		c.must(c.client.CoreV1().RESTClient().Patch(types.MergePatchType).Resource("namespaces").Name(c.ns).Body(patch).Do(c.ctx).Error())
	}
	annotate(`"{\"deny\":\"info\"}"`)
	return func() { annotate("null") }
}

// watchLosses notes how things are now.
func (c policyLab) watchLosses(from, to traffic.Place, at netip.AddrPort) losses {
	c.Helper()
	l := losses{policyLab: c, from: from, to: to, at: at, logs: map[string]int64{}}
	l.before = l.counters()
	for _, n := range c.Nodes() {
		if st, err := os.Stat(c.LogFile(n, "ovn-controller")); err == nil {
			l.logs[n] = st.Size()
		}
	}
	return l
}

// byPolicies are the lines about packets of the flow, in either direction, that ACLs dropped since.
func (l losses) byPolicies() []string {
	var out []string
	for _, n := range l.Nodes() {
		for _, line := range linesSince(l.LogFile(n, "ovn-controller"), l.logs[n]) {
			_, where, logged := strings.Cut(line, "acl_log")
			if logged && strings.Contains(where, "verdict=drop") && l.isOf(where) {
				out = append(out, n+": "+line)
			}
		}
	}
	return out
}

// isOf tells whether the packet of a log's line is of the flow. The ends may have others: connections of former parts that are being closed.
func (l losses) isOf(line string) bool {
	client, server, number := l.from.Address(l.at.Addr().Is4()).String(), l.at.Addr().String(), strconv.Itoa(int(l.at.Port()))
	return hasFields(line, "_src="+client, "_dst="+server, "tp_dst="+number) || hasFields(line, "_src="+server, "_dst="+client, "tp_src="+number)
}

// byTheMachine are the counters of drops that have grown since.
func (l losses) byTheMachine() []string {
	var out []string
	for what, n := range l.counters() {
		if more := n - l.before[what]; more > 0 {
			out = append(out, fmt.Sprintf("%s: %d", what, more))
		}
	}
	slices.Sort(out)
	return out
}

// judge fails the test when policies dropped packets of the flow, and when some were lost of which the machine knows nothing.
func (l losses) judge(r traffic.Report) {
	l.Helper()
	l.measured("%s", r)
	if byPolicies := l.byPolicies(); len(byPolicies) > 0 {
		l.Errorf("while policies changed that allow it all the time, they dropped packets of %s:\n%s", r, strings.Join(byPolicies[:min(5, len(byPolicies))], "\n"))
		return
	}
	if r.Lost == 0 && r.Err == nil {
		return
	}
	if byMachine := l.byTheMachine(); len(byMachine) > 0 {
		l.measured("lost by no policy but by the machine (%s): %s", strings.Join(byMachine, ", "), r)
		return
	}
	l.Errorf("while policies changed that allow it all the time, and dropped no packet of it: %s", r)
}

var (
	// datapathDrop are the counters of packets that Open vSwitch's userspace datapath drops because it is busy or a flow cannot be set up.
	datapathDrop = regexp.MustCompile(`^(datapath_drop_(?:upcall_error|lock_error|rx_invalid_packet|userspace_action_error)) .*total: (\d+)`)
	// socketDrops of "ss -m": packets that did not fit into the socket's queue.
	socketDrops = regexp.MustCompile(`skmem:\([^)]*,d(\d+)\)`)
)

// counters are drops that are not the policies': in datapaths, in the queues between ports and datapaths, and in the ends' sockets.
func (l losses) counters() map[string]int {
	l.Helper()
	out := map[string]int{}
	for _, n := range l.Nodes() {
		for line := range strings.Lines(l.on(n, "ovs-appctl", "coverage/show")) {
			if m := datapathDrop.FindStringSubmatch(line); m != nil {
				out[n+" "+m[1]], _ = strconv.Atoi(m[2])
			}
		}
		for _, m := range socketDrops.FindAllStringSubmatch(l.on(n, "ss", "-H", "-0", "-m"), -1) {
			more, _ := strconv.Atoi(m[1])
			out[n+" queues of ports"] += more
		}
	}
	for _, p := range []traffic.Place{l.from, l.to} {
		text, err := traffic.Output(l.ctx, p, "nstat", "-a", "-s", "-z", "UdpRcvbufErrors", "Udp6RcvbufErrors")
		l.must(err)
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) > 1 && !strings.HasPrefix(f[0], "#") {
				more, _ := strconv.Atoi(f[1])
				out[p.Name+" "+f[0]] += more
			}
		}
	}
	return out
}

// hasFields tells whether each of ends is the end of a field of a log's line: nw_src and ipv6_src are both the source.
func hasFields(line string, ends ...string) bool {
	fields := strings.FieldsFunc(line, func(r rune) bool { return r == ',' || r == ' ' })
	return !slices.ContainsFunc(ends, func(end string) bool {
		return !slices.ContainsFunc(fields, func(f string) bool { return strings.HasSuffix(f, end) })
	})
}

// linesSince returns the lines of a file from an offset on.
func linesSince(path string, offset int64) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil
	}
	var out []string
	for s := bufio.NewScanner(f); s.Scan(); {
		out = append(out, s.Text())
	}
	return out
}
