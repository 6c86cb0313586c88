package openflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/klog/v2"
)

const (
	// quiet is how long flows must not have changed before they are copied; while they go on changing they are copied after overdue.
	quiet   = time.Second
	overdue = 5 * time.Second
	// copyShare bounds what copying costs: it takes no more than one part in so many of a processor's time.
	copyShare = 20
	// firstGuardPause and guardPause are between two tries to reach a bridge: a socket is there a moment before it answers, and its
	// coming may not have been told.
	firstGuardPause = 5 * time.Millisecond
	guardPause      = time.Second
	// copyPause and maxCopyPause are after copies that have failed, one after the other.
	copyPause    = time.Second
	maxCopyPause = time.Minute
)

// Guard keeps a copy of all that a controller has written to a bridge. When ovs-vswitchd has been started anew, it gives the
// copy back at once: a controller that has lost its connection takes a second or more to come back. What is given back carries
// the guard's cookie, so that what the controller does not replace can be removed.
type Guard struct {
	// Bridge is guarded; its Cookie marks flows that were given back.
	Bridge
	// File takes the copy. It must be where a reboot removes it: ports get other numbers then.
	File string
	// Interfered is called when the controller wrote while flows were being given back: it must write all of them anew.
	Interfered func()
}

// Run guards until ctx ends.
func (g *Guard) Run(ctx context.Context) {
	came, stop := g.watchSocket()
	defer stop()
	pause := firstGuardPause
	for ctx.Err() == nil {
		began := time.Now()
		err := g.session(ctx)
		if time.Since(began) > guardPause {
			pause = firstGuardPause
		}
		klog.V(2).InfoS("Flows are not guarded; trying again", "bridge", g.Name, "after", pause, "reason", err)
		select {
		case <-ctx.Done():
		case <-came:
			pause = firstGuardPause
		case <-time.After(pause):
			pause = min(2*pause, guardPause)
		}
	}
}

// watchSocket tells when the bridge's socket is made. Without that a bridge is found a little later.
func (g *Guard) watchSocket() (came <-chan struct{}, stop func()) {
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		if err = watcher.Add(filepath.Dir(g.Socket)); err != nil {
			_ = watcher.Close()
		}
	}
	if err != nil {
		klog.ErrorS(err, "A bridge that comes back is noticed later", "bridge", g.Name, "within", guardPause)
		return nil, func() {}
	}
	out := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case e, ok := <-watcher.Events:
				if !ok {
					return
				}
				if !e.Has(fsnotify.Create) || filepath.Base(e.Name) != filepath.Base(g.Socket) {
					continue
				}
			case err := <-watcher.Errors: // something may have been missed
				klog.V(2).InfoS("Watching for a bridge", "bridge", g.Name, "err", err)
			}
			select {
			case out <- struct{}{}:
			default:
			}
		}
	}()
	return out, func() { _ = watcher.Close() }
}

// session guards as long as the bridge is there.
func (g *Guard) session(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", g.Socket)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	news := newTelling()
	ended := make(chan struct{})
	defer func() { cancel(nil); <-ended }()
	go func() {
		defer close(ended)
		cancel(news.follow(conn, g.Cookie))
	}()
	select {
	case <-news.begun:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s := guarding{Guard: g, news: news, changed: time.Now()}
	if err := s.giveBack(ctx); err != nil {
		klog.InfoS("The bridge's flows could not be given back: they come from its controller alone", "bridge", s.Name, "reason", err)
	}
	return s.keep(ctx)
}

// guarding is a session after its beginning.
type guarding struct {
	*Guard
	news *telling
	// given says that flows were given back, and have not been replaced yet; judged, that it is known whether the controller
	// came before they were.
	given, judged bool
	// changed is since when changes have not been copied; copied is when copying ended, cost the processor's time for it.
	changed, copied time.Time
	cost            time.Duration
	// learned are tables in which the flows that were given back make flows.
	learned []int
	// pause is after a copy that failed, and complaint why; 0 and empty after another.
	pause     time.Duration
	complaint string
}

// giveBack fills an empty bridge.
func (s *guarding) giveBack(ctx context.Context) error {
	began := time.Now()
	has, err := s.flowCount(ctx, "")
	if err != nil {
		return err
	}
	if has > 0 {
		given, err := s.flowCount(ctx, s.marks())
		if s.given = given > 0; s.given { // by an agent that has ended
			if saved, err := readSnapshot(s.File); err == nil {
				s.learns(saved)
			}
		}
		return err
	}
	saved, err := readSnapshot(s.File)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.fits(ctx, saved); err != nil {
		return err
	}
	s.learns(saved)
	if err := s.restore(ctx, saved); err != nil {
		s.Interfered() // the controller has come in between, or what it will not know of is left half done
		return err
	}
	s.given = true
	klog.InfoS("Gave back the bridge's flows", "bridge", s.Name, "flows", len(saved.flows), "groups", len(saved.groups), "took", time.Since(began))
	return nil
}

// learns takes in which tables the flows make flows: these say nothing of the controller.
func (s *guarding) learns(from *snapshot) {
	s.learned = from.learned()
	s.news.without(s.learned)
}

// keep copies the flows when they have changed, until the bridge goes away.
func (s *guarding) keep(ctx context.Context) error {
	for {
		var due <-chan time.Time
		if !s.changed.IsZero() {
			at := time.Now().Add(quiet)
			if limit := s.changed.Add(overdue); at.After(limit) {
				at = limit
			}
			if pause := s.copied.Add(max(copyShare*s.cost, s.pause)); at.Before(pause) {
				at = pause
			}
			due = time.After(time.Until(at))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.news.wake:
			s.hear(s.news.take())
		case <-due:
			s.failed(ctx, s.copy(ctx))
		}
	}
}

// failed has a copy made again, later after each further one that failed, and says why, once.
func (s *guarding) failed(ctx context.Context, err error) {
	s.copied = time.Now()
	if err == nil {
		s.pause, s.complaint = 0, ""
		return
	}
	s.changed = time.Now()
	s.pause = min(max(2*s.pause, copyPause), maxCopyPause)
	if text := err.Error(); text != s.complaint && ctx.Err() == nil {
		s.complaint = text
		klog.ErrorS(err, "The bridge's flows are not copied; it is tried again", "bridge", s.Name)
	}
}

// hear takes in what has changed.
func (s *guarding) hear(c changesSeen) {
	if s.changed.IsZero() && c.gone+c.written > 0 {
		s.changed = time.Now()
	}
	if !s.given || s.judged || c.first == seenNothing {
		return
	}
	s.judged = true
	if c.first == seenWritten { // a controller that comes later begins with removing everything
		klog.InfoS("The bridge's controller wrote while flows were given back; it has to write them anew", "bridge", s.Name)
		s.Interfered()
	}
}

// copy writes down what the bridge has, once the controller's own flows are there.
func (s *guarding) copy(ctx context.Context) error {
	s.changed = time.Time{}
	if s.given {
		if !s.judged { // the controller has not come yet
			return nil
		}
		has, err := s.controllers(ctx)
		if err != nil || !has { // it has not come, or has written nothing yet
			return err
		}
		if _, err := run(ctx, nil, openflow, slowTimeout, "del-flows", s.target(), s.marks()); err != nil {
			return fmt.Errorf("remove what is left of the flows that were given back to %s: %w", s.Name, err)
		}
		s.given = false
	}
	n, err := s.flowCount(ctx, "")
	if err == nil && n > 0 {
		s.cost, err = s.save(ctx)
	}
	return err
}

// controllers tells whether there are flows that are the controller's: neither given back nor learned by some that were. All are read
// at a time: counted one after the other, a learned flow that ends in between would pass for one.
func (s *guarding) controllers(ctx context.Context) (bool, error) {
	var out bytes.Buffer
	var err error
	if s.cost, err = execute(ctx, nil, &out, newest, slowTimeout, "--no-names", "--no-stats", "dump-flows", s.target()); err != nil {
		return false, fmt.Errorf("look for the controller's flows on %s: %w", s.Name, err)
	}
	for line := range bytes.Lines(out.Bytes()) {
		if othersFlow(string(line), s.Cookie, s.learned) {
			return true, nil
		}
	}
	return false, nil
}
