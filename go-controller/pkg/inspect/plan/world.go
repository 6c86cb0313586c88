package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/selector"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/service"
)

// world is a cluster, as it is or would be.
type world struct {
	objects inspect.Objects
	nb      *database.Snapshot
	// concerned are the services that may change; policies have to be looked at as a whole, and only then.
	concerned concerned
	// simulated are services whose endpoints are not yet those of their slices.
	simulated map[string]bool
	// selectsByIPv6: the northbound database takes service.SelectsByIPv6.
	selectsByIPv6 bool
}

type concerned struct {
	services map[string]bool
	policies bool
}

func newWorld(o *Options) *world {
	return &world{objects: *o.Objects, nb: o.NB, selectsByIPv6: o.Features.HasKey(nbdb.LoadBalancerTable, "selection_fields", service.SelectsByIPv6), concerned: concerned{services: map[string]bool{}}, simulated: map[string]bool{}}
}

// apply changes the world by an object. The note, if there is one, is about what cannot be known before.
func (w *world) apply(object metav1.Object, remove bool) (note string, err error) {
	switch o := object.(type) {
	case *networkingv1.NetworkPolicy:
		w.concerned.policies = true
		replace(&w.objects.Policies, func(p *networkingv1.NetworkPolicy) string { return names.ObjectName(p.Namespace, p.Name) }, o, remove)
	case *corev1.Namespace:
		w.concerned.policies = true
		if o.Labels == nil {
			o.Labels = map[string]string{}
		}
		o.Labels[corev1.LabelMetadataName] = o.Name // As the API server does.
		replace(&w.objects.Namespaces, func(n *corev1.Namespace) string { return n.Name }, o, remove)
		if remove {
			return fmt.Sprintf("namespace %s: what is in it goes too, which is not shown", o.Name), nil
		}
	case *corev1.Pod:
		return w.applyPod(o, remove), nil
	case *corev1.Service:
		return w.applyService(o, remove), nil
	default:
		return "", fmt.Errorf("%T cannot be planned", object)
	}
	return "", nil
}

// applyPod puts a pod in, with what the manifest cannot say. Its port is the master's to give and take: notes tell of that.
func (w *world) applyPod(o *corev1.Pod, remove bool) string {
	w.concerned.policies = true
	former := replace(&w.objects.Pods, podKey, o, remove)
	if former == nil {
		if remove {
			return fmt.Sprintf("pod %s: there is none", podKey(o))
		}
		return fmt.Sprintf("pod %s: its port and addresses are given when it is scheduled, and it is an endpoint of services when it is ready; only its place in groups is shown", podKey(o))
	}
	var now *corev1.Pod
	var notes []string
	if remove {
		notes = append(notes, "its port goes too, which is not shown")
	} else {
		now = &w.objects.Pods[len(w.objects.Pods)-1]
		now.Spec.NodeName, now.Status, now.DeletionTimestamp = former.Spec.NodeName, former.Status, former.DeletionTimestamp
		now.Annotations = maps.Clone(former.Annotations)
	}
	for _, key := range w.reselected(former, now) {
		notes = append(notes, "the endpoints of service "+key+" are those pods that it selects and that are ready now")
	}
	if len(notes) == 0 {
		return ""
	}
	return "pod " + podKey(o) + ": " + strings.Join(notes, "; ")
}

func podKey(p *corev1.Pod) string { return names.ObjectName(p.Namespace, p.Name) }

// desired are the rows of what is concerned.
func (w *world) desired() (*state, error) {
	s, err := newState()
	if err != nil {
		return nil, err
	}
	if w.concerned.policies {
		w.policies(s)
	}
	if len(w.concerned.services) > 0 {
		w.services(s)
	}
	return s, nil
}

// families are those of the nodes' subnets.
func (w *world) families() policy.Families {
	var f policy.Families
	for i := range w.objects.Nodes {
		subnets, _ := annotations.ParseNodeSubnets(w.objects.Nodes[i].Annotations)
		for _, s := range subnets {
			f.IPv4, f.IPv6 = f.IPv4 || s.Addr().Is4(), f.IPv6 || s.Addr().Is6()
		}
	}
	return f
}

// policies adds what all policies want, and the pods' places in their groups and sets.
func (w *world) policies(s *state) {
	x := selector.NewIndex(func(*selector.Set, selector.PortName) {})
	logging := map[string]policy.Logging{}
	for i := range w.objects.Namespaces {
		n := kube.NewNamespace(&w.objects.Namespaces[i])
		x.SetNamespace(n.Name, n.Labels)
		logging[n.Name], _ = policy.ParseLogging(n.ACLLogging)
	}
	pods := map[string]*kube.Pod{}
	for i := range w.objects.Pods {
		if p := kube.NewPod(&w.objects.Pods[i]); !p.HostNetwork && !p.Finished {
			pods[p.Key()] = p
			x.SetPod(policy.IndexedPod(p))
		}
	}
	t := together{state: s, index: x, families: w.families(), members: map[string]*policy.Membership{}, done: map[string]bool{}}
	isolates := map[string][2]bool{}
	for i := range w.objects.Policies {
		p := policy.Parse(kube.NewNetworkPolicy(&w.objects.Policies[i]))
		t.policy(p, logging[p.Namespace])
		was := isolates[p.Namespace]
		isolates[p.Namespace] = [2]bool{was[0] || p.Ingress, was[1] || p.Egress}
	}
	for namespace, directions := range isolates {
		s.add(nbstate.Owner{Kind: names.OwnerIsolation, Name: namespace}, policy.IsolationRows(namespace, directions[0], directions[1], logging[namespace]))
	}
	for key, m := range t.members {
		p := pods[key]
		var addresses []netip.Addr
		if network, err := annotations.ParsePodNetwork(map[string]string{names.PodNetworksAnnotation: p.Network}); err == nil {
			for _, a := range network.Addresses {
				addresses = append(addresses, a.Addr())
			}
		}
		s.add(nbstate.Owner{Kind: names.OwnerPod, Name: key},
			nbstate.Desired{Members: m.Members(p.Namespace, names.PodLogicalPort(p.Namespace, p.Name), addresses)})
	}
}

// together is what policies share.
type together struct {
	state    *state
	index    *selector.Index
	families policy.Families
	members  map[string]*policy.Membership // by pod
	done     map[string]bool
}

func (t *together) policy(p *policy.Policy, logging policy.Logging) {
	for _, f := range p.Follows() {
		t.index.Follow(t.index.Add(f.Pods), f.Port)
	}
	result := policy.Rows(p, policy.Options{Families: t.families, Logging: logging, Numbers: func(pods selector.Selector, port selector.PortName) []uint16 {
		set, _ := t.index.Get(pods)
		return set.Numbers(port)
	}})
	t.state.add(nbstate.Owner{Kind: names.OwnerNetworkPolicy, Name: names.ObjectName(p.Namespace, p.Name)}, result.Desired)
	for _, pods := range result.Groups {
		if t.once("group", pods) {
			t.state.add(nbstate.Owner{Kind: names.OwnerPolicyGroup, Name: pods.String()}, policy.GroupRows(pods))
			t.each(pods, func(m *policy.Membership) { m.Groups = append(m.Groups, policy.GroupName(pods)) })
		}
	}
	for _, pods := range result.Peers {
		if t.once("peers", pods) {
			t.state.add(nbstate.Owner{Kind: names.OwnerPolicyPeers, Name: pods.String()}, policy.PeerRows(pods, t.families))
			t.each(pods, func(m *policy.Membership) { m.Peers = append(m.Peers, policy.PeerNames(pods, t.families)) })
		}
	}
	t.each(p.Pods, func(m *policy.Membership) { m.Ingress, m.Egress = m.Ingress || p.Ingress, m.Egress || p.Egress })
}

func (t *together) once(role string, pods selector.Selector) bool {
	key := role + " " + pods.String()
	first := !t.done[key]
	t.done[key] = true
	return first
}

func (t *together) each(pods selector.Selector, do func(*policy.Membership)) {
	for key := range t.index.Add(pods).Members {
		if t.members[key] == nil {
			t.members[key] = &policy.Membership{}
		}
		do(t.members[key])
	}
}

// services adds what the services that are concerned want.
func (w *world) services(s *state) {
	cluster := w.cluster()
	for i := range w.objects.Services {
		in := &w.objects.Services[i]
		svc := kube.NewService(in)
		if w.concerned.services[svc.Key()] {
			desired, _ := service.Rows(svc, w.slices(in), cluster)
			s.add(nbstate.Owner{Kind: names.OwnerService, Name: svc.Key()}, desired)
		}
	}
}

// cluster is what services depend on of the nodes.
func (w *world) cluster() *service.Cluster {
	var pools []netip.Prefix
	for _, set := range database.Rows[nbdb.AddressSet](w.nb, nbdb.AddressSetTable) {
		if set.Name != names.ClusterAddressSet(true) && set.Name != names.ClusterAddressSet(false) {
			continue
		}
		for _, a := range set.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil {
				pools = append(pools, p)
			}
		}
	}
	var nodes []*service.Node
	for i := range w.objects.Nodes {
		n := kube.NewNode(&w.objects.Nodes[i])
		gateway, err := annotations.ParseGatewayConfig(n.Annotations)
		node := &service.Node{Name: n.Name, Zone: n.Zone, Chassis: n.Annotations[names.NodeChassisIDAnnotation], Addresses: n.Addresses, NodePortAddresses: n.Addresses}
		node.Gateway = err == nil && node.Chassis != ""
		node.HostAnswers = node.Gateway && gateway.Mode == names.GatewayModeLocal
		if cidrs, err := annotations.ParseHostCIDRs(n.Annotations); err == nil {
			node.Addresses = addressesOf(cidrs)
		}
		if err == nil {
			node.NodePortAddresses = nil
			if gateway.NodePortEnable {
				node.NodePortAddresses = addressesOf(gateway.Addresses)
			}
		}
		nodes = append(nodes, node)
	}
	return service.NewCluster(nodes, pools).SelectingByIPv6(w.selectsByIPv6)
}

func addressesOf(in []netip.Prefix) []netip.Addr {
	var out []netip.Addr
	for _, p := range in {
		if !names.IsMasquerade(p.Addr()) && !slices.Contains(out, p.Addr()) {
			out = append(out, p.Addr())
		}
	}
	return out
}
