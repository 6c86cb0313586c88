package master

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

// pace is how often the chassis of one former node is deleted when its ovn-controller, which is still running, registers it
// again and again.
type pace struct {
	// first is the pause after the first deletion; it doubles up to longest.
	first, longest time.Duration
	// grace is given to a chassis with our mark before its first deletion, unless its node was seen going: it may be that of
	// a machine that is about to become a node.
	grace time.Duration
}

func defaultPace() pace {
	return pace{first: time.Second, longest: 5 * time.Minute, grace: time.Minute}
}

// janitor deletes the chassis of nodes that are gone from the southbound database: nobody else does, and every
// other node keeps a tunnel to a chassis as long as it is there. A chassis that comes back is deleted again. Only chassis of nodes
// that were seen going and those with our agent's mark are touched.
type janitor struct {
	database config.Database
	nodes    *kube.Mirror[*kube.Node]
	metrics  *metrics
	pace     pace
	// whileHeld allows deletions: without the API server nobody knows what has become a node.
	whileHeld permission
	// worker's keys are hostnames.
	worker *kube.Worker[string]
	sb     chassisDatabase

	mu     sync.Mutex
	former map[string]*formerNode
}

// formerNode paces the deletions of chassis with one hostname.
type formerNode struct {
	// seen: it was a node while this master led.
	seen bool
	// due is when its chassis may be deleted next; pause is what comes between that and the time after.
	due   time.Time
	pause time.Duration
}

// chassisDatabase is the part of the southbound database that the janitor sees.
type chassisDatabase interface {
	// chassisOf returns the chassis with that hostname.
	chassisOf(hostname string) []chassis
	deleteChassis(ctx context.Context, names []string) error
}

// chassis is a Chassis row; ours has the mark of our agent.
type chassis struct {
	name string
	ours bool
}

func newJanitor(database config.Database, nodes *kube.Mirror[*kube.Node], m *metrics, whileHeld permission) *janitor {
	j := &janitor{database: database, nodes: nodes, metrics: m, pace: defaultPace(), whileHeld: whileHeld, former: map[string]*formerNode{}}
	j.worker = kube.NewWorker("chassis", m.queues, j.clean)
	return j
}

// nodeGone asks for the chassis of a former node to be deleted, at once. It does not block.
func (j *janitor) nodeGone(name string) {
	j.mu.Lock()
	j.former[name] = &formerNode{seen: true, due: time.Now(), pause: j.pace.first}
	j.mu.Unlock()
	j.worker.Add(name)
}

// run connects to the southbound database and works until ctx ends. The nodes must be known.
func (j *janitor) run(ctx context.Context) error {
	sb, err := connectChassis(ctx, j.database, j.metrics.databases, j.worker.Add)
	if err != nil {
		return retry.IgnoreEnd(ctx, err)
	}
	defer sb.client.Close()
	j.sb = sb
	j.worker.Run(ctx, 1)
	return nil
}

// clean is called when something about the chassis with that hostname, or about the node, has changed.
func (j *janitor) clean(ctx context.Context, host string) error {
	ctx, done, err := j.whileHeld(ctx)
	if err != nil {
		return err
	}
	defer done()
	if _, exists := j.nodes.Get(host); exists {
		j.forget(host)
		return nil
	}
	stale := j.stale(host)
	if len(stale) == 0 {
		if left := j.expire(host); left > 0 {
			j.worker.AddAfter(host, left)
		}
		return nil
	}
	if early := j.early(host); early > 0 {
		j.worker.AddAfter(host, early)
		return nil
	}
	if err := j.sb.deleteChassis(ctx, stale); err != nil {
		return fmt.Errorf("deleting chassis %v of former node %s from the southbound database: %w", stale, host, err)
	}
	j.metrics.staleChassis.Add(float64(len(stale)))
	pause := j.deleted(host)
	klog.InfoS("Deleted chassis of former node; should it come back, ovn-controller still runs there", "node", host, "chassis", stale,
		"notAgainFor", pause)
	j.worker.AddAfter(host, pause)
	return nil
}

// stale are the names of the former node's chassis.
func (j *janitor) stale(host string) []string {
	j.mu.Lock()
	f := j.former[host]
	j.mu.Unlock()
	var out []string
	for _, c := range j.sb.chassisOf(host) {
		if c.ours || f != nil && f.seen {
			out = append(out, c.name)
		}
	}
	return out
}

// early is how long the next deletion has to wait.
func (j *janitor) early(host string) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := j.former[host]
	if f == nil {
		f = &formerNode{due: time.Now().Add(j.pace.grace), pause: j.pace.first}
		j.former[host] = f
	}
	return time.Until(f.due)
}

// deleted puts the next deletion off and returns for how long.
func (j *janitor) deleted(host string) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := j.former[host]
	pause := f.pause
	f.due, f.pause = time.Now().Add(pause), min(2*pause, j.pace.longest)
	return pause
}

// expire forgets a former node whose chassis has not come back for as long as the longest pause, or returns how long that
// still takes. Nodes come and go; what comes back even later is known by our agent's mark.
func (j *janitor) expire(host string) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := j.former[host]
	if f == nil {
		return 0
	}
	left := time.Until(f.due.Add(j.pace.longest))
	if left <= 0 {
		delete(j.former, host)
	}
	return left
}

func (j *janitor) forget(host string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.former, host)
}
