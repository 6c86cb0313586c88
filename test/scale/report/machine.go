package report

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// versionTimeout is for a program that says its version.
const versionTimeout = 10 * time.Second

// Machine is what the figures depend on.
type Machine struct {
	Cores int `json:"cores"`
	// CPU is the processor's name.
	CPU string `json:"cpu"`
	// Memory is in bytes.
	Memory int64 `json:"memory"`
	// Kernel is its release, of which people are told the first two numbers.
	Kernel string `json:"kernel"`
	// OVN and OVS are versions.
	OVN string `json:"ovn"`
	OVS string `json:"ovs"`
	// Load is the average of runnable tasks in the minute before (proc(5), loadavg): what else the machine did.
	Load float64 `json:"load"`
	// Kubernetes is the API server's version.
	Kubernetes string `json:"kubernetes"`
	// Revision is that of this repository, with "+" when files were changed.
	Revision string `json:"revision"`
}

// String says it in one line.
func (m Machine) String() string {
	parts := []string{
		fmt.Sprintf("%d cores (%s)", m.Cores, m.CPU),
		fmt.Sprintf("%.0f GiB memory", float64(m.Memory)/(1<<30)),
		"Linux " + minor(m.Kernel),
	}
	for _, v := range []struct{ name, version string }{{"OVN", m.OVN}, {"OVS", m.OVS}, {"Kubernetes", m.Kubernetes}, {"revision", m.Revision}} {
		if v.version != "" {
			parts = append(parts, v.name+" "+v.version)
		}
	}
	return strings.Join(parts, ", ")
}

// minor returns the first two numbers of a release: what comes behind says who has built the kernel.
func minor(release string) string {
	numbers := strings.SplitN(release, ".", 3)
	return strings.Join(numbers[:min(2, len(numbers))], ".")
}

// ThisMachine asks the kernel and the installed programs. What cannot be found out stays empty.
func ThisMachine(root string) Machine {
	m := Machine{
		Cores:    runtime.NumCPU(),
		CPU:      field("/proc/cpuinfo", "model name"),
		OVN:      lastWord(output("ovn-northd", "--version")),
		OVS:      lastWord(output("ovsdb-server", "--version")),
		Revision: revision(root),
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(text), &m.Load)
	}
	kib, _ := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	m.Memory = kib << 10
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return m
}

// With is m with the programs of another root folder; empty: as it is.
func (m Machine) With(ovnRoot string) Machine {
	if ovnRoot != "" {
		m.OVN = lastWord(output("chroot", ovnRoot, "ovn-northd", "--version"))
		m.OVS = lastWord(output("chroot", ovnRoot, "ovsdb-server", "--version"))
	}
	return m
}

func revision(root string) string {
	rev := output("git", "-C", root, "rev-parse", "--short=10", "HEAD")
	if rev != "" && output("git", "-C", root, "status", "--porcelain", "--untracked-files=no", "--", "go-controller") != "" {
		rev += "+"
	}
	return rev
}

// output returns the first line a command prints, empty when it fails.
func output(name string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

func lastWord(line string) string {
	words := strings.Fields(line)
	if len(words) == 0 {
		return ""
	}
	return words[len(words)-1]
}

// field returns the value of the first line "name : value" of a file.
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, ok := strings.Cut(s.Text(), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
