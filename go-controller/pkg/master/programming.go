package master

import (
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
)

// Programming latency goes from an event of the API server to the answer of the database that has what follows from it. Of several events about an
// object the first counts, until its rows are handed in; an event after which nothing is to be written is forgotten. The end of a
// policy is not measured: its rows go last, in a step of their own.

// noteEvent says that there was an event about a service or policy. It is called from any goroutine.
func (e *engine) noteEvent(owner nbstate.Owner) {
	if _, ok := e.unwritten.Load(owner); !ok {
		e.unwritten.LoadOrStore(owner, time.Now())
	}
}

// eventOf returns, for rows that are about to be handed in, when the event came; zero for what is not measured. Of a pod it is when it
// was first seen on a node: what changes about it later is not measured.
func (e *engine) eventOf(owner nbstate.Owner) time.Time {
	var at any
	switch owner.Kind {
	case names.OwnerPod:
		at, _ = e.firstSeen.Load(owner.Name)
	case names.OwnerService, names.OwnerNetworkPolicy:
		at, _ = e.unwritten.LoadAndDelete(owner)
	}
	t, _ := at.(time.Time)
	return t
}
