package traffic

import (
	"errors"

	"github.com/ovnkube/ovnkube/test/lab/netns"
)

// crew runs jobs inside a network namespace, each on a thread that stays there: entering the namespace costs a new thread, which is
// too much for hundreds of connections a second. There are as many threads as jobs at a time.
type crew struct {
	netns string
	jobs  chan func(error)
}

func newCrew(netns string) *crew { return &crew{netns: netns, jobs: make(chan func(error))} }

// do runs a job, beside those under way. The job gets an error when the namespace cannot be entered.
func (c *crew) do(job func(error)) {
	select {
	case c.jobs <- job:
	default:
		go c.work(job)
	}
}

// close sends the threads home; no job may be given any more.
func (c *crew) close() { close(c.jobs) }

var errEntered = errors.New("the namespace was entered")

func (c *crew) work(job func(error)) {
	err := netns.Do(c.netns, func() error {
		job(nil)
		for next := range c.jobs {
			next(nil)
		}
		return errEntered
	})
	if !errors.Is(err, errEntered) {
		job(err)
	}
}
