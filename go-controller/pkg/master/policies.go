package master

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/selector"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy"
)

func policyOwner(key string) nbstate.Owner {
	return nbstate.Owner{Kind: names.OwnerNetworkPolicy, Name: key}
}

// clusterPolicies is the name of the owner of what policies have in common.
const clusterPolicies = "policies"

const defaultACLLogRate = 20

// policies says what network policies want, and what pods are to them. Its state belongs to the engine's goroutine, as that of pods does: so a pod's
// port and its memberships are always handed in together.
//
// A policy comes into effect in steps, and between them all pods concerned have been handed in again:
//
//	enter      groups and sets exist; the peers' addresses are in their sets
//	activate   its rules exist; then its pods become members and are isolated; those of the former version leave
//	finish     the former version's rules go; its peers leave their sets
//	drop       the former version's groups and sets go
type policies struct {
	policyOptions
	index       *selector.Index
	states      map[string]*policyState
	collectives map[*selector.Set]*collective
	namespaces  map[string]*policyNamespace
	// followers are the policies whose rows depend on what names of ports mean on a set of pods.
	followers map[*selector.Set]map[string]int
	// steps wait for their turn in the engine's queue, and then, where more than most answers of the database are due, parked for those.
	steps    map[string]func()
	lastStep int
	parked   []parkedStep
	most     int
	// started: pods are looked at already, and have to be woken when what they are to policies changes.
	started bool
	// woken are the pods that have not been handed in since.
	woken map[string]struct{}
}

// policyOptions are the surroundings of policies.
type policyOptions struct {
	// source and namespaceSource are what the API server has; either may be nil.
	source          *kube.Mirror[*kube.NetworkPolicy]
	namespaceSource *kube.Mirror[*kube.Namespace]
	families        policy.Families
	// logRate limits the log messages of an ACL, a second.
	logRate    int
	complaints complaints
	// complain records a Warning unless the same was recorded already.
	complain func(k key, about kube.Ref, reason, message string)
	set      func(nbstate.Owner, nbstate.Desired) error
	remove   func(nbstate.Owner) uint64
	progress *progress
	// wake puts a key at the end of the engine's queue.
	wake func(key)
}

// policyState is a policy's way from one version to the next.
type policyState struct {
	current *version // nil: none is in effect
	enters  *version
	// former are versions whose pods may not all have left what isolates them: their rules stay.
	former []*version
	// turn counts changes, so that a step of one that is out of date does nothing; activated is that of the last one that was activated.
	turn, activated int
}

// version is a policy as it was translated at some time, with all that it uses.
type version struct {
	policy  *policy.Policy
	desired nbstate.Desired
	groups  []*collective // the first is that of the policy's pods
	peers   []*collective
	follows []follow
}

type follow struct {
	set  *selector.Set
	port selector.PortName
}

func newPolicies(o policyOptions) *policies {
	p := &policies{
		policyOptions: o, states: map[string]*policyState{}, collectives: map[*selector.Set]*collective{},
		namespaces: map[string]*policyNamespace{}, followers: map[*selector.Set]map[string]int{},
		steps: map[string]func(){}, woken: map[string]struct{}{}, most: mostDue,
	}
	p.index = selector.NewIndex(p.numbersChanged)
	return p
}

// rebuild hands in all policies, for the pods that there are, before any pod is looked at.
func (p *policies) rebuild(pods []*kube.Pod) error {
	rate := cmp.Or(p.logRate, defaultACLLogRate)
	if err := p.set(nbstate.Owner{Kind: names.OwnerCluster, Name: clusterPolicies}, policy.ClusterRows(p.families, rate)); err != nil {
		return err
	}
	if p.namespaceSource != nil {
		for _, n := range p.namespaceSource.All() {
			p.reconcileNamespace(n.Name)
		}
	}
	for _, pod := range pods {
		if needsPort(pod) {
			p.index.SetPod(policy.IndexedPod(pod))
		}
	}
	if p.source != nil {
		for _, np := range p.source.All() {
			p.reconcile(np.Key())
		}
	}
	p.started = true
	return nil
}

// pod takes a pod as it is now, and podGone one that has no port any more.
func (p *policies) pod(pod *kube.Pod) {
	delete(p.woken, pod.Key())
	p.index.SetPod(policy.IndexedPod(pod))
}

func (p *policies) podGone(name string) {
	delete(p.woken, name)
	p.index.DeletePod(name)
}

// wakePod lets a pod be handed in again.
func (p *policies) wakePod(name string) {
	if p.started {
		p.woken[name] = struct{}{}
		p.wake(key{podKey, name})
	}
}

// membership is what a pod is to policies now.
func (p *policies) membership(pod string) policy.Membership {
	var m policy.Membership
	for _, set := range p.index.Of(pod) {
		if c := p.collectives[set]; c != nil {
			c.addTo(&m)
		}
	}
	return m
}

// reconcile brings a policy into effect as it is now.
func (p *policies) reconcile(name string) {
	np, exists := p.source.Get(name)
	st := p.states[name]
	if st == nil {
		if !exists {
			p.remove(policyOwner(name)) // There is nothing; the event is dealt with.
			return
		}
		st = &policyState{}
		p.states[name] = st
	}
	namespace, _ := names.SplitObjectName(name)
	ns := p.namespace(namespace)
	var next *version
	if exists {
		ns.policies[name] = struct{}{}
		next = p.translate(np)
		p.problems(key{policyKey, name}, np.Ref(), reasonBadPolicy, next.policy.Problems)
	} else {
		delete(ns.policies, name)
		p.complaints.forget(key{policyKey, name})
		p.dropNamespace(namespace)
	}
	p.replace(name, st, next)
}

// translate makes a version of a policy; what it uses is its own until drop.
func (p *policies) translate(np *kube.NetworkPolicy) *version {
	v := &version{policy: policy.Parse(np)}
	for _, f := range v.policy.Follows() {
		set := p.index.Add(f.Pods)
		p.index.Follow(set, f.Port)
		v.follows = append(v.follows, follow{set, f.Port})
		if p.followers[set] == nil {
			p.followers[set] = map[string]int{}
		}
		p.followers[set][np.Key()]++
	}
	result := policy.Rows(v.policy, policy.Options{
		Families: p.families, Logging: p.namespace(np.Namespace).logging,
		Numbers: func(pods selector.Selector, port selector.PortName) []uint16 {
			set, _ := p.index.Get(pods)
			return set.Numbers(port)
		},
	})
	v.desired = result.Desired
	for _, s := range result.Groups {
		v.groups = append(v.groups, p.collective(s))
	}
	for _, s := range result.Peers {
		v.peers = append(v.peers, p.collective(s))
	}
	return v
}

// numbersChanged wakes the policies for which a name of a port means something else now.
func (p *policies) numbersChanged(set *selector.Set, _ selector.PortName) {
	for name := range p.followers[set] {
		p.wake(key{policyKey, name})
	}
}

// replace begins to bring a version into effect, nil to end the policy.
func (p *policies) replace(name string, st *policyState, next *version) {
	st.turn++
	turn, given := st.turn, st.enters
	st.enters = next
	if next != nil {
		p.enter(next)
	}
	if given != nil { // Was never in effect.
		p.leavePeers(given)
		p.after(func() { p.drop(name, given) })
	}
	p.after(func() {
		if st.turn == turn {
			p.activate(name, st)
		}
	})
}

// activate puts what enters in the place of what is in effect.
func (p *policies) activate(name string, st *policyState) {
	old, next := st.current, st.enters
	st.current, st.enters, st.activated = next, nil, st.turn
	if old != nil {
		st.former = append(st.former, old)
	}
	p.want(policyOwner(name), st.desired())
	if next != nil {
		p.join(next, 1)
	}
	if old != nil {
		p.join(old, -1)
	}
	p.after(func() { p.finish(name, st, old) })
}

// finish ends what was in effect before, if anything was: its pods have left.
func (p *policies) finish(name string, st *policyState, old *version) {
	if old != nil {
		st.former = slices.DeleteFunc(st.former, func(v *version) bool { return v == old })
		p.want(policyOwner(name), st.desired())
		p.leavePeers(old)
		p.after(func() { p.drop(name, old) })
	}
	if st.current == nil && len(st.former) == 0 && st.activated == st.turn {
		delete(p.states, name)
	}
}

// desired are the rows of the version in effect, and of those before it that are not finished.
func (st *policyState) desired() nbstate.Desired {
	versions := slices.Clone(st.former)
	if st.current != nil {
		versions = append(versions, st.current)
	}
	if len(versions) == 1 {
		return versions[0].desired
	}
	var out nbstate.Desired
	rows, members := map[string]any{}, map[nbstate.Member]struct{}{}
	for i, v := range slices.Backward(versions) {
		ids := map[string]string{} // of rules that say something else by now
		for _, r := range v.desired.Rows {
			newer, ok := rows[r.ID]
			if ok && reflect.DeepEqual(newer, r.Model) {
				continue
			}
			if ok {
				ids[r.ID] = r.ID + ":former:" + strconv.Itoa(i)
				r.ID = ids[r.ID]
			}
			rows[r.ID] = r.Model
			out.Rows = append(out.Rows, r)
		}
		for _, m := range v.desired.Members {
			m.Value = cmp.Or(ids[m.Value], m.Value)
			if _, ok := members[m]; !ok {
				members[m] = struct{}{}
				out.Members = append(out.Members, m)
			}
		}
	}
	return out
}

// want hands in rows; none means that there is nothing to have.
func (p *policies) want(owner nbstate.Owner, d nbstate.Desired) {
	if len(d.Rows)+len(d.Members) == 0 {
		p.remove(owner)
		return
	}
	if err := p.set(owner, d); err != nil {
		// Never, by the rows' names. Whoever is isolated stays so.
		klog.ErrorS(err, "Rows of network policies are refused", "owner", owner.String())
	}
}

// problems tells a user what makes no sense, once; none: all does.
func (p *policies) problems(k key, about kube.Ref, reason string, problems []string) {
	if len(problems) == 0 {
		p.complaints.settled(k, reason)
		return
	}
	p.complain(k, about, reason, strings.Join(problems, "; "))
}

// ref finds the object whose user is to know of trouble with an owner's rows. For what policies share it is one of them.
func (p *policies) ref(owner nbstate.Owner) (kube.Ref, bool) {
	name := owner.Name
	switch owner.Kind {
	case names.OwnerIsolation:
		if p.namespaceSource == nil {
			return kube.Ref{}, false
		}
		n, ok := p.namespaceSource.Get(name)
		if !ok {
			return kube.Ref{}, false
		}
		return n.Ref(), true
	case names.OwnerPolicyGroup, names.OwnerPolicyPeers:
		name = p.userOf(owner)
	}
	if np, ok := p.source.Get(name); ok {
		return np.Ref(), true
	}
	return kube.Ref{}, false
}

// userOf is the name of a policy that needs a group or set, the first by name.
func (p *policies) userOf(owner nbstate.Owner) string {
	for _, name := range slices.Sorted(maps.Keys(p.states)) {
		for _, v := range []*version{p.states[name].current, p.states[name].enters} {
			if v == nil {
				continue
			}
			uses := func(c *collective) bool { return c.groupOwner() == owner || c.peersOwner() == owner }
			if slices.ContainsFunc(v.groups, uses) || slices.ContainsFunc(v.peers, uses) {
				return name
			}
		}
	}
	return ""
}
