package inspect

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/inspecttest"
)

// noted notes what is asked of the databases.
type noted struct {
	inspecttest.Access
	asked []string
}

func (n *noted) Run(ctx context.Context, at access.Place, streams access.Streams, argv ...string) error {
	n.asked = append(n.asked, argv[len(argv)-1])
	return n.Access.Run(ctx, at, streams, argv...)
}

// Of all flows the UUIDs alone are read, once; the rest only of those asked for, once, too.
func TestFlows(t *testing.T) {
	var a noted
	f := NewFlows(&a)
	for range 2 {
		found, err := f.Find(context.Background(), "55f077ec", "00000000")
		if err != nil {
			t.Fatal(err)
		}
		if flow := found["55f077ec-2f1f-4e3b-8432-6e98b3cedbe8"]; len(found) != 1 || flow.Stage != "ls_out_acl, priority 2000" || flow.Hint != "1cef0903" {
			t.Errorf("found %+v", found)
		}
	}
	if len(a.asked) != 2 {
		t.Errorf("asked %d times, want once for all UUIDs and once for the row: %v", len(a.asked), a.asked)
	}
	isAll := func(query string) bool {
		return !strings.Contains(query, "55f077ec") && strings.Contains(query, "match")
	}
	if slices.ContainsFunc(a.asked, isAll) {
		t.Errorf("whole flows are read: %v", a.asked)
	}
}
