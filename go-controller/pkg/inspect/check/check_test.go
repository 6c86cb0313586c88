package check

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
)

func example() *Report {
	return &Report{Name: "ovnkube.connectivity", Findings: []Finding{
		{Check: "pod to pod", State: OK, Took: 1500 * time.Millisecond},
		{Check: "pod to node", State: Fail, Detail: `"TIMEOUT" & <more>`, Next: "kubectl ovn status"},
		{Check: "pod to outside", State: Skip, Detail: "no address"},
		{Check: "versions", State: Warn, Detail: "old"},
	}}
}

func TestJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := example().JUnit(&b); err != nil {
		t.Fatal(err)
	}
	want := `<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="ovnkube.connectivity" tests="4" failures="1" skipped="1" time="1.500">
  <testcase classname="ovnkube.connectivity" name="pod to pod" time="1.500"></testcase>
  <testcase classname="ovnkube.connectivity" name="pod to node" time="0.000">
    <failure message="&#34;TIMEOUT&#34; &amp; &lt;more&gt; kubectl ovn status"></failure>
  </testcase>
  <testcase classname="ovnkube.connectivity" name="pod to outside" time="0.000">
    <skipped message="no address"></skipped>
  </testcase>
  <testcase classname="ovnkube.connectivity" name="versions" time="0.000">
    <system-out>old</system-out>
  </testcase>
</testsuite>
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := example().Write(&output.Printer{Out: &b, Format: output.Table}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(b.String(), "\n\n4 checks: 1 ok, 1 warn, 1 fail, 1 skip.\n") || !strings.Contains(b.String(), "kubectl ovn status") {
		t.Errorf("table:\n%s", b.String())
	}
}
