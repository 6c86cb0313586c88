// Package probe tries connections from inside a network namespace, one after the other in a tight loop and without a process for each,
// and tells what became of every attempt.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/test/lab/netns"
)

// Outcome is what became of an attempt.
type Outcome int

const (
	// Answered is connected, and the server's first byte was read.
	Answered Outcome = iota
	// Refused is an RST or an ICMP error came back.
	Refused
	// Lost is nothing that came back within Options.Patience.
	Lost
)

// String is a word for people.
func (o Outcome) String() string { return [...]string{"answered", "refused", "lost"}[o] }

// Attempt is one connection that was tried.
type Attempt struct {
	To      netip.AddrPort
	Outcome Outcome
	// Begin is before the first packet was sent, End when the outcome was known.
	Begin, End time.Time
	// Greeting is the first byte that the server sent.
	Greeting byte
	// Err says why an attempt was refused.
	Err error
}

// Options say how to try.
type Options struct {
	// NetNS is the path of the network namespace.
	NetNS string
	// Interval is between attempts, Patience how long one may take: it must be shorter than the second after which a lost SYN is sent
	// again, so that an attempt says something about the time at which it began.
	Interval, Patience time.Duration
	// Next returns where the next attempt goes; the zero value leaves it out.
	Next func() netip.AddrPort
	// Done is told each outcome; it returns true to end the run.
	Done func(Attempt) bool
}

// Defaults of Options.
const (
	DefaultInterval = 2 * time.Millisecond
	DefaultPatience = 500 * time.Millisecond
)

// attempt is an Attempt under way.
type attempt struct {
	Attempt
	fd        int
	connected bool
}

// loop is a run in progress.
type loop struct {
	Options
	open []*attempt
	last time.Time
}

// Run tries connections until Done says that it is enough, or ctx ends, which is an error.
func Run(ctx context.Context, o Options) error {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Patience == 0 {
		o.Patience = DefaultPatience
	}
	return netns.Do(o.NetNS, func() error {
		l := &loop{Options: o}
		defer l.closeAll()
		for {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if done, err := l.step(); done || err != nil {
				return err
			}
		}
	})
}

func (l *loop) closeAll() {
	for _, a := range l.open {
		_ = unix.Close(a.fd)
	}
}

// step begins an attempt when it is time and waits for news of those under way until the next one is due.
func (l *loop) step() (done bool, err error) {
	now := time.Now()
	if now.Sub(l.last) >= l.Interval {
		l.last = now
		if to := l.Next(); to.IsValid() {
			if done, err := l.begin(to); done || err != nil {
				return done, err
			}
		}
	}
	files := make([]unix.PollFd, len(l.open))
	for i, a := range l.open {
		files[i] = unix.PollFd{Fd: int32(a.fd), Events: unix.POLLOUT} //nolint:gosec // the kernel's file numbers are small
		if a.connected {
			files[i].Events = unix.POLLIN
		}
	}
	wait := unix.NsecToTimespec(int64(max(0, l.Interval-time.Since(l.last))))
	if _, err := unix.Ppoll(files, &wait, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return false, fmt.Errorf("poll: %w", err)
	}
	return l.collect(files), nil
}

// begin sends the first packet to an address.
func (l *loop) begin(to netip.AddrPort) (done bool, err error) {
	family := unix.AF_INET6
	var address unix.Sockaddr = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if to.Addr().Is4() {
		family, address = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("socket: %w", err)
	}
	// It ends with an RST: no connection is left waiting, here or in the datapath.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		_ = unix.Close(fd)
		return false, fmt.Errorf("set linger: %w", err)
	}
	a := &attempt{Attempt: Attempt{To: to, Begin: time.Now()}, fd: fd}
	if err := unix.Connect(fd, address); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return l.finish(a, Refused, err), nil
	}
	l.open = append(l.open, a)
	return false, nil
}

// collect looks at what poll has found.
func (l *loop) collect(files []unix.PollFd) (done bool) {
	now := time.Now()
	var open []*attempt
	for i, a := range l.open {
		switch {
		case files[i].Revents != 0:
			outcome, err, over := a.news()
			if over {
				done = l.finish(a, outcome, err) || done
				continue
			}
		case now.Sub(a.Begin) > l.Patience:
			done = l.finish(a, Lost, nil) || done
			continue
		}
		open = append(open, a)
	}
	l.open = open
	return done
}

// news says whether an attempt is over, for which poll has found something.
func (a *attempt) news() (outcome Outcome, err error, over bool) { //nolint:revive // the error is the attempt's
	if !a.connected {
		code, err := unix.GetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		if err != nil {
			return Refused, err, true
		}
		a.connected = true
		return Lost, nil, false
	}
	var b [1]byte
	n, err := unix.Read(a.fd, b[:])
	switch {
	case errors.Is(err, unix.EAGAIN):
		return Lost, nil, false
	case err != nil:
		return Refused, err, true
	case n == 0:
		return Refused, errors.New("the server said nothing"), true
	}
	a.Greeting = b[0]
	return Answered, nil, true
}

func (l *loop) finish(a *attempt, outcome Outcome, err error) (done bool) {
	_ = unix.Close(a.fd)
	a.Outcome, a.Err, a.End = outcome, err, time.Now()
	return l.Done(a.Attempt)
}
