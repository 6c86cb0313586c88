package status

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/sbdb"
)

// patience is how long a new pod may take before it counts as not connected.
const patience = 30 * time.Second

// master looks at who leads, and whether the database lets it write.
func (f *facts) master() Finding {
	if f.noLease != nil {
		return Finding{Part: "master", State: Unknown, Detail: firstLine(f.noLease.Error()),
			Next: fmt.Sprintf("the right to get leases in namespace %s is needed", names.MasterLeaseNamespace)}
	}
	out := Finding{Part: "master", State: Failed, Next: "see that an ovnkube master runs, and its log"}
	if f.lease == nil || f.lease.Spec.HolderIdentity == nil || *f.lease.Spec.HolderIdentity == "" {
		out.Detail = "none leads"
		return out
	}
	leader := *f.lease.Spec.HolderIdentity
	if s := f.lease.Spec; s.RenewTime != nil && s.LeaseDurationSeconds != nil {
		if late := f.now.Sub(s.RenewTime.Time) - time.Duration(*s.LeaseDurationSeconds)*time.Second; late > 0 {
			out.Detail = fmt.Sprintf("%s led until %s ago", leader, late.Round(time.Second))
			return out
		}
	}
	out = Finding{Part: "master", State: OK, Detail: leader + " leads"}
	for _, global := range database.Rows[nbdb.NBGlobal](f.view.NB, nbdb.NBGlobalTable) {
		if writer := global.ExternalIDs[names.LeaderKey]; writer != leader && writer != "" {
			out.State, out.Detail = Degraded, out.Detail+", but the northbound database lets "+writer+" write"
			out.Next = "wait: a master that leads takes it over; if it lasts, see the log of " + leader
		}
	}
	return out
}

// northd compares what was asked of it with what it has done.
func (f *facts) northd() Finding {
	out := Finding{Part: "northd", State: OK}
	version := ""
	for _, g := range database.Rows[nbdb.NBGlobal](f.view.NB, nbdb.NBGlobalTable) {
		version = g.Options["northd_internal_version"]
		if behind := g.NbCfg - g.SbCfg; behind > 0 {
			out.State, out.Detail = Failed, fmt.Sprintf("%d requests behind", behind)
			out.Next = "see that ovn-northd runs and holds its lock: ovn-appctl -t ovn-northd status"
			return out
		}
	}
	if version == "" {
		return Finding{Part: out.Part, State: Failed, Detail: "has never run on this database", Next: "start ovn-northd"}
	}
	if f.notAsked != nil {
		return Finding{Part: out.Part, State: Unknown, Detail: "could not be asked to confirm: " + firstLine(f.notAsked.Error()),
			Next: "see why: kubectl ovn nbctl -- --timeout=5 --wait=sb sync"}
	}
	out.Detail = "OVN " + version + ", has done all that it was asked for"
	return out
}

func (f *facts) pods() Finding {
	created := map[string]time.Time{}
	for i := range f.view.Objects.Pods {
		p := &f.view.Objects.Pods[i]
		created[names.ObjectName(p.Namespace, p.Name)] = p.CreationTimestamp.Time
	}
	list := f.view.EndpointList()
	var wrong []string
	pods := 0
	for _, e := range list {
		at, exists := created[names.ObjectName(e.Namespace, e.Pod)]
		switch {
		case !exists || e.Node == "": // Gone, or not scheduled: no matter of the network.
		case e.State == inspect.StateReady:
			pods++
		default:
			pods++
			if f.now.Sub(at) > patience {
				wrong = append(wrong, e.Namespace+"/"+e.Pod+": "+e.State)
			}
		}
	}
	out := Finding{Part: "pods", State: OK, Detail: fmt.Sprintf("%d of %d connected", pods-len(wrong), pods)}
	if len(wrong) > 0 {
		out.State, out.Detail, out.Next = Degraded, out.Detail+"; "+some(wrong), "kubectl ovn list endpoints; kubectl describe these pods: Events say why"
	}
	return out
}

func (f *facts) policies() Finding {
	list := f.view.PolicyList()
	var wrong []string
	for _, p := range list {
		if len(p.Problems) > 0 {
			wrong = append(wrong, p.Namespace+"/"+p.Name+": "+p.Problems[0])
		}
	}
	out := Finding{Part: "policies", State: OK, Detail: fmt.Sprintf("%d of %d in effect as they are meant", len(list)-len(wrong), len(list))}
	if len(wrong) > 0 {
		out.State, out.Detail, out.Next = Degraded, out.Detail+"; "+some(wrong), "kubectl ovn list policies"
	}
	return out
}

// shown is how many of a list of wrongs are named.
const shown = 3

func some(list []string) string {
	if len(list) > shown {
		return strings.Join(list[:shown], "; ") + fmt.Sprintf(" and %d more", len(list)-shown)
	}
	return strings.Join(list, "; ")
}

func (f *facts) features() []Feature {
	families, modes := map[bool]bool{}, map[string]int{}
	nodePorts := 0
	for i := range f.view.Objects.Nodes {
		n := kube.NewNode(&f.view.Objects.Nodes[i])
		subnets, _ := annotations.ParseNodeSubnets(n.Annotations)
		for _, s := range subnets {
			families[s.Addr().Is4()] = true
		}
		gateway, err := annotations.ParseGatewayConfig(n.Annotations)
		if errors.Is(err, annotations.ErrMissing) {
			continue
		}
		modes[gateway.Mode]++
		if gateway.NodePortEnable {
			nodePorts++
		}
	}
	count := func(n int, of string) string {
		return fmt.Sprintf("%d of %d nodes %s", n, len(f.view.Objects.Nodes), of)
	}
	tls := false
	for _, c := range database.Rows[sbdb.Connection](f.sb, sbdb.ConnectionTable) {
		tls = tls || strings.HasPrefix(c.Target, "pssl:")
	}
	reason := "no listener with TLS is in the southbound database"
	if tls {
		reason = "the southbound database listens with TLS"
	}
	return []Feature{
		{"IPv4", families[true], because(families[true], "nodes have subnets of it", "no node has a subnet of it (--cluster-subnets)")},
		{"IPv6", families[false], because(families[false], "nodes have subnets of it", "no node has a subnet of it (--cluster-subnets)")},
		{"shared gateways", modes[names.GatewayModeShared] > 0, count(modes[names.GatewayModeShared], "by --gateway-mode")},
		{"local gateways", modes[names.GatewayModeLocal] > 0, count(modes[names.GatewayModeLocal], "by --gateway-mode")},
		{"node ports", nodePorts > 0, count(nodePorts, "by --nodeport")},
		{"TLS for nodes", tls, reason},
		{"network policies", true, fmt.Sprintf("always obeyed; there are %d", len(f.view.Objects.Policies))},
	}
}

func because(on bool, yes, no string) string {
	if on {
		return yes
	}
	return no
}
