package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/cluster"
)

// printStatus shows a lab on one screen.
func printStatus(out io.Writer, st cluster.Status) {
	state := "up"
	if !st.Up {
		state = "DOWN (its first process has ended)"
	}
	fmt.Fprintf(out, "lab %s: %s, pid %d, %s, install %s\n", st.Name, state, st.PID, st.Family, st.Install)
	fmt.Fprintf(out, "Open vSwitch %s, OVN %s", orDash(st.OVS), orDash(st.OVN))
	if st.OVNRoot != "" {
		fmt.Fprintf(out, " from %s", st.OVNRoot)
	}
	fmt.Fprintln(out)
	if st.APIError != "" {
		fmt.Fprintf(out, "API server: %s\n", st.APIError)
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MACHINE\tCOMPONENT\tSTATE\tPID\tRESTARTS\tRSS\tAGE\tDETAIL")
	for _, m := range st.Machines {
		fmt.Fprintf(w, "%s\t\t%s\t%s\t\t\t\t%s\n", m.Name, machineState(m), number(m.PID), m.Message)
		for _, c := range m.Components {
			fmt.Fprintf(w, "\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", c.Name, c.State, number(c.PID), c.Restarts, mebibytes(c.RSS),
				time.Since(c.Since).Round(time.Second), c.Detail)
		}
	}
	_ = w.Flush()
}

func machineState(m cluster.MachineStatus) string {
	switch {
	case !m.Running && m.Ended != "":
		return "off, " + m.Ended
	case !m.Running:
		return "off"
	case m.Ready == "True":
		return "Ready"
	case m.Ready != "":
		return "NotReady"
	}
	return "on"
}

func number(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func mebibytes(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
