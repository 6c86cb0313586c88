package master

import (
	"net/netip"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy"
)

// policyNamespace is what policies of a namespace have in common.
type policyNamespace struct {
	logging  policy.Logging
	policies map[string]struct{}
	// in and out are versions of policies that isolate, and so need the rule that denies.
	in, out int
}

func isolationOwner(namespace string) nbstate.Owner {
	return nbstate.Owner{Kind: names.OwnerIsolation, Name: namespace}
}

func nodePolicyOwner(node string) nbstate.Owner {
	return nbstate.Owner{Kind: names.OwnerNodePolicy, Name: node}
}

func (p *policies) namespace(name string) *policyNamespace {
	ns := p.namespaces[name]
	if ns == nil {
		ns = &policyNamespace{policies: map[string]struct{}{}}
		p.namespaces[name] = ns
	}
	return ns
}

// dropNamespace forgets a namespace of which nothing is known.
func (p *policies) dropNamespace(name string) {
	if ns := p.namespaces[name]; ns != nil && len(ns.policies) == 0 && ns.in == 0 && ns.out == 0 && ns.logging == (policy.Logging{}) {
		delete(p.namespaces, name)
	}
}

// reconcileNamespace takes a namespace's labels and annotation as they are now.
func (p *policies) reconcileNamespace(name string) {
	n, exists := p.namespaceSource.Get(name)
	var pods []string
	var logging policy.Logging
	if exists {
		pods = p.index.SetNamespace(name, n.Labels)
		var problems []string
		var err error
		if logging, err = policy.ParseLogging(n.ACLLogging); err != nil {
			problems = []string{err.Error()}
		}
		p.problems(key{namespaceKey, name}, n.Ref(), reasonBadLogging, problems)
	} else {
		pods = p.index.DeleteNamespace(name)
		p.complaints.forget(key{namespaceKey, name})
	}
	for _, pod := range pods {
		p.wakePod(pod)
	}
	ns := p.namespace(name)
	if ns.logging != logging {
		ns.logging = logging
		p.writeIsolation(name, ns)
		for np := range ns.policies {
			p.wake(key{policyKey, np})
		}
	}
	p.dropNamespace(name)
}

// isolate counts a version in, or out, of those that need their namespace's rules that deny.
func (p *policies) isolate(v *version, by int) {
	name := v.policy.Namespace
	ns := p.namespace(name)
	in, out := ns.in > 0, ns.out > 0
	if v.policy.Ingress {
		ns.in += by
	}
	if v.policy.Egress {
		ns.out += by
	}
	if in != (ns.in > 0) || out != (ns.out > 0) {
		p.writeIsolation(name, ns)
	}
	p.dropNamespace(name)
}

func (p *policies) writeIsolation(name string, ns *policyNamespace) {
	p.want(isolationOwner(name), policy.IsolationRows(name, ns.in > 0, ns.out > 0, ns.logging))
}

// nodePolicies tells policies of a node as it is wired now.
func (e *engine) nodePolicies(name string) error {
	n := e.ledger.nodes[name]
	if n == nil || n.leaving {
		e.policy.nodeGone(name)
		return nil
	}
	addresses := e.hosts.all(name)
	for _, s := range n.subnets {
		addresses = append(addresses, addr.Management(s))
	}
	return e.policy.node(name, addresses)
}

// families are those of the pools.
func (n network) families() policy.Families {
	var f policy.Families
	for _, p := range n.pools {
		f.IPv4, f.IPv6 = f.IPv4 || p.Prefix.Addr().Is4(), f.IPv6 || p.Prefix.Addr().Is6()
	}
	return f
}

// node lets a node's host, with these addresses, reach its own pods.
func (p *policies) node(name string, addresses []netip.Addr) error {
	return p.set(nodePolicyOwner(name), policy.NodeRows(name, addresses, p.families))
}

func (p *policies) nodeGone(name string) { p.remove(nodePolicyOwner(name)) }
