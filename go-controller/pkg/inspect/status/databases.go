package status

import (
	"context"
	"fmt"
	"path"
	"time"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"
	"github.com/ovn-org/libovsdb/ovsdb/serverdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
)

// silence is after how many election timers a member that was not heard of counts as lost. Leaders send something each third of one.
const silence = 2

// patienceWithServer is how long a server may take to tell of its cluster.
const patienceWithServer = "--timeout=10"

// database asks the server of a database about itself and, in a cluster, about the others.
func (r *Reader) database(ctx context.Context, k ovndb.Kind) Finding {
	f := Finding{Part: k.Short + " database", State: OK}
	results, err := database.Query(ctx, r.Access, k, "_Server", libovsdb.Operation{
		Op: libovsdb.OperationSelect, Table: serverdb.DatabaseTable, Columns: []string{"model", "connected", "leader"},
		Where: []libovsdb.Condition{libovsdb.NewCondition("name", libovsdb.ConditionEqual, k.Database)},
	})
	switch {
	case err != nil:
		return Finding{Part: f.Part, State: Failed, Detail: firstLine(err.Error()), Next: "see that its server runs: docs/databases.md"}
	case len(results[0].Rows) != 1:
		return Finding{Part: f.Part, State: Failed, Detail: "the server has no database " + k.Database, Next: "docs/databases.md"}
	}
	row := results[0].Rows[0]
	if row["model"] != serverdb.DatabaseModelClustered {
		f.Detail = fmt.Sprint(row["model"])
		return f
	}
	config := ovndb.Config{Kind: k, RunDir: ovndb.DefaultRunDir}
	text, err := access.Output(ctx, r.Access, access.Beside(k), "ovs-appctl", patienceWithServer, "-t", path.Join(config.RunDir, path.Base(config.Control())), "cluster/status", k.Database)
	if err != nil {
		return Finding{Part: f.Part, State: Degraded, Detail: "clustered; its members cannot be asked for: " + firstLine(err.Error())}
	}
	status, err := ovndb.ParseStatus(text)
	if err != nil {
		return Finding{Part: f.Part, State: Degraded, Detail: firstLine(err.Error())}
	}
	return clusterFinding(f, &status)
}

func clusterFinding(f Finding, s *ovndb.Status) Finding {
	lost := 0
	for _, server := range s.Servers {
		// A follower hears of its leader only.
		heardOf := server.Self || !s.Leads() && server.ID != s.Leader || server.LastMessage >= 0 && server.LastMessage <= silence*max(s.ElectionTimer, time.Second)
		if !heardOf {
			lost++
		}
	}
	f.Detail = fmt.Sprintf("cluster of %d, leader %s, term %d", len(s.Servers), s.Leader, s.Term)
	switch {
	case s.Leader == "":
		f.State, f.Detail = Failed, fmt.Sprintf("cluster of %d, no leader: %s", len(s.Servers), s.Status)
		f.Next = "start the members that are down: docs/databases.md"
	case lost > 0:
		f.State, f.Detail = Degraded, f.Detail+fmt.Sprintf(", %d not heard of", lost)
		f.Next = "ovnkube db status on the members; start the lost ones, or kick and replace them"
	case s.Status != "cluster member":
		f.State, f.Detail = Degraded, f.Detail+", "+s.Status
	case !s.Leads():
		f.Detail += "; a follower answers, and lost members are known to the leader only"
	}
	return f
}
