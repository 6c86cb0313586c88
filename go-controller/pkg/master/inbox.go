package master

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
)

// inbox collects the reconciler's reports for the engine.
type inbox struct {
	mu      sync.Mutex
	results []nbsync.Result
}

// put adds a report and tells whether it is the first since take.
func (b *inbox) put(r nbsync.Result) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.results = append(b.results, r)
	return len(b.results) == 1
}

func (b *inbox) take() []nbsync.Result {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.results
	b.results = nil
	return out
}

// stalledAfter is how long an answer from the northbound database may take before readiness fails.
const stalledAfter = 30 * time.Second

// expectation is an answer that is due.
type expectation struct {
	generation, number uint64
	// since is when the first event came whose consequences are not yet in the database; zero where that is not measured.
	since time.Time
}

// progress knows which answers of the reconciler are due, for readiness, and for policies that wait for what is written.
type progress struct {
	mu      sync.Mutex
	due     map[nbstate.Owner]expectation
	number  uint64    // of the last expectation
	last    time.Time // of the last answer, or of the first expectation after there was none
	settled bool
}

// settle says that the initial work has been handed over.
func (p *progress) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled = true
}

// expect makes a change and remembers that an answer is due for the generation that change returns, unless that is zero. No answer
// is taken in between, whoever calls. since is when the event came that led to the change, zero if there was none that is measured.
func (p *progress) expect(owner nbstate.Owner, since time.Time, change func() (uint64, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	generation, err := change()
	if err != nil || generation == 0 {
		return err
	}
	if len(p.due) == 0 {
		p.due = map[nbstate.Owner]expectation{}
		p.last = time.Now()
	}
	p.number++
	if before, ok := p.due[owner]; ok && !before.since.IsZero() {
		since = before.since
	}
	p.due[owner] = expectation{generation, p.number, since}
	return nil
}

// answer takes an answer and returns since when nothing more than this was due for the owner: zero if more is, or it was not measured.
func (p *progress) answer(owner nbstate.Owner, generation uint64) (since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	due := p.due[owner]
	if generation < due.generation {
		return time.Time{}
	}
	delete(p.due, owner)
	return due.since
}

// backlog is how many answers are due, and the number of the last expectation.
func (p *progress) backlog() (due int, number uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.due), p.number
}

// answered is the number up to which no answer is due. That the database refused is an answer, too, and an expectation that was overtaken by another of the same
// owner is none any more.
func (p *progress) answered() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.number
	for _, d := range p.due {
		out = min(out, d.number-1)
	}
	return out
}

// problem is nil as long as writes progress.
func (p *progress) problem(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.settled {
		return errors.New("not all nodes, pods and services have been looked at yet")
	}
	return p.stuck(now, stalledAfter)
}

// stalled tells that answers are due and that none has come for so long.
func (p *progress) stalled(now time.Time, after time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stuck(now, after)
}

func (p *progress) stuck(now time.Time, after time.Duration) error {
	if len(p.due) > 0 && now.Sub(p.last) > after {
		return fmt.Errorf("northbound writes have not progressed for %s, %d objects wait", now.Sub(p.last).Round(time.Second), len(p.due))
	}
	return nil
}
