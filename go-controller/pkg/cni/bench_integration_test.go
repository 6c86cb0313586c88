//go:build integration

package cni

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// BenchmarkAdd measures ADD and DEL through the plugin binary, one at a time and many at once, and beside it
// the floor: the same logical port and OVS port made with ovn-nbctl and ovs-vsctl, waiting for ovn-installed. (The floor's
// veth is made beforehand and nothing in the pod is configured.)
//
//	go test -tags integration -run '^$' -bench Add -benchtime 1x ./go-controller/pkg/cni
func BenchmarkAdd(b *testing.B) {
	for _, bench := range []struct{ rounds, atOnce, standing int }{{40, 1, 0}, {40, 1, 100}, {3, 60, 0}} {
		b.Run(fmt.Sprintf("atOnce=%d/standing=%d", bench.atOnce, bench.standing), func(b *testing.B) {
			w := newWorld(b)
			w.startAgent()
			for n := range bench.standing {
				p := w.newPod(100 + n)
				w.annotate(p)
				w.mustCNI("ADD", p, nil)
			}
			m := &measure{world: w, atOnce: bench.atOnce}
			m.floor(0)
			m.ours(0, false)
			m.times, m.costs = nil, nil
			for range b.N {
				for round := range bench.rounds {
					m.floor(round)
					m.ours(round, false)
					m.ours(round, true)
				}
			}
			m.report(b)
			m.reportCosts(b)
		})
	}
}

// measure collects times by what took them.
type measure struct {
	*world
	atOnce int

	mu    sync.Mutex
	times map[string][]time.Duration
	// costs are sums of processor time, and the number of ADDs that they are for.
	costs map[string]time.Duration
}

func (m *measure) note(what string, begin time.Time) {
	took := time.Since(begin)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.times == nil {
		m.times = map[string][]time.Duration{}
	}
	m.times[what] = append(m.times[what], took)
}

// together calls f for atOnce pods at once.
func (m *measure) together(pods []*pod, f func(p *pod)) {
	var wg sync.WaitGroup
	for _, p := range pods {
		wg.Go(func() { f(p) })
	}
	wg.Wait()
}

func (m *measure) pods() []*pod {
	var pods []*pod
	for n := range m.atOnce {
		pods = append(pods, m.newPod(n))
	}
	return pods
}

func (m *measure) forget(pods []*pod) {
	for _, p := range pods {
		m.deletePod(p)
		m.run("ovn-nbctl", "--if-exists", "lsp-del", names.PodLogicalPort("default", p.name))
		exec.Command("ip", "netns", "del", strings.TrimPrefix(p.netns, "/run/netns/")).Run()
	}
	m.run("ovn-nbctl", "--wait=hv", "sync")
}

// ours measures ADD and DEL. With known, the logical ports exist before, as for a pod whose master was quicker than its
// kubelet; else making them is part of what is measured.
func (m *measure) ours(round int, known bool) {
	pods := m.pods()
	what := "add+lsp"
	if known {
		what = "add"
		for _, p := range pods {
			m.annotate(p)
		}
		m.run("ovn-nbctl", "--wait=hv", "sync")
	}
	before := m.cpu()
	m.together(pods, func(p *pod) {
		begin := time.Now()
		if !known {
			m.annotate(p)
		}
		m.mustCNI("ADD", p, nil)
		m.note(what, begin)
	})
	m.spent(what, before)
	m.together(pods, func(p *pod) {
		begin := time.Now()
		m.mustCNI("DEL", p, nil)
		m.note("del", begin)
	})
	m.forget(pods)
}

// cpu returns the processor time used so far, by process.
func (m *measure) cpu() map[string]time.Duration {
	out := map[string]time.Duration{}
	for name, cmd := range m.daemons {
		out[name] = cpuOf(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	}
	out["agent"] = cpuOf("/proc/self/stat")
	var children syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children) == nil {
		out["plugin"] = time.Duration(children.Utime.Nano() + children.Stime.Nano())
	}
	return out
}

func cpuOf(stat string) time.Duration {
	data, err := os.ReadFile(stat)
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func (m *measure) spent(what string, before map[string]time.Duration) {
	if m.costs == nil {
		m.costs = map[string]time.Duration{}
	}
	for name, after := range m.cpu() {
		m.costs[what+" cpu "+name] += after - before[name]
	}
	m.costs[what] += time.Duration(m.atOnce)
}

func (m *measure) floor(round int) {
	pods := m.pods()
	for _, p := range pods {
		m.run("ip", "link", "add", p.hostName(), "type", "veth", "peer", "name", "eth0", "netns", strings.TrimPrefix(p.netns, "/run/netns/"))
		m.run("ip", "link", "set", p.hostName(), "up")
	}
	m.together(pods, func(p *pod) {
		begin := time.Now()
		m.logicalPort(p)
		m.run("ovs-vsctl", "add-port", names.IntegrationBridge, p.hostName(), "--", "set", "Interface", p.hostName(),
			"external_ids:iface-id="+names.PodLogicalPort("default", p.name), "external_ids:iface-id-ver="+p.uid)
		m.run("ovs-vsctl", "wait-until", "Interface", p.hostName(), "external_ids:ovn-installed=true")
		m.note("floor", begin)
	})
	m.together(pods, func(p *pod) {
		begin := time.Now()
		m.run("ovs-vsctl", "del-port", names.IntegrationBridge, p.hostName())
		m.run("ip", "link", "del", p.hostName())
		m.note("floor-del", begin)
	})
	m.forget(pods)
}

func (m *measure) report(b *testing.B) {
	b.ReportMetric(0, "ns/op")
	for what, times := range m.times {
		slices.Sort(times)
		b.ReportMetric(percentile(times, 50), what+"-p50-ms")
		b.ReportMetric(percentile(times, 99), what+"-p99-ms")
	}
}

// reportCosts prints the processor time of an ADD.
func (m *measure) reportCosts(b *testing.B) {
	for what, sum := range m.costs {
		if kind, process, ok := strings.Cut(what, " cpu "); ok {
			b.Logf("%s: %s: %.1f ms of processor time an ADD", kind, process, sum.Seconds()*1000/float64(m.costs[kind]))
		}
	}
}

func percentile(sorted []time.Duration, p float64) float64 {
	i := int(math.Ceil(p/100*float64(len(sorted)))) - 1
	return float64(sorted[i].Microseconds()) / 1000
}
