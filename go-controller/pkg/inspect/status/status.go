// Package status tells on one screen whether the network is well, and if not what to do next.
package status

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/sbdb"
)

// State is how well a part is.
type State string

// States, from good to bad.
const (
	OK State = "ok"
	// Degraded: what there is works, but something is lacking.
	Degraded State = "degraded"
	// Unknown: it cannot be told.
	Unknown State = "unknown"
	// Failed: changes do not reach the network, or packets their destinations.
	Failed State = "failed"
)

func (s State) rank() int {
	switch s {
	case OK:
		return 0
	case Degraded:
		return 1
	case Unknown:
		return 2
	}
	return 3
}

// Finding is what is known of a part.
type Finding struct {
	Part   string `json:"part"`
	State  State  `json:"state"`
	Detail string `json:"detail"`
	// Next is what to do; empty when all is well.
	Next string `json:"next,omitempty"`
}

// Report is the whole.
type Report struct {
	State    State     `json:"state"`
	Findings []Finding `json:"findings"`
	// Databases are told with --verbose.
	Databases []Database `json:"databases,omitempty"`
	// Features are what is on or off, with the reason.
	Features []Feature `json:"features"`
	// Nodes are told with --verbose.
	Nodes []Node `json:"nodes,omitempty"`
}

// Feature is something that a cluster has or has not.
type Feature struct {
	Name   string `json:"name"`
	On     bool   `json:"on"`
	Reason string `json:"reason"`
}

// Reader reads what the status is made of. It is for one goroutine at a time.
type Reader struct {
	Client kubernetes.Interface
	Access access.Access
	// Namespace is that of the network's pods; empty stands for names.Namespace.
	Namespace string
	// Now is the time.
	Now func() time.Time
	// Passive leaves the number nb_cfg alone, so that nothing is written; what hangs is then seen only if somebody has asked before.
	Passive bool
	// Verbose has each node looked into. Where agents are processes that is done anyway: no pod tells of them.
	Verbose bool
	// asked tells whether it has had northd and nodes confirm before.
	asked bool
}

// confirmation is how long ovn-northd and all nodes may take to confirm that they have done all that is in the northbound database.
const confirmation = 5 * time.Second

// ask makes northd and all nodes confirm: ovn-nb(5), NB_Global, nb_cfg; unless they have been asked before and have not yet. The error is
// that of asking, which shows by the number: it has not become greater than in before. That somebody has not confirmed is none.
func (r *Reader) ask(ctx context.Context, before nbdb.NBGlobal) error {
	if r.Passive || r.asked && min(before.SbCfg, before.HvCfg) < before.NbCfg {
		return nil
	}
	nb := ovndb.NB()
	script := fmt.Sprintf(`exec ovn-nbctl --db="$db" --timeout=%d --wait=hv sync`, int(confirmation.Seconds()))
	_, err := access.Output(ctx, r.Access, access.Beside(nb), database.Shell(nb, script)...)
	if err == nil {
		r.asked = true
		return nil
	}
	now, readErr := r.global(ctx)
	if readErr != nil || now.NbCfg <= before.NbCfg {
		return err
	}
	r.asked = true
	return nil
}

// global reads the northbound database's only row of NB_Global.
func (r *Reader) global(ctx context.Context) (nbdb.NBGlobal, error) {
	nb, err := database.Northbound(ctx, r.Access, nbdb.NBGlobalTable)
	if err != nil {
		return nbdb.NBGlobal{}, err
	}
	for _, g := range database.Rows[nbdb.NBGlobal](nb, nbdb.NBGlobalTable) {
		return *g, nil
	}
	return nbdb.NBGlobal{}, fmt.Errorf("%s has no row of %s", ovndb.NB().Database, nbdb.NBGlobalTable)
}

// facts are what is read.
type facts struct {
	view inspect.View
	// namespace is that of the network's pods.
	namespace string
	sb        *database.Snapshot
	lease     *coordinationv1.Lease
	// noLease says why the lease cannot be read, notAsked why northd and nodes could not be asked to confirm.
	noLease, notAsked error
	now               time.Time
}

// Read looks once. Without the API server there is no report but an error; what else cannot be read is a finding.
func (r *Reader) Read(ctx context.Context) (*Report, error) {
	objects, err := inspect.ReadObjects(ctx, r.Client)
	if err != nil {
		return nil, err
	}
	f := &facts{view: inspect.View{Objects: objects}, namespace: cmp.Or(r.Namespace, names.Namespace), now: r.Now()}
	f.lease, err = r.Client.CoordinationV1().Leases(names.MasterLeaseNamespace).Get(ctx, names.MasterLease, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		f.noLease = err
	}
	var report Report
	for _, k := range []ovndb.Kind{ovndb.NB(), ovndb.SB()} {
		d, finding := r.database(ctx, f, k)
		report.Databases = append(report.Databases, d)
		report.add(finding)
	}
	if r.contents(ctx, f, &report) {
		report.Nodes = f.nodes()
		if _, asPods := f.agents(); r.Verbose || !asPods {
			r.look(ctx, report.Nodes)
		}
		report.add(f.master(), f.northd(), f.nodesFinding(report.Nodes), f.pods(), f.policies())
		report.Features = f.features()
	}
	report.conclude()
	return &report, nil
}

// contents reads both databases; what cannot be read it reports.
func (r *Reader) contents(ctx context.Context, f *facts, report *Report) (ok bool) {
	unreadable := func(k ovndb.Kind, err error) bool {
		next := cmp.Or(f.notAllowed(err), "docs/databases.md; kubectl ovn "+k.Short+"ctl -- show")
		report.add(Finding{Part: k.Short + " database contents", State: Unknown, Detail: firstLine(err.Error()), Next: next})
		return false
	}
	before, err := r.global(ctx)
	if err != nil {
		return unreadable(ovndb.NB(), err)
	}
	f.notAsked = r.ask(ctx, before)
	if f.view.NB, err = database.Northbound(ctx, r.Access); err != nil {
		return unreadable(ovndb.NB(), err)
	}
	if f.sb, err = database.Southbound(ctx, r.Access, sbdb.ChassisTable, sbdb.ChassisPrivateTable, sbdb.EncapTable, sbdb.SBGlobalTable, sbdb.ConnectionTable); err != nil {
		return unreadable(ovndb.SB(), err)
	}
	return true
}

func (r *Report) add(findings ...Finding) { r.Findings = append(r.Findings, findings...) }

// conclude gives the whole the state of its worst part.
func (r *Report) conclude() {
	r.State = OK
	for _, f := range r.Findings {
		if f.State.rank() > r.State.rank() {
			r.State = f.State
		}
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
