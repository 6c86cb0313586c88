package ovndb

import (
	"fmt"
	"net/netip"
)

// action is what a member does before its server is started.
type action string

const (
	actionStart     action = "start"     // the file is there and fits
	actionCreate    action = "create"    // a new standalone database
	actionBootstrap action = "bootstrap" // a new cluster
	actionConvert   action = "convert"   // a new cluster with the content of the standalone file
	actionJoin      action = "join"
	actionWait      action = "wait" // for the others' answers
)

type decision struct {
	action action
	// clusterID is the cluster to join, when it is known.
	clusterID string
	// reason says, for actionWait, what is waited for.
	reason string
}

// answer is what another member says of its database. Err means that it could not be asked.
type answer struct {
	member    netip.Addr
	clusterID string // empty: it has no cluster
	err       error
}

// decide tells what to do with the file. The answers are those of all other members.
//
// A new cluster is made by the first member alone, and only when all others have answered that they have none: a first member that
// lost its disk while others are away would make a second cluster, with which the first one's members never talk again.
func decide(c *Config, f File, answers []answer) (decision, error) {
	if f.Exists {
		return decideExisting(c, f)
	}
	switch {
	case c.Convert:
		return decision{}, fmt.Errorf("--convert-standalone: there is no file %s", c.Path())
	case !c.Clustered():
		return decision{action: actionCreate}, nil
	}
	for _, a := range answers {
		if a.err == nil && a.clusterID != "" {
			if c.ClusterID != "" && a.clusterID != c.ClusterID {
				return decision{}, fmt.Errorf("member %s belongs to cluster %s, not to --cluster-id %s", a.member, a.clusterID, c.ClusterID)
			}
			return decision{action: actionJoin, clusterID: a.clusterID}, nil
		}
	}
	if c.LocalAddress != c.Members[0] || c.ClusterID != "" {
		return decision{action: actionJoin, clusterID: c.ClusterID}, nil
	}
	for _, a := range answers {
		if a.err != nil {
			return decision{action: actionWait, reason: fmt.Sprintf(
				"a new cluster is made when all other members say that they have none; no answer from %s: %v", a.member, a.err)}, nil
		}
	}
	return decision{action: actionBootstrap}, nil
}

func decideExisting(c *Config, f File) (decision, error) {
	path := c.Path()
	switch {
	case f.Database != c.Kind.Database:
		return decision{}, fmt.Errorf("%s is of %s, want %s", path, f.Database, c.Kind.Database)
	case f.Clustered && !c.Clustered():
		return decision{}, fmt.Errorf("%s is a member of a cluster: give --members, or make it standalone with \"ovnkube db recover %s\"", path, c.Kind.Short)
	case !f.Clustered && c.Clustered() && !c.Convert:
		return decision{}, fmt.Errorf("%s is standalone: give --convert-standalone on one member to make it the cluster's content, or put it aside with \"ovnkube db reset %s\"", path, c.Kind.Short)
	case !f.Clustered && c.Clustered():
		return decision{action: actionConvert}, nil
	case !f.Clustered:
		return decision{action: actionStart}, nil
	}
	if want := c.raftAddress(c.LocalAddress); f.LocalAddress != want {
		return decision{}, fmt.Errorf("%s belongs to the member at %s, this one is at %s: a file cannot move between members, put it aside with \"ovnkube db reset %s\" and let the member join anew", path, f.LocalAddress, want, c.Kind.Short)
	}
	if c.ClusterID != "" && f.ClusterID != "" && f.ClusterID != c.ClusterID {
		return decision{}, fmt.Errorf("%s belongs to cluster %s, not to --cluster-id %s", path, f.ClusterID, c.ClusterID)
	}
	return decision{action: actionStart}, nil
}
