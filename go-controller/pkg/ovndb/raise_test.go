package ovndb

import (
	"crypto/sha1" //nolint:gosec // the file's format has it
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func record(body string) string {
	return fmt.Sprintf("OVSDB CLUSTER %d %x\n%s\n", len(body)+1, sha1.Sum([]byte(body+"\n")), body) //nolint:gosec // see above
}

func TestRaised(t *testing.T) {
	in := record(`{"name":"a<b","prev_index":1,"prev_term":1}`) + record(`{"data":[1],"index":2,"term":1}`) + record(`{"note":"x"}`)
	want := record(`{"name":"a<b","prev_index":1001,"prev_term":1}`) + record(`{"data":[1],"index":1002,"term":1}`) + record(`{"note":"x"}`)
	got, err := raised([]byte(in), 1000)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"OVSDB JSON 2 0\n{}", "OVSDB CLUSTER 9 0\n{}", "OVSDB CLUSTER -1 0\n{}", "OVSDB CLUSTER 2 0", "x\n", record("[]"), record(`{"index":"no"}`)} {
		if out, err := raised([]byte(bad), 5); err == nil {
			t.Errorf("%q became %q", bad, out)
		}
	}
}
