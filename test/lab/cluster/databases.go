package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// DatabaseStatus is what the n-th member, from 1, of a database says of itself; kind is "nb" or "sb".
func (l *Lab) DatabaseStatus(ctx context.Context, kind string, n int) (s ovndb.Status, err error) {
	out, err := l.Exec(ctx, plan.ControlPlane, "ovnkube", "db", "status", kind, "-o", "json", "--run-dir", plan.DatabaseRunDir(n))
	if err == nil {
		err = json.Unmarshal([]byte(out), &s)
	}
	if err != nil {
		return s, fmt.Errorf("status of member %d of %s: %w", n, kind, err)
	}
	return s, nil
}
