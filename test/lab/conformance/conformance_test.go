package conformance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func report(t *testing.T, cases string) []Spec {
	t.Helper()
	path := filepath.Join(t.TempDir(), "junit.xml")
	xml := `<?xml version="1.0"?><testsuites><testsuite name="Kubernetes">` + cases + `</testsuite></testsuites>`
	if err := os.WriteFile(path, []byte(xml), 0o600); err != nil {
		t.Fatal(err)
	}
	specs, err := readReport(path)
	if err != nil {
		t.Fatal(err)
	}
	return specs
}

func TestOutcome(t *testing.T) {
	const (
		setup   = `<testcase name="[SynchronizedBeforeSuite]" status="passed" time="0.5"/>`
		good    = `<testcase name="[It] [sig-network] pods talk" status="passed" time="3.25"/>`
		bad     = `<testcase name="[It] [sig-network] names resolve" status="failed" time="9"/>`
		skipped = `<testcase name="[It] [sig-storage] disks" status="skipped" time="0"/>`
	)
	for name, c := range map[string]struct {
		cases  string
		says   string
		failed bool
	}{
		"all pass":        {setup + good + skipped, "1 specs ran, 0 failed", false},
		"one fails":       {setup + good + bad, "2 specs ran, 1 failed", true},
		"nothing matches": {setup + skipped, "0 specs ran, 0 failed", true},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := summarize(report(t, c.cases), &out)
			if errors.Is(err, ErrFailed) != c.failed {
				t.Errorf("error %v", err)
			}
			if !strings.Contains(out.String(), c.says) || strings.Contains(out.String(), "disks") {
				t.Errorf("printed:\n%s", &out)
			}
		})
	}
}

func TestNoReport(t *testing.T) {
	if _, err := readReport(filepath.Join(t.TempDir(), "none.xml")); err == nil {
		t.Error("a missing report is no success")
	}
}
