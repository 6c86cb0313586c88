package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/conformance"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// conformanceLab is the name of the lab that the suite runs in.
const conformanceLab = "conformance"

func newConformance() *cobra.Command {
	o := conformance.Options{}
	lab := cluster.Options{Name: conformanceLab, Nodes: 3, Install: plan.InstallProcess, Conformance: true, Out: os.Stdout}
	var family string
	var keep, reuse bool
	c := &cobra.Command{Use: "conformance", Short: "Run specs of Kubernetes' own end-to-end suite in a lab of their own", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			set, err := artifact.Ensure(c.Context(), artifact.Options{}, artifact.Names(artifact.GroupLab, artifact.GroupConformance)...)
			if err != nil {
				return err
			}
			if o.ReportDir, err = filepath.Abs(o.ReportDir); err != nil {
				return err
			}
			if reuse {
				l, err := cluster.Open(conformanceLab)
				if err != nil {
					return err
				}
				return conformance.Run(c.Context(), l, set, o, os.Stdout)
			}
			l, err := upAnew(c.Context(), lab, family)
			if !keep {
				defer func() { err = errors.Join(err, down(context.WithoutCancel(c.Context()), lab.Name)) }()
			}
			if err != nil {
				return err
			}
			client, err := l.Client()
			if err != nil {
				return err
			}
			if err := conformance.LabelZones(c.Context(), client, l.Nodes()); err != nil {
				return err
			}
			return conformance.Run(c.Context(), l, set, o, os.Stdout)
		}}
	f := c.Flags()
	f.StringVar(&o.Focus, "focus", `Granular Checks: Pods`, "regular expression: specs to run")
	f.StringVar(&o.Skip, "skip", "", "regular expression: specs to leave out")
	f.IntVar(&o.Procs, "procs", 4, "specs at a time")
	f.DurationVar(&o.Timeout, "timeout", 2*time.Hour, "how long all specs together may take")
	f.StringVar(&o.ReportDir, "report-dir", "_output/conformance", "folder for junit files")
	f.StringVar(&family, "ip-family", string(plan.IPv4), "IP family of nodes and pods: ipv4, ipv6 or dual")
	f.IntVar(&lab.Nodes, "nodes", 3, "number of nodes, in three zones")
	f.StringVar(&lab.OVNRoot, "ovn-root", "", "root file system to run Open vSwitch and OVN from, instead of the host's")
	f.StringVar(&lab.BinDir, "bin-dir", "", "folder with the project's executables (default _output/bin of the repository)")
	f.BoolVar(&keep, "keep", false, "leave the lab up")
	f.BoolVar(&reuse, "reuse", false, "run in the lab that --keep has left, and leave it up")
	c.AddCommand(newConformanceResults())
	return c
}

func newConformanceResults() *cobra.Command {
	var columns []string
	var into, specs string
	c := &cobra.Command{
		Use:   "results",
		Short: "Write what the suite's reports say into a document",
		Long: `Write what the suite's reports say into a document, between its lines

    ` + resultsBegin + `
    ` + resultsEnd + `

A column is a title and the reports of its runs in their order: --column IPv4=all/junit_01.xml,again/junit_01.xml.
A spec that failed in one run and passed in a later one of the column is marked.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			match, err := regexp.Compile(specs)
			if err != nil {
				return fmt.Errorf("--specs: %w", err)
			}
			var list []conformance.Column
			for _, text := range columns {
				name, reports, ok := strings.Cut(text, "=")
				if !ok {
					return fmt.Errorf("--column %q: want TITLE=REPORT[,REPORT…]", text)
				}
				list = append(list, conformance.Column{Name: name, Reports: strings.Split(reports, ",")})
			}
			var results bytes.Buffer
			if err := conformance.WriteResults(&results, list, match, conformance.KnownReasons()); err != nil {
				return err
			}
			return replaceResults(into, results.String())
		},
	}
	f := c.Flags()
	f.StringArrayVar(&columns, "column", nil, "TITLE=REPORT[,REPORT…]; may be repeated")
	f.StringVar(&specs, "specs", `^\[sig-network\]`, "regular expression: specs to list")
	f.StringVar(&into, "into", "docs/conformance.md", "document to write into")
	return c
}

// Lines of the document around the results.
const (
	resultsBegin = "<!-- results: written by ovnlab conformance results -->"
	resultsEnd   = "<!-- end of results -->"
)

func replaceResults(path, results string) error {
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(document), resultsBegin)
	_, after, end := strings.Cut(rest, resultsEnd)
	if !ok || !end {
		return fmt.Errorf("%s lacks the lines %s and %s", path, resultsBegin, resultsEnd)
	}
	text := before + resultsBegin + "\n\n" + strings.TrimSpace(results) + "\n\n" + resultsEnd + after
	return os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // a document
}
