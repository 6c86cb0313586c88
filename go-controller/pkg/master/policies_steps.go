package master

import "strconv"

// parkedStep waits until all expectations up to a number are answered.
type parkedStep struct {
	step   func()
	number uint64
}

// mostDue owners and what a step wants are one transaction, however they are queued: half of what nbsync always writes together.
const mostDue = 500

// after runs a step when the pods that were woken have been handed in, by whatever, and when all that is to be written now and was to be written then fits one
// transaction: at once when so it is.
func (p *policies) after(step func()) {
	if _, busy := p.busy(); len(p.woken) == 0 && (!busy || !p.started) {
		step()
		return
	}
	p.lastStep++
	name := strconv.Itoa(p.lastStep)
	p.steps[name] = step
	p.wake(key{policyStepKey, name})
}

// busy tells whether a step has to wait for the database, and for which expectation.
func (p *policies) busy() (number uint64, busy bool) {
	due, number := p.progress.backlog()
	return number, due > p.most || len(p.parked) > 0
}

// step is called when a step's turn has come.
func (p *policies) step(name string) {
	step, ok := p.steps[name]
	if !ok {
		return
	}
	delete(p.steps, name)
	if number, busy := p.busy(); busy {
		p.parked = append(p.parked, parkedStep{step, number})
		return
	}
	step()
}

// written is called when the database has answered.
func (p *policies) written() {
	if len(p.parked) == 0 {
		return
	}
	answered := p.progress.answered()
	for len(p.parked) > 0 && p.parked[0].number <= answered {
		step := p.parked[0].step
		p.parked = p.parked[1:]
		step()
	}
}
