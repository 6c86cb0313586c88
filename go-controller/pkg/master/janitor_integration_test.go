//go:build integration

package master

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

// The node is deleted before its machine is switched off: its ovn-controller registers its chassis each time it is deleted.
// Nothing but the mark tells that it is one of ours: the master has started since.
func TestFormerNodeWhoseControllerRuns(t *testing.T) {
	sb := ovsdbtest.Start(t, ovsdbtest.SB())
	sb.Ctl("init")
	sb.Ctl("chassis-add", "foreign", "geneve", "192.0.2.1", "--", "set", "Chassis", "foreign", "hostname=foreign")
	stop := ovsdbtest.StartController(t, sb, "n1", map[string]string{names.OVNCMSOptions: names.ControllerName})
	await := func(what string, yes func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !yes(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: not within 30 s\n%s", what, sb.Dump())
			}
		}
	}
	registered := func() string {
		return strings.TrimSpace(sb.Ctl("--bare", "--columns=_uuid", "find", "Chassis", "hostname=n1"))
	}
	await("n1 is registered", func() bool { return registered() != "" })

	m, nodes := newMetrics(nil), kube.NewNodeMirror()
	j := newJanitor(config.Database{Endpoints: []string{sb.Endpoint()}}, nodes, m, always)
	j.pace = pace{first: 50 * time.Millisecond, longest: 200 * time.Millisecond, grace: 100 * time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := j.run(ctx); err != nil {
			t.Errorf("janitor: %v", err)
		}
	})
	defer wg.Wait()
	defer cancel()
	deleted := func() float64 { return testutil.ToFloat64(m.staleChassis) }
	await("the chassis is deleted each time it comes back", func() bool { return deleted() >= 4 })

	// Kubernetes has the node again: the chassis stays.
	nodes.Put(&kube.Node{Name: "n1"})
	await("the janitor knows, and n1 is registered", func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.former["n1"] == nil && registered() != ""
	})
	before, uuid := deleted(), registered()
	time.Sleep(500 * time.Millisecond) // Several pauses.
	if after := deleted(); after != before || registered() != uuid || uuid == "" {
		t.Errorf("the chassis of a node was deleted: %v deletions, chassis %q, then %q", after-before, uuid, registered())
	}

	// Deleted once more and then switched off.
	nodes.Remove("n1")
	j.nodeGone("n1")
	await("the chassis is deleted", func() bool { return deleted() > before })
	stop()
	await("nothing is left", func() bool {
		return registered() == "" && sb.Ctl("--bare", "--columns=name", "find", "Chassis_Private", "name=id-n1") == ""
	})
	if sb.Ctl("--bare", "--columns=name", "find", "Chassis", "name=foreign") == "" {
		t.Error("the chassis of somebody else is gone")
	}
}
