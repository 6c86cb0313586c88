package ovndb

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/ovn-org/libovsdb/ovsdb/serverdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
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

// answerOf makes an answer of what a member's server says. A standalone one has no cluster, but it has content: it is no member yet.
func answerOf(member netip.Addr, s ovsdb.ServerStatus, err error) answer {
	if err == nil && s.Model != serverdb.DatabaseModelClustered {
		err = fmt.Errorf("its server is %s: stop it, and convert its file with --convert-standalone=%s or put it aside", s.Model, member)
	}
	return answer{member: member, clusterID: s.ClusterID, err: err}
}

// decide tells what to do with the file. The answers are those of all other members; they count for a member without a file and for
// one whose file is to be converted.
//
// A new cluster is made by the first member alone, and only when all others have answered that they have none: a first member that
// lost its disk while others are away would make a second cluster, with which the first one's members never talk again. Its content is
// that of the first member's standalone file, if there is one. When a member is named whose file is to be the content, it makes the
// cluster instead, and need not wait: the others may be lost for ever.
func decide(c *Config, f File, answers []answer) (decision, error) {
	switch {
	case f.Exists:
		return decideExisting(c, f, answers)
	case !c.Clustered():
		return decision{action: actionCreate}, nil
	}
	cluster, err := clusterOf(c, answers)
	switch {
	case err != nil:
		return decision{}, err
	case cluster != "":
		return decision{action: actionJoin, clusterID: cluster}, nil
	case c.Convert == c.LocalAddress:
		return decision{}, fmt.Errorf("--convert-standalone: there is no file %s, and no other member that has a cluster answers", c.Path())
	case c.LocalAddress != c.Members[0] || c.ClusterID != "" || c.Convert.IsValid():
		return decision{action: actionJoin, clusterID: c.ClusterID}, nil
	}
	return whenAllAnswer(answers, actionBootstrap), nil
}

// whenAllAnswer waits for the answers of all others before the action, which makes a cluster.
func whenAllAnswer(answers []answer, do action) decision {
	for _, a := range answers {
		if a.err != nil {
			return decision{action: actionWait, reason: fmt.Sprintf(
				"a new cluster is made when all other members say that they have none; no answer from %s: %v", a.member, a.err)}
		}
	}
	return decision{action: do}
}

// clusterOf is the cluster that the others have; it is empty when none of those that answer has one.
func clusterOf(c *Config, answers []answer) (string, error) {
	var found answer
	for _, a := range answers {
		switch {
		case a.err != nil || a.clusterID == "":
		case c.ClusterID != "" && a.clusterID != c.ClusterID:
			return "", fmt.Errorf("member %s belongs to cluster %s, not to --cluster-id %s", a.member, a.clusterID, c.ClusterID)
		case found.clusterID != "" && a.clusterID != found.clusterID:
			return "", fmt.Errorf("member %s belongs to cluster %s, member %s to %s: stop the members of one of them and put their files aside with \"ovnkube db reset %s\"",
				found.member, found.clusterID, a.member, a.clusterID, c.Kind.Short)
		default:
			found = a
		}
	}
	return found.clusterID, nil
}

// having are the members that say that they have a cluster.
func having(answers []answer) string {
	var out []string
	for _, a := range answers {
		if a.err == nil && a.clusterID != "" {
			out = append(out, a.member.String())
		}
	}
	return strings.Join(out, " and ")
}

func decideExisting(c *Config, f File, answers []answer) (decision, error) {
	path := c.Path()
	switch {
	case f.Database != c.Kind.Database:
		return decision{}, fmt.Errorf("%s is of %s, want %s", path, f.Database, c.Kind.Database)
	case f.Clustered && !c.Clustered():
		return decision{}, fmt.Errorf("%s is a member of a cluster: give --members, or make it standalone with \"ovnkube db recover %s\"", path, c.Kind.Short)
	case !f.Clustered && c.Clustered():
		return decideConversion(c, answers)
	case !f.Clustered:
		return decision{action: actionStart}, nil
	}
	if err := sameAddress(c, f); err != nil {
		return decision{}, err
	}
	if c.ClusterID != "" && f.ClusterID != "" && f.ClusterID != c.ClusterID {
		return decision{}, fmt.Errorf("%s belongs to cluster %s, not to --cluster-id %s", path, f.ClusterID, c.ClusterID)
	}
	return decision{action: actionStart}, nil
}

// sameAddress refuses a file of another address. One that differs in nothing but TLS must not be put aside alone: the member would
// never reach the others, and with the second one that is gone the cluster has no majority.
func sameAddress(c *Config, f File) error {
	want := c.raftAddress(c.LocalAddress)
	if f.LocalAddress == want {
		return nil
	}
	was, address, _ := strings.Cut(f.LocalAddress, ":")
	if address == strings.TrimPrefix(want, c.method()+":") {
		return fmt.Errorf("%s is of a cluster whose members speak %s among themselves, by its flags this one speaks %s: all members change together, "+
			"none alone. Stop all; on one \"ovnkube db recover %s\" and --convert-standalone=%s, on the others \"ovnkube db reset %[4]s\"; start all. Until then give the old flags",
			c.Path(), was, c.method(), c.Kind.Short, c.LocalAddress)
	}
	return fmt.Errorf("%s belongs to the member at %s, this one is at %s: a file cannot move between members, put it aside with \"ovnkube db reset %s\" and let the member join anew",
		c.Path(), f.LocalAddress, want, c.Kind.Short)
}

// decideConversion is for a standalone file of a member of a cluster. The first member's may become the content without being named:
// all others have no cluster then, and no file that could have one, so nothing is lost. Two members with standalone files wait for each
// other, or refuse: somebody must choose.
func decideConversion(c *Config, answers []answer) (decision, error) {
	aside := fmt.Sprintf("put it aside with \"ovnkube db reset %s\" and let the member join", c.Kind.Short)
	named := c.Convert.IsValid()
	switch {
	case named && c.Convert != c.LocalAddress:
		return decision{}, fmt.Errorf("%s is standalone, but the file of %s is to be the cluster's content: %s", c.Path(), c.Convert, aside)
	case !named && (c.LocalAddress != c.Members[0] || c.ClusterID != ""):
		return decision{}, fmt.Errorf("%s is standalone: name %s first in --members (without --cluster-id), or give --convert-standalone=%[2]s, to make it the cluster's content, or %s",
			c.Path(), c.LocalAddress, aside)
	}
	cluster, err := clusterOf(c, answers)
	switch {
	case err != nil:
		return decision{}, err
	case cluster != "":
		return decision{}, fmt.Errorf("%s is standalone, and %s say that they have cluster %s. If this file is the one to keep (members that wait to join a cluster that is lost say so, too): "+
			"stop them, \"ovnkube db reset %s\" there, and start them again. If theirs is: %s", c.Path(), having(answers), cluster, c.Kind.Short, aside)
	case named:
		return decision{action: actionConvert}, nil
	}
	return whenAllAnswer(answers, actionConvert), nil
}
