package harness

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc/PID/stat; sysconf(_SC_CLK_TCK) is 100 on every Linux architecture
// that Go supports.
const clockTick = 10 * time.Millisecond

// Usage is what a process has cost.
type Usage struct {
	// CPU is user and system time of all its threads since it started, with a resolution of 10 ms.
	CPU time.Duration
	// Children is the same of the processes that it started and that have ended.
	Children time.Duration
	// RSS and PSS are now, PeakRSS is the highest RSS since it started; all in bytes. PSS counts a
	// page that n processes share as 1/n page.
	RSS, PeakRSS, PSS int64
}

// Usage reads what the process has cost until now.
func (p *Process) Usage() (Usage, error) {
	u, err := ReadUsage("/proc", p.PID())
	if err != nil {
		return u, fmt.Errorf("resource usage of %s: %w", p.name, err)
	}
	return u, nil
}

// ReadUsage reads the usage of any process, by its id in the given /proc.
func ReadUsage(proc string, pid int) (Usage, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	var u Usage
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u, err
	}
	if u.CPU, u.Children, err = parseCPU(string(stat)); err != nil {
		return u, err
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, err
	}
	rollup, err := os.ReadFile(dir + "/smaps_rollup")
	if err != nil {
		return u, err
	}
	u.RSS, u.PeakRSS = kibField(status, "VmRSS"), kibField(status, "VmHWM")
	u.PSS = kibField(rollup, "Pss")
	return u, nil
}

// parseCPU adds utime and stime, the 14th and 15th field of /proc/PID/stat, and cutime and cstime, the two after them
// (proc_pid_stat(5)). The second field, the command's name in brackets, may hold blanks and brackets.
func parseCPU(stat string) (own, children time.Duration, err error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 15 {
		return 0, 0, fmt.Errorf("unexpected content of /proc/PID/stat: %q", stat)
	}
	var ticks [4]int64
	for i, f := range fields[11:15] {
		if ticks[i], err = strconv.ParseInt(f, 10, 64); err != nil {
			return 0, 0, fmt.Errorf("unexpected content of /proc/PID/stat: %w", err)
		}
	}
	return time.Duration(ticks[0]+ticks[1]) * clockTick, time.Duration(ticks[2]+ticks[3]) * clockTick, nil
}

// kibField returns the bytes in a line "NAME:   123 kB"; 0 when there is none.
func kibField(data []byte, name string) int64 {
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		key, value, ok := strings.Cut(s.Text(), ":")
		if !ok || key != name {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0
		}
		return kib << 10
	}
	return 0
}
