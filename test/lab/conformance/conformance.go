// Package conformance runs Kubernetes' own end-to-end suite against a lab.
package conformance

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/lab/cluster"
)

// Options choose what runs.
type Options struct {
	// Focus and Skip are Ginkgo's regular expressions over the specs' names; an empty Skip skips nothing.
	Focus, Skip string
	// Procs is the number of specs run at a time.
	Procs int
	// Timeout is how long all may take.
	Timeout time.Duration
	// ReportDir gets junit files; it is made if missing.
	ReportDir string
}

// Spec is the outcome of one spec.
type Spec struct {
	Name    string  `xml:"name,attr"`
	Status  string  `xml:"status,attr"` // Ginkgo's: passed, failed, skipped, …
	Seconds float64 `xml:"time,attr"`
	Skip    struct {
		Message string `xml:"message,attr"`
	} `xml:"skipped"`
}

// Ginkgo's words for specs that did not run.
const (
	statusSkipped = "skipped"
	statusPending = "pending"
)

// filtered tells whether the spec was not chosen, which the report lists like specs that skip themselves.
func (s Spec) filtered() bool {
	return s.Status == statusPending || s.Status == statusSkipped && s.skipReason() == ""
}

// skipReason is what a spec said that skipped itself.
func (s Spec) skipReason() string {
	_, reason, _ := strings.Cut(s.Skip.Message, " - ")
	return reason
}

// Passed tells whether the spec ran and held.
func (s Spec) Passed() bool { return s.Status == "passed" }

// ErrFailed says that specs failed, or that none ran.
var ErrFailed = errors.New("conformance")

// Run runs the specs from the control plane's network and prints the outcome of each. The set
// must hold e2e.test and ginkgo, and the nodes the images the specs use.
func Run(ctx context.Context, lab *cluster.Lab, set artifact.Set, o Options, out io.Writer) error {
	if err := os.MkdirAll(o.ReportDir, 0o755); err != nil {
		return err
	}
	report := filepath.Join(o.ReportDir, "junit_01.xml")
	if err := os.Remove(report); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// A failed spec makes ginkgo fail; which one is in the report, so the report is read first.
	runErr := lab.RunNet(ctx, "cp", cluster.IO{Stdout: out, Stderr: out}, commandLine(lab, set, o)...)
	specs, err := readReport(report)
	if err != nil {
		return errors.Join(runErr, err)
	}
	return errors.Join(summarize(specs, out), runErr)
}

func commandLine(lab *cluster.Lab, set artifact.Set, o Options) []string {
	argv := []string{set.Path("ginkgo"), "run", "--procs=" + strconv.Itoa(max(o.Procs, 1)), "--no-color", "--succinct",
		"--silence-skips", "--output-interceptor-mode=none", "--timeout=" + o.Timeout.String(), "--focus=" + o.Focus}
	if o.Skip != "" {
		argv = append(argv, "--skip="+o.Skip)
	}
	return append(argv, set.Path("e2e.test"), "--",
		"--provider=skeleton", "--kubeconfig="+lab.Kubeconfig(), "--kubectl-path="+set.Path("kubectl"),
		"--num-nodes="+strconv.Itoa(len(lab.Nodes())), "--node-os-distro=debian", "--allowed-not-ready-nodes=0",
		"--minStartupPods=0", "--system-pods-startup-timeout=1m", "--disable-log-dump=true", "--report-dir="+o.ReportDir)
}

// readReport returns the specs that ran.
func readReport(path string) ([]Spec, error) {
	specs, err := readAll(path)
	return slices.DeleteFunc(specs, func(s Spec) bool { return s.Status == statusSkipped || s.Status == statusPending }), err
}

// readAll returns all specs of the report.
func readAll(path string) ([]Spec, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the suite left no report: %w", err)
	}
	var doc struct {
		Suites []struct {
			Cases []Spec `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("report %s: %w", path, err)
	}
	var specs []Spec
	for _, suite := range doc.Suites {
		specs = append(specs, suite.Cases...)
	}
	return specs, nil
}

func summarize(specs []Spec, out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	failed, ran := 0, 0
	for _, spec := range specs {
		if isSpec(spec.Name) {
			ran++
		}
		if !spec.Passed() {
			failed++
		}
		fmt.Fprintf(table, "%.1fs\t%s\t  %s\n", spec.Seconds, spec.Status, spec.Name)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d specs ran, %d failed\n", ran, failed)
	if failed > 0 || ran == 0 {
		return fmt.Errorf("%w: %d specs ran, %d failed", ErrFailed, ran, failed)
	}
	return nil
}

// isSpec tells specs ("[It] …") from the set-up and report nodes that Ginkgo lists too.
func isSpec(name string) bool { return strings.HasPrefix(name, "[It] ") }
