package harness

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func record(body string) string {
	return fmt.Sprintf("OVSDB JSON %d 0123456789abcdef\n%s", len(body), body)
}

func TestCountTransactions(t *testing.T) {
	schema := record(`{"name":"OVN_Northbound","tables":{}}` + "\n")
	mine := record(`{"_date":1,"Logical_Switch":{"1":{"name":"a\nOVSDB JSON 3 x\n"}}}` + "\n")
	northd := record(`{"_comment":"ovn-northd","NB_Global":{}}` + "\n")
	nbctl := record(`{"_comment":"ovn-nbctl: ovn-nbctl --wait=sb sync","NB_Global":{}}` + "\n")
	for _, c := range []struct {
		name, log string
		want      Transactions
	}{
		{"new database", schema, Transactions{}},
		{"by author", schema + mine + northd + mine + nbctl, Transactions{Master: 2, Tools: 2, Bytes: 2 * int64(len(mine)-len("OVSDB JSON 66 0123456789abcdef\n"))}},
		{"compacted", schema + record(`{"_comment":"compacting database online","NB_Global":{}}`+"\n") + northd, Transactions{Tools: 1, Compacted: true}},
		{"half a record is not yet one", schema + northd + mine[:len(mine)-3], Transactions{Tools: 1}},
		{"half a header is not yet one", schema + northd + "OVSDB JS", Transactions{Tools: 1}},
	} {
		got, err := countTransactions(strings.NewReader(c.log))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestCountTransactionsRefusesWhatItCannotCount(t *testing.T) {
	schema := record(`{"name":"OVN_Northbound","tables":{}}` + "\n")
	for name, log := range map[string]string{
		"clustered":     "CLUSTER JSON 3 x\n{}\n",
		"damaged":       schema + record(`{"NB_Global":`),
		"without bytes": schema + "OVSDB JSON x y\n",
	} {
		if got, err := countTransactions(strings.NewReader(log)); err == nil {
			t.Errorf("%s: counted %+v", name, got)
		}
	}
}

func TestParseCPU(t *testing.T) {
	own, children, err := parseCPU("17 (a) b (c) S 1 17 17 0 -1 4194560 100 0 0 0 150 25 30 7 20 0 8 0 100 1 1 1")
	if err != nil || own != 1750*time.Millisecond || children != 370*time.Millisecond {
		t.Errorf("CPU time is %v, that of children %v, %v; want 1.75s and 370ms", own, children, err)
	}
	if _, _, err := parseCPU("17 (a) S 1"); err == nil {
		t.Error("a short line was accepted")
	}
}

func TestReadUsageOfThisProcess(t *testing.T) {
	ballast := make([]byte, 64<<20)
	for i := range ballast {
		ballast[i] = 1
	}
	for start := time.Now(); time.Since(start) < 50*time.Millisecond; {
	}
	u, err := ReadUsage("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if u.CPU < clockTick || u.CPU > time.Minute {
		t.Errorf("CPU time %v after 50 ms of work", u.CPU)
	}
	if u.RSS < int64(len(ballast)) || u.PeakRSS < u.RSS || u.PSS < int64(len(ballast)) || u.PSS > u.RSS+1<<20 {
		t.Errorf("with 64 MiB in use: RSS %d, peak %d, PSS %d", u.RSS, u.PeakRSS, u.PSS)
	}
	runtime.KeepAlive(ballast)
}
