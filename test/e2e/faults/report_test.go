//go:build e2e

package faults

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

const heading = `| Fault | Requests | Datagrams lost | New connections failed | Long connections broken | Longest gap | Slowest answer | A new pod can be used after |
|---|---|---|---|---|---|---|---|
`

func (r row) String() string {
	usable := seconds(r.usable)
	if r.fromHeal {
		usable += " from its end"
	}
	gap := "none"
	if r.outage > 0 {
		gap = seconds(r.outage)
	}
	name := r.name
	if r.losses > 0 && r.trials > r.losses {
		name += fmt.Sprintf(" (try %d)", r.trials)
	}
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %s | %s | %s |", name, r.sent, r.lost, r.failed, r.broken, gap, seconds(r.stall), usable)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// report shows the table, and writes it where the flag says.
func report(t *testing.T, rows []row) {
	var b strings.Builder
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(&b, "%s, %s, %d processors, load %s; 5 ways, each with 4 kinds of requests, %d a second of each.\n\n%s",
		time.Now().Format(time.DateOnly), run.family, runtime.NumCPU(), strings.Join(strings.Fields(string(load))[:3], " "), run.rate, heading)
	for _, r := range rows {
		fmt.Fprintln(&b, r)
	}
	t.Log("\n" + b.String())
	if run.table == "" {
		return
	}
	if err := os.WriteFile(run.table, []byte(b.String()), 0o644); err != nil {
		t.Error(err)
	}
}
