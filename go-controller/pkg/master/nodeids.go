package master

import (
	"fmt"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ipam"
)

// Node ids start at 2: the numbers are also host addresses on the join switch, where 0 is the network and 1
// the cluster router. 65,000 leaves room in a /16.
const (
	firstNodeID = 2
	lastNodeID  = 65000
)

// nodeIDs says which node has which id. A node may have one before it has subnets, so that nobody else gets what its
// annotation says. No two nodes ever have the same.
type nodeIDs struct {
	free *ipam.IDs
	held map[string]int
}

func newNodeIDs() *nodeIDs {
	return &nodeIDs{free: ipam.NewIDs(firstNodeID, lastNodeID), held: map[string]int{}}
}

// of is the node's id, zero when it has none.
func (s *nodeIDs) of(node string) int { return s.held[node] }

// claim gives the node that id, unless it has one already.
func (s *nodeIDs) claim(node string, id int) error {
	if s.held[node] != 0 {
		return nil
	}
	if err := s.free.Claim(id); err != nil {
		return fmt.Errorf("node %s: %w", node, err)
	}
	s.held[node] = id
	return nil
}

// give returns the node's id, a new one if it has none yet.
func (s *nodeIDs) give(node string) (int, error) {
	if id := s.held[node]; id != 0 {
		return id, nil
	}
	id, err := s.free.Allocate()
	if err != nil {
		return 0, fmt.Errorf("node %s: %w", node, err)
	}
	s.held[node] = id
	return id, nil
}

// release gives the node's id back, if it has one.
func (s *nodeIDs) release(node string) {
	if id := s.held[node]; id != 0 {
		delete(s.held, node)
		s.free.Release(id)
	}
}
