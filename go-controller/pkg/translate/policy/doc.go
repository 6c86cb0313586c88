// Package policy translates NetworkPolicies into rows of the northbound database. Parse reads a policy once; Rows writes its ACLs for what its
// port names mean at the moment; GroupRows, PeerRows, IsolationRows and ClusterRows are the rows that policies have in common. Which pods are
// members is said by the pods themselves (Memberships): no ACL depends on which pods there are.
//
// Semantics are those of the documentation of networking.k8s.io/v1; see docs/design/policy.md for what it leaves open.
package policy
