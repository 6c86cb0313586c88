//go:build e2e

package faults

import (
	"errors"
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

// report shows a table, and adds it to the file that the flag names.
func report(t *testing.T, title string, rows []row) {
	if len(rows) == 0 {
		return
	}
	var b strings.Builder
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(&b, "## %s\n\n%s, %s, %d processors, load %s; 5 ways, each with 4 kinds of requests, %d a second of each.\n\n%s",
		title, time.Now().Format(time.DateOnly), run.family, runtime.NumCPU(), strings.Join(strings.Fields(string(load))[:3], " "), run.rate, heading)
	for _, r := range rows {
		fmt.Fprintln(&b, r)
	}
	t.Log("\n" + b.String())
	if run.table == "" {
		return
	}
	f, err := os.OpenFile(run.table, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	must(t, err)
	_, err = fmt.Fprintln(f, b.String())
	must(t, errors.Join(err, f.Close()))
}
