//go:build integration

package ovsdb_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

// watching counts what an Observer is told.
type watching struct {
	mu  sync.Mutex
	saw map[string]int
}

func (w *watching) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.saw[what]++
}

func (w *watching) of(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.saw[what]
}

func (w *watching) Connected(string) { w.count("connected") }
func (w *watching) Lost(string)      { w.count("lost") }
func (w *watching) Failed(string)    { w.count("failed") }
func (w *watching) Answered(_, method string, _ time.Duration, ok bool) {
	w.count(fmt.Sprint(method, " ", ok))
}

// An observer learns of answers, refusals among them, of the loss of a connection and of the next one.
func TestObserver(t *testing.T) {
	s := ovsdbtest.Start(t, ovsdbtest.NB())
	w := &watching{saw: map[string]int{}}
	o := nbOptions(t, s)
	o.Observer = w
	again := make(chan struct{}, 10)
	o.OnConnect = func(uint64) { again <- struct{}{} }
	c := connect(t, o)
	<-again
	if _, err := c.Transact(t.Context(), insertSwitch("a")); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	s.Restart()
	select {
	case <-again:
	case <-time.After(20 * time.Second):
		t.Fatal("no new connection")
	}
	if w.of("connected") != 2 || w.of("lost") != 1 || w.of("transact true") != 1 || w.of("transact false") != 0 {
		t.Errorf("the observer was told %v", w.saw)
	}
}
