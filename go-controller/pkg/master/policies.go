package master

import (
	"cmp"
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
	followers  map[*selector.Set]map[string]int
	complaints complaints
	// steps wait for their turn in the engine's queue.
	steps    map[string]func()
	lastStep int
	// started: pods are looked at already, and have to be woken when what they are to policies changes.
	started bool
}

// policyOptions are the surroundings of policies.
type policyOptions struct {
	policies   *kube.Mirror[*kube.NetworkPolicy]
	namespaces *kube.Mirror[*kube.Namespace]
	families   policy.Families
	// logRate limits the log messages of an ACL, a second.
	logRate int
	events  kube.Recorder
	set     func(nbstate.Owner, nbstate.Desired) error
	remove  func(nbstate.Owner) uint64
	// wake puts a key at the end of the engine's queue.
	wake func(key)
}

// policyState is a policy's way from one version to the next.
type policyState struct {
	current *version // nil: none is in effect
	turn    int      // counts changes, so that a step of one that is out of date does nothing
	enters  *version
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
		complaints: complaints{}, steps: map[string]func(){},
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
	if p.policyOptions.namespaces != nil {
		for _, n := range p.policyOptions.namespaces.All() {
			p.reconcileNamespace(n.Name)
		}
	}
	for _, pod := range pods {
		if needsPort(pod) {
			p.index.SetPod(policy.IndexedPod(pod))
		}
	}
	if p.policies != nil {
		for _, np := range p.policies.All() {
			p.reconcile(np.Key())
		}
	}
	p.started = true
	return nil
}

// pod takes a pod as it is now, and podGone one that has no port any more.
func (p *policies) pod(pod *kube.Pod)   { p.index.SetPod(policy.IndexedPod(pod)) }
func (p *policies) podGone(name string) { p.index.DeletePod(name) }

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
	np, exists := p.policies.Get(name)
	st := p.states[name]
	if st == nil {
		if !exists {
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
		p.complain(np.Ref(), reasonBadPolicy, next.policy.Problems)
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
	woken := false
	if next != nil {
		woken = p.enter(next)
	}
	if given != nil { // Was never in effect.
		p.after(p.leavePeers(given), func() { p.drop(name, given) })
	}
	p.after(woken, func() {
		if st.turn == turn {
			p.activate(name, st)
		}
	})
}

// activate puts what enters in the place of what is in effect.
func (p *policies) activate(name string, st *policyState) {
	old, next := st.current, st.enters
	st.current, st.enters = next, nil
	p.want(policyOwner(name), transition(old, next))
	woken := next != nil && p.join(next)
	woken = old != nil && p.leave(old) || woken
	p.after(woken, func() {
		if st.current == next {
			if next == nil {
				p.remove(policyOwner(name))
				if st.enters == nil && p.states[name] == st {
					delete(p.states, name)
				}
			} else {
				p.want(policyOwner(name), next.desired)
			}
		}
		if old != nil {
			p.after(p.leavePeers(old), func() { p.drop(name, old) })
		}
	})
}

// transition are the rows while pods leave what they were members of: rules that were in effect for other pods stay until those have left
// the groups that isolate them.
func transition(old, next *version) nbstate.Desired {
	switch {
	case next == nil && old == nil:
		return nbstate.Desired{}
	case next == nil:
		return old.desired
	case old == nil || old.groups[0] == next.groups[0] && old.policy.Ingress == next.policy.Ingress && old.policy.Egress == next.policy.Egress:
		return next.desired
	}
	out := nbstate.Desired{Rows: slices.Clone(next.desired.Rows), Members: slices.Clone(next.desired.Members)}
	for _, r := range old.desired.Rows {
		if !slices.ContainsFunc(out.Rows, func(n nbstate.Row) bool { return n.ID == r.ID }) {
			out.Rows = append(out.Rows, r)
		}
	}
	for _, m := range old.desired.Members {
		if !slices.Contains(out.Members, m) {
			out.Members = append(out.Members, m)
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

// after runs a step when the pods that were woken have been handed in: at once when none was.
func (p *policies) after(woken bool, step func()) {
	if !woken {
		step()
		return
	}
	p.lastStep++
	name := strconv.Itoa(p.lastStep)
	p.steps[name] = step
	p.wake(key{policyStepKey, name})
}

// step is called when a step's turn has come.
func (p *policies) step(name string) {
	if step := p.steps[name]; step != nil {
		delete(p.steps, name)
		step()
	}
}

// complain tells a user what makes no sense, once.
func (p *policies) complain(about kube.Ref, reason string, problems []string) {
	k := key{policyKey, names.ObjectName(about.Namespace, about.Name)}
	if len(problems) == 0 {
		p.complaints.settled(k, reason)
		return
	}
	message := strings.Join(problems, "; ")
	if p.complaints.news(k, reason, string(about.UID)+message) {
		p.events.Warn(about, reason, message)
	}
}
